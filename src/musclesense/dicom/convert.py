"""Voxels of stacks, by dcm2niix, which knows the compressions and the geometry of DICOM.

It is given plain copies of the slices, each stack as a series of its own, with the tags of geometry and pixels alone.
So it puts together what was found to belong together (by itself it merges what differs in private tags alone), and no
name of a patient reaches what it writes.
"""

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dcm2niix
import pydicom
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import DSfloat

from musclesense.dicom.frames import DAMAGED, Frame, quiet
from musclesense.dicom.stacks import Stack
from musclesense.errors import InputError, reason_of
from musclesense.imaging.nifti import Volume, read_volume

_JPEG, _END_OF_JPEG = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes), b"\xff\xd9"
_KEPT = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)


def volumes_of(stacks: Sequence[Stack], work: Path) -> Iterator[Volume]:
    """Read the voxels of stacks, in their order.

    Args:
        stacks: Whole ones.
        work: A folder for copies, which are images of a patient; it is made, and is gone afterwards.

    Raises:
        InputError: Pixels cannot be read.
    """
    source, made = work / "dicom", work / "nifti"
    try:
        source.mkdir(parents=True)
        made.mkdir()
        with quiet():
            _copy(stacks, source)
        said = _convert(work, source.name, made.name)
        for number, stack in enumerate(stacks, 1):
            yield _read(made, number, stack, said)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _convert(work: Path, source: str, made: str) -> str:
    """Let dcm2niix make one image of each series, named by its number, and give what it says.

    It works inside ``work``, so that no name of a folder is too long or too odd for it, with none of the user's own
    settings.
    """
    arguments = ["-g", "i", "-b", "n", "-z", "n", "-m", "n", "-f", "%s", "-o", made, source]
    try:
        ended = subprocess.run(
            [dcm2niix.bin, *arguments], cwd=work, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        wrong = f"cannot be started ({error.strerror}); pip install --force-reinstall dcm2niix"
        raise InputError(f"{dcm2niix.bin}: {wrong}") from error
    return ended.stdout + ended.stderr


def _copy(stacks: Sequence[Stack], folder: Path) -> None:
    """Write plain copies of slices, file by file, since one may hold all of them."""
    wanted: dict[Path, list[tuple[Frame, int, int]]] = defaultdict(list)
    for number, stack in enumerate(stacks, 1):
        for place, frame in enumerate(stack.frames, 1):
            wanted[frame.file].append((frame, number, place))
    series = [generate_uid(prefix=None) for _ in stacks]
    for file, frames in wanted.items():
        try:
            whole = pydicom.dcmread(file)
            pixels = _pixels(whole)
            slices = [_plain(frame, whole, pixels[frame.number]) for frame, _, _ in frames]
        except DAMAGED as error:
            raise InputError(f"{file}: pixels cannot be read ({reason_of(error)}); export it again") from error
        for plain, (_, number, place) in zip(slices, frames, strict=True):
            plain.SeriesNumber, plain.InstanceNumber, plain.SeriesInstanceUID = number, place, series[number - 1]
            plain.save_as(folder / f"{number}-{place}.dcm", enforce_file_format=True)


def _pixels(whole: Dataset) -> list[bytes]:
    """Give the pixels of each frame of a file, as they are stored."""
    count = int(whole.get("NumberOfFrames") or 1)
    syntax = whole.file_meta.TransferSyntaxUID
    if syntax.is_compressed:
        frames = list(generate_frames(whole.PixelData, number_of_frames=count))
        whole_frames = all(frame.rstrip(b"\0").endswith(_END_OF_JPEG) for frame in frames)
        if syntax in _JPEG and not whole_frames:  # dcm2niix would fill up the rest without a word
            raise ValueError("a compressed image ends too early")
        return [encapsulate([frame]) for frame in frames]
    size = whole.Rows * whole.Columns * whole.BitsAllocated // 8
    if len(whole.PixelData) < size * count:
        raise ValueError(f"{len(whole.PixelData)} of {size * count} bytes are there")
    return [whole.PixelData[size * number : size * (number + 1)] for number in range(count)]


def _plain(frame: Frame, whole: Dataset, pixels: bytes) -> Dataset:
    """Give a classic image of one slice, with the tags of geometry and pixels alone."""
    plain: Any = Dataset()
    for name in _KEPT:
        element = frame.header if name in frame.header else whole
        if name in element:
            plain[name] = element[name]
    slope, intercept = frame.scale
    plain.RescaleSlope, plain.RescaleIntercept = (DSfloat(value, auto_format=True) for value in (slope, intercept))
    plain.Modality, plain.SOPClassUID, plain.SOPInstanceUID = "MR", MRImageStorage, generate_uid(prefix=None)
    syntax = whole.file_meta.TransferSyntaxUID
    plain.file_meta = pydicom.dataset.FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
    plain.add_new("PixelData", whole["PixelData"].VR, pixels)
    return plain


def _read(folder: Path, number: int, stack: Stack, said: str) -> Volume:
    """Read what dcm2niix made of a stack."""
    files = [*folder.glob(f"{number}.nii"), *folder.glob(f"{number}_*")]
    if len(files) == 1:
        try:
            volume = read_volume(files[0])
        except InputError as error:
            raise InputError(
                *(problem.replace(str(files[0]), str(stack.first.file)) for problem in error.problems)
            ) from error
        if volume.geometry.shape == stack.shape:
            return volume
    last = next((line for line in reversed(said.splitlines()) if "rror" in line), "no image of it was made")
    raise InputError(f"{stack.first.file}: dcm2niix cannot read its pixels ({last}); export it uncompressed")
