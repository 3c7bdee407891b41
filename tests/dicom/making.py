"""Synthetic DICOM, as three vendors write it: small images whose every voxel is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

ROWS, COLUMNS, SLICES = 24, 40, 6
STUDY, PATIENT = generate_uid()[:50], "Doe^Jane"
TILT = 0.2
ORIENTATION = [1.0, 0.0, 0.0, 0.0, float(np.cos(TILT)), float(np.sin(TILT))]
SPACING = [1.5, 1.25]  # rows, columns
STEP = 8.0
FIRST = np.array([-30.0, -20.0, 100.0])


def position(place: float) -> list[float]:
    """Give where a slice lies."""
    normal = np.cross(ORIENTATION[:3], ORIENTATION[3:])
    return [round(float(value), 6) for value in FIRST + place * STEP * normal]


def affine() -> NDArray[np.float64]:
    """Give where the voxels (column, row, slice) lie in RAS, from first principles."""
    lps = np.eye(4)
    lps[:3, 0] = np.array(ORIENTATION[:3]) * SPACING[1]
    lps[:3, 1] = np.array(ORIENTATION[3:]) * SPACING[0]
    lps[:3, 2] = np.cross(ORIENTATION[:3], ORIENTATION[3:]) * STEP
    lps[:3, 3] = FIRST
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def as_scanned(path: Path) -> NDArray[np.float64]:
    """Read an image that was written, and give its voxels where the scanner had them: (slices, rows, columns)."""
    image = nib.load(path)
    shape = (COLUMNS, ROWS, image.shape[2])
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) @ affine()[:3, :3].T + affine()[:3, 3]
    back = np.linalg.inv(image.affine)
    places = voxels @ back[:3, :3].T + back[:3, 3]
    nearest = np.rint(places).astype(int)
    assert np.abs(places - nearest).max() < 0.01 and image.shape == shape
    return np.asarray(image.get_fdata())[tuple(np.moveaxis(nearest, -1, 0))].transpose(2, 1, 0)


def pixels(seed: int, low: int = 0, high: int = 4000) -> NDArray[np.uint16]:
    """Draw stored pixels, (slices, rows, columns)."""
    return np.random.default_rng(seed).integers(low, high, (SLICES, ROWS, COLUMNS)).astype(np.uint16)


@dataclass
class Series:
    """One image of a scanner: its stored pixels and what its tags say beside."""

    number: int
    stored: NDArray[Any]
    tags: Mapping[str, Any]
    private: Mapping[tuple[int, int], tuple[str, str, Any]] = field(default_factory=dict)
    slope: float | Sequence[float] = 1.0
    intercept: float = 0.0
    places: Sequence[float] = tuple(range(SLICES))
    study: str = STUDY
    patient: str = PATIENT
    uid: str = ""

    def slope_of(self, index: int) -> float:
        """Give the slope of a slice."""
        return self.slope if isinstance(self.slope, float) else self.slope[index]

    @property
    def values(self) -> NDArray[np.float64]:
        """What the stored pixels stand for, (slices, rows, columns)."""
        slopes = np.array([self.slope_of(index) for index in range(len(self.stored))])
        return self.stored * slopes[:, None, None] + self.intercept


TIMES = (3.45, 4.6, 5.75)
SIEMENS = {"Manufacturer": "SIEMENS"}
PHILIPS = {"Manufacturer": "Philips Medical Systems"}
GE = {"Manufacturer": "GE MEDICAL SYSTEMS"}


def of_type(*words: str, te: float | None = 2.46, **tags: Any) -> dict[str, Any]:
    """Give the tags of an image of a type."""
    return {"EchoTime": te, "ImageType": ["ORIGINAL", "PRIMARY", *words], **tags}


def siemens() -> list[Series]:
    """Three echoes: magnitudes are a series, phases another, stored under slope 2 and intercept -4096."""
    made = []
    for echo, te in enumerate(TIMES):
        made.append(Series(3, pixels(echo), of_type("M", "NORM", "DIS2D", te=te)))
        phase = pixels(10 + echo, 0, 4096)
        made.append(Series(4, phase, of_type("P", "NORM", te=te), slope=2.0, intercept=-4096.0))
    return made


def ge() -> list[Series]:
    """Three echoes of four parts in one series, told apart by a private number alone."""
    return [
        Series(
            7,
            pixels(100 + 10 * echo + part).astype(np.int16) - (2000 if part else 0),
            of_type("OTHER", te=te, **GE),
            {(0x43, 0x2F): ("GEMS_PARM_01", "SS", part)},
        )
        for echo, te in enumerate(TIMES)
        for part in range(4)
    ]


def philips() -> list[Series]:
    """Three echoes, magnitude and phase in one series, each echo under a slope of its own."""
    made = []
    for echo, te in enumerate(TIMES):
        made.append(Series(901, pixels(200 + echo), of_type("M_FFE", "M", "FFE", te=te, **PHILIPS), slope=1.3 + echo))
        phase = of_type("PHASE MAP", "P", "FFE", te=te, **PHILIPS)
        made.append(Series(901, pixels(210 + echo, 0, 4096), phase, slope=1.5344, intercept=-3142.0))
    return made


def vendor_dixon(**tags: Any) -> list[Series]:
    """Four images of a vendor's Dixon, each a series."""
    kinds = (("FAT", 2.46), ("WATER", 2.46), ("IN_PHASE", 2.46), ("OPP_PHASE", 1.23))
    return [Series(20 + n, pixels(n), of_type("DIXON", kind, te=te, **tags)) for n, (kind, te) in enumerate(kinds)]


