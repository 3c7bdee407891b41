"""Masks as DICOM segmentations, read back by highdicom: every voxel, where it lies, what it is called, whose it is."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from tests.dicom.making import (
    GE,
    ORIENTATION,
    PHILIPS,
    SIEMENS,
    SLICES,
    Series,
    as_scanned,
    ge,
    of_type,
    philips,
    pixels,
    position,
    siemens,
    vendor_dixon,
    write_classic,
    write_enhanced,
)

from musclesense.dicom.load import import_dicom
from musclesense.dicom.segmentation import DESCRIPTION, write_segmentation
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, read_geometry, write_volume

hd = pytest.importorskip("highdicom", reason="writes DICOM-SEG; comes with musclesense[dicom]")
WHOLE = LabelSet.from_config({"muscle": []})
SIDES = LabelSet.from_config({"soleus_right": [7], "soleus_left": [107], "other_muscle": [3]})


def put(folder: Path, many: Sequence[Series], write: Callable[..., None]) -> None:
    if write is write_enhanced:
        write_enhanced(folder / "IM0", many)
    for series in many if write is write_classic else ():
        write_classic(folder, series)


def imported(folder: Path, many: Sequence[Series], write: Callable[..., None]) -> Geometry:
    put(folder / "in", many, write)
    import_dicom(folder / "in", folder / "out")
    return read_geometry(next((folder / "out").glob("*.nii.gz")))


def random_classes(geometry: Geometry, labels: LabelSet) -> NDArray[np.uint8]:
    rng = np.random.default_rng(5)
    classes = rng.integers(0, labels.n_classes + 1, geometry.shape).astype(np.uint8)
    classes[..., 2] = 0  # a slice without any
    return classes


def written(folder: Path, geometry: Geometry, labels: LabelSet = SIDES) -> tuple[Any, NDArray[np.float64]]:
    """Write random classes; gives what is read back, and the classes as the scanner had them."""
    classes = random_classes(geometry, labels)
    write_segmentation(folder / "mask.dcm", folder / "in", classes, geometry, labels, "any_contrast")
    write_volume(folder / "mask.nii.gz", classes, geometry, np.uint8)
    return hd.seg.segread(folder / "mask.dcm"), as_scanned(folder / "mask.nii.gz")


def masks_of(found: Any, count: int) -> NDArray[np.float64]:
    """Lay the frames of a segmentation where they say that they lie: (slices, rows, columns)."""
    made = np.zeros((SLICES, found.Rows, found.Columns))
    shared = found.SharedFunctionalGroupsSequence[0]  # where there is one segment alone
    for frame, own in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence, strict=True):
        at = own.PlanePositionSequence[0].ImagePositionPatient
        place = int(np.argmin([np.linalg.norm(np.subtract(at, position(place))) for place in range(SLICES)]))
        assert np.allclose(at, position(place), atol=1e-4)
        named = own if "SegmentIdentificationSequence" in own else shared
        number = named.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert 1 <= number <= count and not made[place][frame > 0].any()
        made[place] += number * frame
    return made


MANY: dict[str, tuple[Sequence[Series], Callable[..., None]]] = {
    "siemens echoes": (siemens(), write_classic),
    "ge echoes": (ge(), write_classic),
    "philips echoes": (philips(), write_classic),
    "philips echoes, enhanced": (philips(), write_enhanced),
    "siemens fat and water": (vendor_dixon(**SIEMENS), write_classic),
    "ge fat and water, enhanced": (vendor_dixon(**GE), write_enhanced),
    "philips fat and water, enhanced": (vendor_dixon(**PHILIPS), write_enhanced),
    "one image": ([Series(5, pixels(1), of_type("M", "NORM"))], write_classic),
    "one enhanced image": ([Series(5, pixels(1), of_type("M", "NORM"))], write_enhanced),
}


@pytest.mark.parametrize("kind", MANY)
def test_every_voxel_lies_where_the_scanner_had_it(kind: str, tmp_path: Path) -> None:
    many, write = MANY[kind]
    found, classes = written(tmp_path, imported(tmp_path, many, write))
    assert np.array_equal(masks_of(found, SIDES.n_classes), classes) and not classes[2].any()
    shared = found.SharedFunctionalGroupsSequence[0]
    assert np.allclose(shared.PlaneOrientationSequence[0].ImageOrientationPatient, ORIENTATION)
    source = pydicom.dcmread(next(file for file in (tmp_path / "in").iterdir()))
    for name in ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "PatientName"):
        assert found[name].value == source[name].value
    assert found.SeriesDescription == DESCRIPTION and found.SegmentationType == "BINARY" and found.Modality == "SEG"


@pytest.mark.parametrize("write", [write_classic, write_enhanced])
def test_each_frame_names_the_image_that_it_lies_over(write: Callable[..., None], tmp_path: Path) -> None:
    """By highdicom's own way from an image to its mask; the fat images, since there are some."""
    found, classes = written(tmp_path, imported(tmp_path, vendor_dixon(), write), WHOLE)
    if write is write_enhanced:
        (file,) = (tmp_path / "in").iterdir()
        source = pydicom.dcmread(file)
        numbers = [
            number
            for number, own in enumerate(source.PerFrameFunctionalGroupsSequence, 1)
            if "FAT" in own.MRImageFrameTypeSequence[0].FrameType
        ]
        got = found.get_pixels_by_source_frame(source.SOPInstanceUID, numbers, assert_missing_frames_are_empty=True)
        assert np.array_equal(got[..., 0], classes)
        return
    for file in (tmp_path / "in").iterdir():
        source = pydicom.dcmread(file)
        if "FAT" in source.ImageType:
            got = found.get_pixels_by_source_instance([source.SOPInstanceUID], assert_missing_frames_are_empty=True)
            assert np.array_equal(got[0, ..., 0], classes[source.InstanceNumber - 1])


