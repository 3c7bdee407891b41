"""A mask as a DICOM segmentation (DICOM-SEG), beside the images of the scanner that it was made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from musclesense.dicom.frames import DAMAGED, quiet, read_frames
from musclesense.dicom.kinds import Kind
from musclesense.dicom.stacks import Stack, grouped
from musclesense.errors import ArgumentError, InputError, plain, reason_of
from musclesense.imaging.labels import LabelSet, without_side
from musclesense.imaging.nifti import Geometry
from musclesense.version import __version__

DESCRIPTION = "Musclesense: automatic segmentation"
_SERIES = 1000  # more than the number of the series that was segmented
_PATIENT = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_SEXES = ("M", "F", "O")
_FRAMES = "PerFrameFunctionalGroupsSequence"
_NEAR = 0.1  # of a voxel: where a pixel may lie beside it


def write_segmentation(
    file: Path, source: Path, classes: NDArray[np.uint8], geometry: Geometry, labels: LabelSet, network: str
) -> None:
    """Write the classes of a scan as a DICOM segmentation: a binary segment for each, in the slices that hold some.

    Its frames lie as those of the source, name them, and are of its study and its patient. The standard's dictionary
    has no codes for single muscles of the leg: each segment is coded as muscle of the lower limb, with its side where
    its name tells it, and is named as the label is.

    Args:
        file: To be written.
        source: Folder or file of DICOM that the scan was read from.
        classes: Class indices of ``geometry.shape``, 0 is background.
        geometry: Where the voxels lie.
        labels: What the classes are.
        network: What found them.

    Raises:
        InputError: There are no such images in the source, or they lack what a segmentation needs.
    """
    import highdicom as hd

    stack = _stack_of(source, geometry)
    with quiet():
        try:
            found = hd.seg.Segmentation(
                _images(stack),
                np.stack([_over(frame.plane, frame.position, classes, geometry) for frame in stack.frames]),
                hd.seg.SegmentationTypeValues.BINARY,
                [_segment(number, name, network) for number, name in enumerate(labels.names, 1)],
                series_instance_uid=generate_uid(),
                series_number=_SERIES + (stack.first.series or 0),
                sop_instance_uid=generate_uid(),
                instance_number=1,
                manufacturer="Musclesense",
                manufacturer_model_name="musclesense",
                software_versions=__version__,
                device_serial_number="0",
                series_description=DESCRIPTION,
                content_label="MUSCLE",
                content_description=DESCRIPTION,
                omit_empty_frames=bool(classes.any()),
            )
            _renumber(found, stack)
            found.save_as(file)
        except DAMAGED as error:
            said = plain(f"{stack.first.file}: makes no DICOM segmentation ({reason_of(error)})")
            raise ArgumentError(f"{said}; leave out {{dicom_seg}}", dicom_seg="") from error


def _stack_of(source: Path, geometry: Geometry) -> Stack:
    """Find the images that a segmentation lies over: fat, or those that come first among the kinds."""
    shape = tuple(geometry.shape)
    stacks = [one for one in grouped(read_frames(source).frames) if one.shape == shape and one.kind is not Kind.NO_SCAN]
    if not stacks:
        raise InputError(f"{source}: holds no image of {'x'.join(map(str, shape))} voxels any more; export it again")
    return min(stacks, key=lambda one: ([*Kind].index(one.kind), one.echo_ms or 0.0, one.first.series or 0))


def _images(stack: Stack) -> list[Dataset]:
    """Give the headers of the images of a stack; of a file with other images as well, its own frames alone."""
    files = {frame.file: _headed(frame.file) for frame in stack.frames}
    images = list(files.values())
    if _FRAMES in images[0]:
        frames = images[0][_FRAMES].value
        images[0][_FRAMES].value = [frames[frame.number] for frame in stack.frames]
        images[0].NumberOfFrames = len(stack.frames)
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):  # of anonymised images, each may have one of its own
        first = images[0][name].value
        for image in images:
            image[name].value = first
    return images


def _renumber(found: Dataset, stack: Stack) -> None:
    """Name the frames of a file by their own numbers, from 1, where not all of them were given."""
    derived = [one for frame in found[_FRAMES].value for one in frame.get("DerivationImageSequence", ())]
    sources = {id(source): source for one in derived for source in one.SourceImageSequence}  # which frames may share
    for source in sources.values():
        if "ReferencedFrameNumber" in source:
            source.ReferencedFrameNumber = stack.frames[source.ReferencedFrameNumber - 1].number + 1


def _headed(file: Path) -> Dataset:
    """Read a header, with what every segmentation has of it, be it empty."""
    image = pydicom.dcmread(file, stop_before_pixels=True)
    for name in _PATIENT:
        if name not in image:
            setattr(image, name, "")
    if image.PatientSex not in _SEXES:
        image.PatientSex = ""
    if not image.get("FrameOfReferenceUID"):
        image.FrameOfReferenceUID = image.SeriesInstanceUID
    return image


def _over(
    plane: NDArray[np.float64], first: NDArray[np.float64], classes: NDArray[np.uint8], geometry: Geometry
) -> NDArray[np.uint8]:
    """Give the classes at the pixels of a slice, (rows, columns), whichever way the voxels are stored."""
    to_voxels = np.linalg.inv(geometry.affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    along_row, along_column, (down, across) = plane[:3], plane[3:6], plane[6:]
    start = to_voxels @ [*first, 1.0]
    steps = to_voxels[:, :3] @ np.column_stack([along_column * down, along_row * across])
    rows, columns = (geometry.shape[int(np.abs(step).argmax())] for step in steps[:3].T)
    places = start[:3, None, None] + np.tensordot(steps[:3], np.indices((rows, columns)), 1)
    nearest = np.rint(places).astype(int)
    limits = np.array(geometry.shape)[:, None, None]
    if np.abs(places - nearest).max() > _NEAR or (nearest < 0).any() or (nearest >= limits).any():
        raise ValueError("its slices lie elsewhere than the mask")
    found: NDArray[np.uint8] = classes[tuple(nearest)]
    return found


def _segment(number: int, name: str, network: str) -> Any:
    import highdicom as hd

    muscle = codes.SCT.MuscleOfLowerLimb
    algorithm = hd.AlgorithmIdentificationSequence(
        f"Musclesense, {network}"[:64], codes.DCM.ArtificialIntelligence, __version__, parameters={"network": network}
    )
    described = hd.seg.SegmentDescription(
        number, name[:64], codes.SCT.AnatomicalStructure, muscle, hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC, algorithm
    )
    side = name.rpartition("_")[2]
    if without_side(name) != name:
        modifier = hd.sr.CodedConcept.from_code(codes.SCT.Left if side == "left" else codes.SCT.Right)
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return described