def plain(series: Series) -> Dataset:
    """Give what all images have, with what names a patient in every place where scanners write it."""
    made = Dataset()
    made.PatientName = made.PatientComments = made.SeriesDescription = made.ProtocolName = series.patient
    made.PatientID, made.PatientBirthDate, made.InstitutionName = series.patient, "19700203", "Doe Hospital"
    made.StudyDate, made.StudyTime, made.StudyID = "20200203", "101112", "Doe"
    made.AcquisitionDate, made.AcquisitionTime, made.ImageComments = "20200203", "101112", series.patient
    made.Modality, made.Manufacturer = "MR", "SIEMENS"
    made.StudyInstanceUID, made.SeriesNumber = series.study, series.number
    made.SeriesInstanceUID = series.uid or f"{STUDY}.{series.number}"
    made.FrameOfReferenceUID, made.MagneticFieldStrength, made.ImagingFrequency = f"{STUDY}.99", 3.0, 123.25
    made.Rows, made.Columns, made.SamplesPerPixel = *series.stored.shape[1:], 1
    made.PhotometricInterpretation, made.BitsAllocated, made.BitsStored, made.HighBit = "MONOCHROME2", 16, 16, 15
    made.PixelRepresentation = int(series.stored.dtype.kind == "i")
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def put_private(dataset: Dataset, series: Series) -> None:
    """Add private tags, each in the block of its creator."""
    for (group, element), (creator, vr, value) in series.private.items():
        dataset.private_block(group, creator, create=True).add_new(element, vr, value)


def write_classic(folder: Path, series: Series, *, syntax: str | None = None) -> None:
    """Write one file a slice, named so that names do not sort as slices lie."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, place in enumerate(series.places):
        made = plain(series)
        made.SOPClassUID, made.SOPInstanceUID = MRImageStorage, generate_uid()
        made.RepetitionTime, made.FlipAngle, made.ScanningSequence = 125.0, 10.0, "GR"
        made.ImagePositionPatient, made.ImageOrientationPatient = position(place), ORIENTATION
        made.PixelSpacing, made.SliceThickness, made.InstanceNumber = SPACING, 5.0, index + 1
        if (series.slope, series.intercept) != (1.0, 0.0):
            made.RescaleSlope, made.RescaleIntercept = series.slope_of(index), series.intercept
        for name, value in series.tags.items():
            setattr(made, name, value)
        put_private(made, series)
        made.PixelData = series.stored[index].tobytes()
        made["PixelData"].VR = "OW"
        put_syntax(made, syntax)
        made.save_as(folder / f"{(index * 7) % 10}{index}-{generate_uid()[-9:]}", enforce_file_format=True)


def put_syntax(made: Dataset, syntax: str | None) -> None:
    """Store pixels as a transfer syntax does."""
    if syntax == RLELossless:
        made.compress(syntax)
    elif syntax:
        made.file_meta.TransferSyntaxUID = UID(syntax)
        if syntax == ExplicitVRBigEndian:
            made["PixelData"].value = np.frombuffer(made.PixelData, np.uint16).byteswap().tobytes()


def _group(frame: Dataset, name: str, **tags: Any) -> None:
    item = Dataset()
    for tag, value in tags.items():
        setattr(item, tag, value)
    setattr(frame, name, [item])


def write_enhanced(path: Path, many: Sequence[Series], *, syntax: str | None = None, private_group: Any = None) -> None:
    """Write all images as frames of one file, slices of different images after one another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = plain(many[0])
    made.SOPClassUID, made.SOPInstanceUID = EnhancedMRImageStorage, generate_uid()
    made.ImageType = ["ORIGINAL", "PRIMARY", "MIXED", "MIXED"]
    made.Manufacturer = many[0].tags.get("Manufacturer", "SIEMENS")
    made.ComplexImageComponent = "MIXED"
    shared = Dataset()
    _group(shared, "PixelMeasuresSequence", PixelSpacing=SPACING, SliceThickness=5.0)
    _group(shared, "PlaneOrientationSequence", ImageOrientationPatient=ORIENTATION)
    _group(shared, "MRTimingAndRelatedParametersSequence", RepetitionTime=125.0, FlipAngle=10.0)
    made.SharedFunctionalGroupsSequence = [shared]
    frames, stored = [], []
    for index in range(SLICES):
        for series in many:
            frame = Dataset()
            tags = dict(series.tags)
            _group(frame, "PlanePositionSequence", ImagePositionPatient=position(series.places[index]))
            _group(frame, "MREchoSequence", EffectiveEchoTime=tags["EchoTime"])
            kinds = {"FrameType": tags["ImageType"]}
            if "ComplexImageComponent" in tags:
                kinds["ComplexImageComponent"] = tags["ComplexImageComponent"]
            _group(frame, "MRImageFrameTypeSequence", **kinds)
            _group(
                frame,
                "PixelValueTransformationSequence",
                RescaleSlope=series.slope_of(index),
                RescaleIntercept=series.intercept,
                RescaleType="US",
            )
            if private_group:
                private_group(frame, series, index)
            frames.append(frame)
            stored.append(series.stored[index])
    made.PerFrameFunctionalGroupsSequence, made.NumberOfFrames = frames, len(frames)
    made.PixelData = np.stack(stored).tobytes()
    made["PixelData"].VR = "OW"
    put_syntax(made, syntax)
    made.save_as(path, enforce_file_format=True)