def test_segments_are_named_and_coded_with_their_sides(tmp_path: Path) -> None:
    found, _ = written(tmp_path, imported(tmp_path, vendor_dixon(), write_classic))
    sides = []
    for segment, name in zip(found.SegmentSequence, SIDES.names, strict=True):
        assert segment.SegmentLabel == name and segment.SegmentAlgorithmType == "AUTOMATIC"
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("102292000", "SCT")
        sides.append([own.CodeMeaning for own in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])])
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmName == "Musclesense, any_contrast"
    assert sides == [["Right"], ["Left"], []]


def strip(image: Dataset) -> None:
    for name in ("PatientName", "PatientBirthDate", "StudyID", "StudyDate", "StudyTime", "PatientID"):
        delattr(image, name)


def odd_sex(image: Dataset) -> None:
    image.PatientSex, image.PatientName = "W", ""


def own_references(image: Dataset) -> None:
    image.FrameOfReferenceUID = pydicom.uid.generate_uid()


def own_studies(image: Dataset) -> None:
    image.StudyInstanceUID = pydicom.uid.generate_uid()


def no_reference(image: Dataset) -> None:
    del image.FrameOfReferenceUID


@pytest.mark.parametrize("change", [strip, odd_sex, own_references, own_studies, no_reference])
def test_anonymised_images_have_a_segmentation(change: Callable[[Dataset], None], tmp_path: Path) -> None:
    put(tmp_path / "in", [Series(5, pixels(1), of_type("M", "NORM"))], write_classic)
    for file in (tmp_path / "in").iterdir():
        image = pydicom.dcmread(file)
        change(image)
        image.save_as(file)
    import_dicom(tmp_path / "in", tmp_path / "out")
    found, classes = written(tmp_path, read_geometry(next((tmp_path / "out").glob("*.nii.gz"))), WHOLE)
    assert np.array_equal(masks_of(found, 1), classes)


def test_a_mask_of_nothing_is_written_as_such(tmp_path: Path) -> None:
    geometry = imported(tmp_path, vendor_dixon(), write_classic)
    empty = np.zeros(geometry.shape, np.uint8)
    write_segmentation(tmp_path / "mask.dcm", tmp_path / "in", empty, geometry, WHOLE, "mine")
    found = hd.seg.segread(tmp_path / "mask.dcm")
    assert not found.pixel_array.any() and len(found.SegmentSequence) == 1


def test_images_that_are_gone_or_lie_elsewhere_are_told_of(tmp_path: Path) -> None:
    geometry = imported(tmp_path, vendor_dixon(), write_classic)
    classes = random_classes(geometry, WHOLE)
    moved = geometry.affine.copy()
    moved[:3, 3] += 5
    shapes = {"lie elsewhere": (classes, moved), "any more": (classes[:-1], geometry.affine)}
    for said, (mask, affine) in shapes.items():
        other = Geometry.from_affine(mask.shape, affine)
        with pytest.raises(InputError, match=said):
            write_segmentation(tmp_path / "mask.dcm", tmp_path / "in", mask, other, WHOLE, "mine")
        assert not (tmp_path / "mask.dcm").exists()
