"""DICOM files as frames: one image of one slice each, be it a file of its own or one of the many of a file."""

import logging
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from musclesense.dicom.kinds import TAGS, Kind, kinds_of, made_by
from musclesense.errors import InputError, reason_of
from musclesense.storage.paths import is_dicom, is_file, is_folder, is_there

_PER_FRAME, _SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
_PHILIPS_SCALE = 0x2005100E
_MR = (MRImageStorage, EnhancedMRImageStorage)
_READ = [
    *(_PER_FRAME, _SHARED, "SOPInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("PatientID", "Modality", "Manufacturer", "SeriesNumber", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("EchoTime", "RepetitionTime", "FlipAngle", "ScanningSequence", "MagneticFieldStrength", "ImagingFrequency"),
    *("EchoPulseSequence", "RescaleSlope", "RescaleIntercept", _PHILIPS_SCALE, *TAGS),
]

DAMAGED = (
    *(InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, AttributeError, LookupError),
    *(ArithmeticError, NotImplementedError, RecursionError, struct.error, zlib.error),
)
"""What pydicom raises over a file that is not as the standard wants it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of one slice.

    Attributes:
        file: Where it is.
        number: Which one of the file it is, from 0.
        header: What its tags say, flat: those of functional groups of enhanced images are among them.
    """

    file: Path
    number: int
    header: Dataset

    @cached_property
    def kinds(self) -> set[Kind]:
        """What it may show."""
        return kinds_of(self.header)

    @cached_property
    def echo_ms(self) -> float | None:
        """Its echo time, to a hundredth of a millisecond."""
        time = self.figure("EffectiveEchoTime", "EchoTime")
        return round(time, 2) if time else None

    @cached_property
    def position(self) -> NDArray[np.float64]:
        """Where its first pixel lies, in mm."""
        return np.array(self.header.ImagePositionPatient, float)

    @cached_property
    def plane(self) -> NDArray[np.float64]:
        """Directions of its rows and columns, and pixel size in mm: (8,)."""
        return np.array([*self.header.ImageOrientationPatient, *self.header.PixelSpacing], float)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What a copy of the file has as well; of anonymised images the identifier alone may not tell."""
        uid = str(self.header.get("SOPInstanceUID", self.file))
        return uid, self.number, self.series, self.echo_ms, tuple(self.position), frozenset(self.kinds)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return int(self.header.Columns), int(self.header.Rows)

    @property
    def series(self) -> int | None:
        """The number of its series."""
        number = self.figure("SeriesNumber")
        return None if number is None else int(number)

    def figure(self, *names: str | int) -> float | None:
        """Give the first of the tags that holds a number."""
        for name in names:
            value: Any = self.header.get(name)
            value = getattr(value, "value", value)
            if isinstance(value, bytes) and len(value) == 4:  # a private float, where no dictionary knows it
                value = struct.unpack("<f", value)[0]
            try:
                return float(value)
            except (TypeError, ValueError):
                continue
        return None

    @property
    def scale(self) -> tuple[float, float]:
        """Slope and intercept of its values.

        Philips stores each image under a slope of its own for display; the values that compare between images are
        those of the private scale slope (Chenevert et al. 2014, doi:10.1593/tlo.13811).
        """
        slope, intercept = self.figure("RescaleSlope") or 1.0, self.figure("RescaleIntercept") or 0.0
        compares = made_by(self.header, "PHILIPS") and Kind.PHASE not in self.kinds
        private = self.figure(_PHILIPS_SCALE) if compares else None
        return (1 / private, intercept / (slope * private)) if private else (slope, intercept)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom from telling of values that are longer than the standard allows, and the like."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Attributes:
        frames: Images of slices by MRI, each once.
        others: How many files are no such images.
    """

    frames: list[Frame]
    others: int


def read_frames(path: Path) -> Found:
    """Read the headers of all DICOM files of a folder and the folders below it, or of one file.

    Raises:
        InputError: There is none, or a file is damaged or closed.
    """
    if not is_there(path):
        raise InputError(f"{path}: no such folder; correct the path")
    files = sorted(file for file in path.rglob("*") if is_file(file)) if is_folder(path) else [path]
    for file in files:
        if not os.access(file, os.R_OK):  # it would be left out as no image
            raise InputError(f"{file}: cannot be read (permission denied); correct its permissions")
    frames: dict[tuple[Any, ...], Frame] = {}
    others = 0
    for file in files:
        with quiet():
            own = list(_frames_of(file)) if is_dicom(file) else []
        others += not own
        frames |= {frame.identity: frame for frame in own}
    if not frames:
        raise InputError(f"{path}: holds no MR image in DICOM; give the folder that the scanner or PACS exported")
    return Found([*frames.values()], others)


def _frames_of(file: Path) -> Iterator[Frame]:
    """Give the frames of a file that are slices by MRI."""
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_READ)
        count = int(header.get("NumberOfFrames") or 1)
        for number in range(count if _PER_FRAME in header else 1):
            flat = _flat(header, number)
            placed = _lies_somewhere(flat)
            if not placed and header.file_meta.get("MediaStorageSOPClassUID") in _MR:
                raise ValueError("it ends before it says where its slice lies")
            if placed and flat.get("Modality") == "MR" and flat.get("SamplesPerPixel", 1) == 1:
                yield Frame(file, number, flat)
    except DAMAGED as error:
        raise InputError(f"{file}: damaged DICOM file ({reason_of(error)}); export it again") from error


def _lies_somewhere(header: Dataset) -> bool:
    wanted = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2, "Rows": 1, "Columns": 1}
    values = {name: np.array(() if header.get(name) is None else header.get(name), float) for name in wanted}
    return all(values[name].size == count and np.isfinite(values[name]).all() for name, count in wanted.items())


def _flat(header: Dataset, number: int) -> Dataset:
    """Give the header of one frame, without the groups in which enhanced images put it."""
    flat = Dataset()
    flat.update({element.tag: element for element in header if element.VR != "SQ"})
    for groups, which in ((header.get(_SHARED), 0), (header.get(_PER_FRAME), number)):
        inner = [element for element in groups[which] if element.VR == "SQ" and element.value] if groups else []
        for element in sorted(inner, key=lambda element: not element.tag.is_private):  # what is standard wins
            flat.update({own.tag: own for own in element.value[0] if own.VR != "SQ"})
    return flat
