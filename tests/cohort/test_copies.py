"""One image twice in a cohort: told of or refused, however it was saved."""

import gzip
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from musclesense.cohort.checks import check
from musclesense.errors import InputError
from musclesense.vocabulary import Limbs, Region

from .conftest import AFFINE, SHAPE, image, save


def test_one_image_under_two_subjects(cohort):
    table = cohort.read()
    detour = cohort.path.parent / "x" / ".." / "S0_fat.nii.gz"
    rows = [*table.acquisitions, replace(cohort.rows[0], line=8, subject="S9", channels={"fat": detour})]
    detour.parent.parent.mkdir()
    with pytest.raises(InputError) as caught:
        check(replace(table, acquisitions=tuple(rows)))
    shared = {"fat": detour, "mask": cohort.rows[0].mask}
    assert list(caught.value.problems) == [
        f"{cohort.path}, line 8: {column} {file}: belongs to subject 'S0' in line 2; "
        "correct the path, or give one subject one name"
        for column, file in shared.items()
    ]


def test_one_file_as_image_and_labels_but_it_may_be_the_labels_of_both_kinds(cohort):
    row = cohort.rows[0]
    cohort.change(0, compartments=row.mask)
    check(cohort.read())
    cohort.change(0, compartments=row.channels["fat"])
    assert "cohort.csv, line 2: compartments S0_fat.nii.gz: is the fat image too; correct one path" in cohort.problems()


def test_one_image_as_two_channels(cohort):
    fat = cohort.rows[0].channels["fat"]
    cohort.change(0, channels={"fat": fat, "water": fat})
    assert cohort.problems() == ["cohort.csv, line 2: water S0_fat.nii.gz: is the fat image too; correct one path"]


def copied(kind: str, source: Path, copy: Path) -> None:
    """Save what a file shows under another name."""
    copy.unlink()
    stored = nib.load(source)
    data = np.asanyarray(stored.dataobj)
    match kind:
        case "copy":
            copy.write_bytes(source.read_bytes())
        case "hard link":
            copy.hardlink_to(source)
        case "link":
            copy.symlink_to(source)
        case "compression":
            copy.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()), 1, mtime=7))
        case "doubles":
            save(copy, data.astype(np.float64))
        case "slope":
            header = nib.Nifti1Header()
            header.set_data_dtype(np.int16)
            nib.save(nib.Nifti1Image(stored.get_fdata(), AFFINE, header), copy)
        case "8 bits":
            header = nib.Nifti1Header()
            header.set_data_dtype(np.uint8)
            nib.save(nib.Nifti1Image(stored.get_fdata(), AFFINE, header), copy)
        case "brighter":
            save(copy, data * np.float32(3.7))
        case "order of axes":
            flipped = AFFINE @ np.array([[-1, 0, 0, SHAPE[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
            save(copy, data[::-1], flipped)


KINDS = ("copy", "hard link", "link", "compression", "doubles", "slope", "8 bits", "brighter", "order of axes")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("column", ["fat", "water", "fat_fraction"])
def test_one_scan_under_two_subjects_is_refused_however_it_was_saved(cohort, kind, column):
    folder = cohort.path.parent
    copied(kind, folder / f"S1_{column}.nii.gz", folder / f"S4_{column}.nii.gz")
    said = [problem for problem in cohort.problems() if "corners lie" not in problem]
    assert said == [
        f"cohort.csv, line 6: {column} S4_{column}.nii.gz: shows the same as {column} S1_{column}.nii.gz in line 3, "
        "of subject 'S1'; correct the path, or give one subject one name"
    ]


@pytest.mark.parametrize("kind", ["copy", "link", "compression", "doubles"])
def test_one_scan_twice_within_a_subject_is_told_of(cohort, kind, caplog):
    folder = cohort.path.parent
    copied(kind, folder / "S0_fat.nii.gz", folder / "S1_fat.nii.gz")
    cohort.change(1, subject="S0")
    check(cohort.read())
    (said,) = caplog.messages
    assert "line 3: fat " in said
    assert "S1_fat.nii.gz: shows the same as fat " in said
    assert said.endswith("S0_fat.nii.gz in line 2; correct one path if it is wrong")


def test_scans_that_differ_are_no_copies(cohort, caplog):
    folder = cohort.path.parent
    first = image()
    # The same subject again, echoes that are nearly alike, another slice of nearly the same.
    save(folder / "S1_fat.nii.gz", first + np.random.default_rng(5).normal(0, 0.01, SHAPE).astype(np.float32))
    cohort.change(1, subject="S0")
    save(folder / "S2_fat.nii.gz", first[::-1])
    save(folder / "S3_fat.nii.gz", np.roll(first, 1, axis=1))
    save(folder / "S4_fat.nii.gz", first + np.random.default_rng(6).normal(0, 2, SHAPE).astype(np.float32))
    check(cohort.read())
    assert caplog.messages == []


def test_one_file_for_both_limbs_of_a_subject_is_no_copy(cohort, caplog):
    shared = cohort.rows[0]
    cohort.rows[0] = replace(shared, limbs=Limbs.LEFT)
    cohort.rows.append(replace(shared, limbs=Limbs.RIGHT, line=8))
    check(cohort.read())
    assert caplog.messages == []


def test_a_copy_is_refused_before_training_whatever_else_is_wrong(cohort):
    folder = cohort.path.parent
    copied("slope", folder / "S0_fat.nii.gz", folder / "S2_fat.nii.gz")
    cohort.rows[5].channels["fat"].unlink()
    found = cohort.problems(channels=["fat"], regions=list(Region), folds=3, inner_folds=3, label_column="mask")
    assert [problem.partition(":")[0] for problem in found] == ["cohort.csv, line 7", "cohort.csv, line 4"]
