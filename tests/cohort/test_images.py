"""Images of a cohort: their voxels, their places and their labels."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from musclesense.cohort.cache import labelled_slices
from musclesense.cohort.checks import check
from musclesense.cohort.images import read_reference
from musclesense.imaging.nifti import read_volume

from .conftest import AFFINE, SHAPE, Cohort, image, mask, save


@pytest.mark.parametrize("column", ["water", "mask", "fat_fraction"])
def test_another_shape(cohort, column):
    save(cohort.path.parent / f"S2_{column}.nii.gz", np.pad(image(99) if column != "mask" else mask(), (0, 1)))
    assert cohort.problems() == [
        f"cohort.csv, line 4: {column} S2_{column}.nii.gz: shape 7x6x5 differs from 6x5x4 from that of fat; "
        "bring both to the same voxels"
    ]


@pytest.mark.parametrize("column", ["water", "mask", "fat_fraction"])
def test_another_affine(cohort, column):
    moved = AFFINE.copy()
    moved[0, 3] = 3
    save(cohort.path.parent / f"S2_{column}.nii.gz", image(99) if column != "mask" else mask(), moved)
    assert cohort.problems() == [
        f"cohort.csv, line 4: {column} S2_{column}.nii.gz: "
        "affine differs: corners lie up to 3 mm apart from that of fat; bring both to the same voxels"
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", ["fat", "mask", "fat_fraction"])
def test_values_that_are_not_finite(cohort, value, column):
    data = mask().astype(np.float32) if column == "mask" else np.full(SHAPE, 50, np.float32)
    data[0], data[3, 2, :2] = 0, value
    save(cohort.path.parent / f"S0_{column}.nii.gz", data)
    assert cohort.problems() == [
        f"cohort.csv, line 2: {column} S0_{column}.nii.gz: 2 voxels are NaN or infinite; export the image again"
    ]


@pytest.mark.parametrize("column", ["fat", "fat_fraction"])
def test_nan_in_air_is_taken_and_said(cohort, column, caplog):
    data = image()
    data[:2] = np.nan
    file = save(cohort.path.parent / f"S0_{column}.nii.gz", data)
    check(cohort.read(), folds=2)
    assert caplog.messages == [f"{column} {file}: {2 * 5 * 4} voxels outside the body are NaN; taken as air"]


def test_values_that_float32_cannot_hold(cohort):
    data = image().astype(np.float64)
    data[0, 0, 0] = 1e300
    save(cohort.rows[0].channels["fat"], data)
    assert cohort.problems() == [
        "cohort.csv, line 2: fat S0_fat.nii.gz: 1 voxels are NaN or infinite; export the image again"
    ]


def test_labels_that_are_no_integers(cohort):
    data = mask().astype(np.float32)
    data[2, 2, 1:3] = 0.5
    save(cohort.rows[0].mask, data)
    assert cohort.problems() == [
        "cohort.csv, line 2: mask S0_mask.nii.gz: 2 labels are no integers, such as 0.5; save integer labels"
    ]


def test_whole_numbers_stored_as_floats_are_labels(cohort):
    save(cohort.rows[0].mask, mask().astype(np.float32))
    check(cohort.read())


def test_negative_labels(cohort):
    data = mask().astype(np.int16)
    data[0, 0, 0] = -2
    save(cohort.rows[0].mask, data)
    assert cohort.problems() == ["cohort.csv, line 2: mask S0_mask.nii.gz: label -2 is negative; count labels from 0"]


@pytest.mark.parametrize("codes", ["LPS", "RAI", "SAL", "PIR"])
def test_a_mask_in_another_order_of_axes_is_the_same_mask(cohort: Cohort, codes: str) -> None:
    file = cohort.rows[0].mask
    assert file is not None
    stored = nib.load(file)
    turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes))
    other = stored.as_reoriented(turn)
    nib.save(nib.Nifti1Image(np.asarray(other.dataobj), other.affine.round(4)), file)
    table = cohort.read()
    check(table, label_column="mask")
    row = table.acquisitions[0]
    assert np.array_equal(read_reference(row, "mask").data, mask())
    assert labelled_slices(replace(row, slice=None), "mask") == [1, 2]
    moved = other.affine.copy()
    moved[:3, 3] += 3
    nib.save(nib.Nifti1Image(np.asarray(other.dataobj), moved), file)
    (problem,) = cohort.problems()
    assert "from that of fat; bring both to the same voxels" in problem


@pytest.mark.parametrize("largest", [1, 3, 11, 40])
def test_labels_resaved_with_a_scale_factor_are_labels(cohort: Cohort, largest: int) -> None:
    data = mask().astype(np.float64) * largest
    file = cohort.rows[0].mask
    assert file is not None
    image = nib.Nifti1Image(data + 1e-5, AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, file)
    assert not np.array_equal(read_volume(file).data, data), "stored as the nearest step"
    check(cohort.read(), label_column="mask", label_values=[1, largest])
    assert labelled_slices(replace(cohort.read().acquisitions[0], slice=None), "mask") == [1, 2]


def test_what_is_peculiar_of_an_image_is_said_of_it_and_not_of_the_mask(
    cohort: Cohort, caplog: pytest.LogCaptureFixture
) -> None:
    file = cohort.rows[0].channels["fat"]
    image = nib.load(file)
    data, header = np.asarray(image.dataobj), image.header.copy()
    other = AFFINE.copy()
    other[0, 3] += 5
    header.set_sform(other, 1)
    header.set_qform(AFFINE, 1)
    nib.save(nib.Nifti1Image(data, None, header), file)
    check(cohort.read())
    (said,) = (record.getMessage() for record in caplog.records if "sform" in record.getMessage())
    assert str(file) in said and "sform is taken" in said
