"""Checks of a cohort: each problem is found and named, all of them at once, and a sound cohort passes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort import checks
from musclesense.cohort.checks import check, summary
from musclesense.cohort.table import Acquisition, CohortTable, scan_table, write_table
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume
from musclesense.vocabulary import Limbs, Region

from ..dixon import test_swaps as swaps
from .conftest import AFFINE, SHAPE, image, mask, save


def test_a_sound_cohort_passes(cohort):
    table = cohort.read()
    check(table)
    check(table, channels=["fat", "water"], regions=list(Region), folds=4, inner_folds=4, label_column="mask")


def test_a_missing_file(cohort):
    cohort.rows[0].channels["fat"].unlink()
    assert cohort.problems() == ["cohort.csv, line 2: fat S0_fat.nii.gz: no such file; correct the path"]


def test_a_truncated_file(cohort):
    file = save(cohort.rows[1].channels["water"], np.random.default_rng(0).normal(size=(20, 20, 20)))
    file.write_bytes(file.read_bytes()[:-60])
    (problem,) = cohort.problems()
    assert problem.startswith("cohort.csv, line 3: water S1_water.nii.gz: voxels cannot be read (")
    assert problem.endswith("); export the file again")


def test_a_file_that_is_no_image(cohort):
    cohort.rows[1].mask.write_text("subject,region\n")
    (problem,) = cohort.problems()
    assert problem.startswith("cohort.csv, line 3: mask S1_mask.nii.gz: not a readable NIfTI file (")


@pytest.mark.parametrize(("most", "passes"), [(1, False), (2, True)])
def test_more_groups_than_a_report_can_show(cohort, monkeypatch, most, passes):
    monkeypatch.setattr(checks, "MOST_GROUPS", most)
    if passes:
        check(cohort.read())
    else:
        assert cohort.problems() == ["cohort.csv: 2 groups, of which 1 are taken; put like ones together"]


def test_an_empty_mask(cohort):
    save(cohort.rows[0].mask, np.zeros(SHAPE, np.uint8))
    assert cohort.problems() == [
        "cohort.csv, line 2: mask S0_mask.nii.gz: no positive voxel; draw the mask, or leave the cell blank"
    ]


def test_a_labelled_slice_without_labels(cohort):
    cohort.change(0, slice=3)
    assert cohort.problems() == [
        "cohort.csv, line 2: mask S0_mask.nii.gz: no positive voxel in slice 3, but in 1, 2; correct the slice"
    ]


def test_a_mask_without_the_labels_that_count(cohort):
    data = mask()
    data[data > 0] = 4
    save(cohort.rows[0].mask, data)
    check(cohort.read(), label_values=[1, 4])
    assert cohort.problems(label_values=[2, 1], regions=[Region.CALF])[0] == (
        "cohort.csv, line 2: mask S0_mask.nii.gz: no voxel labelled 1, 2; draw the mask, or leave the cell blank"
    )


@pytest.mark.parametrize("limbs", ["both", "right"])
def test_fat_and_water_that_are_exchanged(cohort, limbs, caplog):
    """In all limbs: refused. In one, which a scanner may have swapped: a warning."""
    fat, water = swaps.limbs(muscle=0.1, fat_mm=12)
    out = np.arange(len(fat))[:, None, None] < (len(fat) if limbs == "both" else 65)
    row = cohort.rows[0]
    for name, data in (("fat", np.where(out, water, fat)), ("water", np.where(out, fat, water))):
        save(row.channels[name], data.astype(np.float32), swaps.GEOMETRY.affine)
    save(row.mask, np.ones(fat.shape, np.uint8), swaps.GEOMETRY.affine)
    save(row.fat_fraction, np.clip(fat, 0, 100).astype(np.float32), swaps.GEOMETRY.affine)
    said = "fat S0_fat.nii.gz: fat and water look exchanged, with water below the skin and fat within, in"
    if limbs == "both":
        assert cohort.problems() == [f"cohort.csv, line 2: {said} all limbs; exchange the columns fat and water"]
    else:
        check(cohort.read(), folds=2)
        (warned,) = caplog.messages
        assert warned.replace(f"{cohort.path.parent}/", "") == (
            f"line 2: {said} the right limb; look at the images, or remove the row"
        )


@pytest.mark.parametrize("column", ["fat", "fat_fraction"])
def test_a_constant_image(cohort, column):
    save(cohort.path.parent / f"S0_{column}.nii.gz", np.full(SHAPE, 7.5, np.float32))
    assert cohort.problems() == [
        f"cohort.csv, line 2: {column} S0_{column}.nii.gz: every voxel is 7.5; export the image again"
    ]


@pytest.mark.parametrize("labelled", [1, None])
def test_a_constant_labelled_slice(cohort, labelled):
    data = image()
    data[:, :, 1] = 0
    data[:, :, 3] = 0
    save(cohort.rows[0].channels["fat"], data)
    cohort.change(0, slice=labelled)
    assert cohort.problems() == [
        "cohort.csv, line 2: fat S0_fat.nii.gz: every voxel of labelled slice 1 is 0; correct the slice or the image"
    ]


def test_a_slice_out_of_range(cohort):
    cohort.change(0, slice=4)
    assert cohort.problems() == ["cohort.csv, line 2: slice 4: S0_fat.nii.gz has slices 0 to 3; correct the number"]


def test_slices_lie_along_superior_inferior(cohort):
    """Stored with superior-inferior first, the volume has six slices, so the fifth exists."""
    turned = AFFINE[:, [2, 0, 1, 3]]
    data = np.ones(SHAPE, np.uint8)
    data[:4] = 0
    for column in ("fat", "water", "fat_fraction"):
        save(cohort.path.parent / f"S0_{column}.nii.gz", image(), turned)
    save(cohort.rows[0].mask, data, turned)
    cohort.change(0, slice=4)
    check(cohort.read())
    cohort.change(0, slice=6)
    assert cohort.problems() == ["cohort.csv, line 2: slice 6: S0_fat.nii.gz has slices 0 to 5; correct the number"]


def test_a_fat_fraction_that_is_not_percent(cohort):
    save(cohort.rows[0].fat_fraction, image() / 100)
    (problem,) = cohort.problems()
    assert problem.startswith("cohort.csv, line 2: fat_fraction S0_fat_fraction.nii.gz: values up to 0.")
    assert problem.endswith("are a fraction; multiply by 100 to make percent")


@pytest.mark.parametrize("scale", [0.01, 0.1, 1, 2.55, 10, 40.95])
@pytest.mark.parametrize("muscle_alone", [False, True])
def test_a_fat_fraction_is_percent_where_fat_is_brightest(cohort, scale, muscle_alone):
    """Noise of a few voxels in air has any fat fraction; a map of muscle alone says nothing of fat."""
    fat, water = swaps.limbs(muscle=0.1, fat_mm=12)
    row = cohort.rows[0]
    for name, data in (("fat", fat), ("water", water)):
        save(row.channels[name], data.astype(np.float32), swaps.GEOMETRY.affine)
    save(row.mask, np.ones(fat.shape, np.uint8), swaps.GEOMETRY.affine)
    percent = 100 * fat / np.maximum(fat + water, 1)
    percent = np.where(percent > 50, 0, percent) if muscle_alone else percent
    percent[:3, :3] = np.random.default_rng(0).uniform(-900, 900, percent[:3, :3].shape)
    save(row.fat_fraction, (scale * percent).astype(np.float32), swaps.GEOMETRY.affine)
    if scale == 1 or muscle_alone:
        check(cohort.read())
    elif scale != 0.1:  # which could be of water
        (problem,) = cohort.problems()
        assert problem.startswith("cohort.csv, line 2: fat_fraction S0_fat_fraction.nii.gz: values of about ")
        assert problem.endswith(" where the fat image is brightest are no percent; give 0 to 100")


def test_a_chosen_channel_that_a_row_lacks(cohort):
    cohort.change(3, channels={"fat": cohort.rows[3].channels["fat"]})
    assert cohort.problems(channels=["fat", "water"]) == [
        "cohort.csv, line 5: water '': row lacks the channel; give the image or choose other channels"
    ]


def test_channels_that_were_not_chosen_are_not_read(cohort):
    for row in cohort.rows:
        row.channels["water"].unlink()
    check(cohort.read(), channels=["fat"])
    assert len(cohort.problems()) == 6


def test_a_row_without_any_image(cohort):
    cohort.change(3, channels={})
    assert cohort.problems() == [
        "cohort.csv, line 5: channels '': row has no image; give at least one of fat, water, te345, te460, te575, image"
    ]


def test_a_row_without_a_mask_is_a_problem_for_training_only(cohort):
    cohort.change(3, mask=None)
    check(cohort.read())
    assert cohort.problems(label_column="mask") == [
        "cohort.csv, line 5: mask '': row has nothing to train on; give the image or remove the row"
    ]


def test_rows_of_other_regions_are_not_looked_at(cohort):
    cohort.rows[1].mask.unlink()
    check(cohort.read(), regions=[Region.CALF])
    assert len(cohort.problems(regions=[Region.THIGH])) == 1


def test_no_row_of_the_chosen_region(cohort):
    cohort.rows = [row for row in cohort.rows if row.region == Region.CALF]
    assert cohort.problems(regions=[Region.THIGH], folds=5) == [
        "cohort.csv: no row of region thigh; choose another region"
    ]


def test_a_duplicate_row(cohort):
    cohort.rows.append(replace(cohort.rows[0], line=8, slice=2))
    assert cohort.problems() == [
        "cohort.csv, line 8: subject 'S0': session '', calf, limbs both again after line 2; "
        "remove one row or tell the sessions apart"
    ]


def test_another_session_region_or_limb_is_no_duplicate(cohort):
    first = cohort.rows[0]
    others = ({"session": "v2"}, {"region": Region.THIGH}, {"limbs": Limbs.LEFT})
    cohort.rows += [replace(first, **other) for other in others]
    check(cohort.read())


def test_a_subject_in_two_groups(cohort):
    cohort.rows.append(replace(cohort.rows[0], line=8, session="v2", group="g1"))
    assert cohort.problems() == [
        "cohort.csv, line 8: group 'g1': subject 'S0' is in group 'g0' in line 2; give each subject one group"
    ]


def test_compartments_are_read_where_nothing_else_is_asked_for(cohort):
    folder = cohort.path.parent
    moved = AFFINE.copy()
    moved[0, 3] = 3
    cohort.change(0, compartments=folder / "nowhere.nii.gz")
    cohort.change(1, compartments=save(folder / "moved.nii.gz", 5 * mask(), moved))
    cohort.change(2, compartments=save(folder / "empty.nii.gz", 0 * mask()))
    cohort.change(3, compartments=save(folder / "sound.nii.gz", 5 * mask()))
    assert cohort.problems() == [
        "cohort.csv, line 2: compartments nowhere.nii.gz: no such file; correct the path",
        "cohort.csv, line 3: compartments moved.nii.gz: "
        "affine differs: corners lie up to 3 mm apart from that of fat; bring both to the same voxels",
        "cohort.csv, line 4: compartments empty.nii.gz: no positive voxel; draw the mask, or leave the cell blank",
    ]
    check(cohort.read(), label_column="mask")


def test_images_must_show_something_wherever_either_kind_of_labels_is(cohort):
    data, deeper = image(), mask()
    data[:, :, 3] = 0
    deeper[2, 2, 3] = 1
    save(cohort.rows[0].channels["fat"], data)
    cohort.change(0, slice=None, compartments=save(cohort.path.parent / "deeper.nii.gz", deeper))
    assert cohort.problems() == [
        "cohort.csv, line 2: fat S0_fat.nii.gz: every voxel of labelled slice 3 is 0; correct the slice or the image"
    ]


@pytest.mark.parametrize(("folds", "inner", "needed"), [(7, None, 9), (5, 5, 7), (2, 6, 12)])
def test_fewer_subjects_than_folds(cohort, folds, inner, needed):
    (problem,) = cohort.problems(folds=folds, inner_folds=inner)
    assert problem == (
        f"cohort.csv: 6 subjects are too few for {folds} outer and {inner or folds} inner folds, which take {needed}; "
        "add subjects or ask for fewer folds"
    )


def test_subjects_are_counted_in_the_chosen_region(cohort):
    check(cohort.read(), folds=3)
    assert cohort.problems(regions=[Region.CALF], folds=3)[0].startswith("cohort.csv: 3 subjects are too few for 3")


def test_ten_problems_at_once(cohort):
    rows = cohort.rows
    rows[0].channels["fat"].unlink()
    rows[0].channels["water"].write_bytes(b"no image")
    broken = mask().astype(np.float32)
    broken[2, 2, 1] = 1.5
    broken[0, 0, 0] = np.nan
    broken[0, 0, 1] = -1
    save(rows[0].mask, broken)
    save(rows[1].mask, np.zeros(SHAPE, np.uint8), np.diag([1.0, 2.0, 10.0, 1.0]))
    save(rows[2].channels["water"], np.full(SHAPE, 3, np.int16))
    cohort.change(3, slice=9)
    rows.append(replace(rows[4], line=8, group="other"))
    write_table(cohort.path, rows)
    with cohort.path.open("a") as file:
        file.write("S9,,g0,arm,both,,,,,,,,\n")
    with pytest.raises(InputError) as caught:
        check(scan_table(cohort.path), channels=["fat", "water"], folds=8, label_column="mask")
    problems = [problem.replace(f"{cohort.path.parent}/", "") for problem in caught.value.problems]
    found = [problem.split("; ")[0].split(" (")[0] for problem in problems]
    assert found == [
        "cohort.csv, line 9: region 'arm': unknown",
        "cohort.csv, line 2: mask S0_mask.nii.gz: 1 voxels are NaN or infinite",
        "cohort.csv, line 2: mask S0_mask.nii.gz: 1 labels are no integers, such as 1.5",
        "cohort.csv, line 2: mask S0_mask.nii.gz: label -1 is negative",
        "cohort.csv, line 2: fat S0_fat.nii.gz: no such file",
        "cohort.csv, line 2: water S0_water.nii.gz: not a readable NIfTI file",
        "cohort.csv, line 3: mask S1_mask.nii.gz: no positive voxel",
        "cohort.csv, line 3: mask S1_mask.nii.gz: affine differs: corners lie up to 5 mm apart from that of fat",
        "cohort.csv, line 4: water S2_water.nii.gz: every voxel is 3",
        "cohort.csv, line 5: slice 9: S3_fat.nii.gz has slices 0 to 3",
        "cohort.csv, line 8: subject 'S4': session '', calf, limbs both again after line 6",
        "cohort.csv, line 8: group 'other': subject 'S4' is in group 'g1' in line 6",
        "cohort.csv: 7 subjects are too few for 8 outer and 8 inner folds, which take 10",
    ]
    assert all("\n" not in problem and "; " in problem for problem in problems)


def test_every_file_is_read_once(cohort, monkeypatch):
    read = []

    def counted(path):
        read.append(path)
        return original(path)

    original = read_volume
    monkeypatch.setattr(checks, "read_volume", counted)
    check(cohort.read(), folds=2)
    assert len(read) == len(set(read)) == 24


def test_summary_counts_subjects_groups_regions_and_files(cohort):
    cohort.change(5, group="", mask=None)
    cohort.rows.append(replace(cohort.rows[0], session="v2", channels={"fat": cohort.rows[0].channels["fat"]}))
    assert summary(cohort.read()).splitlines() == [
        f"{cohort.path}: 6 subjects, 7 acquisitions",
        "  subjects by group: g0 3, g1 2, no group 1",
        "  calf: 4 acquisitions (g0 3, g1 1)",
        "  thigh: 3 acquisitions (g0 1, g1 1, no group 1)",
        "  limbs: both 7",
        "  channels: fat 7, water 6",
        "  masks: 6, compartments: 0, fat fraction images: 7",
    ]


def test_a_channel_or_mask_that_no_row_has_is_one_line(tmp_path: Path) -> None:
    rows = [Acquisition(line=line, subject=f"s{line}", region=Region.CALF) for line in range(2, 12)]
    table = CohortTable(tmp_path / "cohort.csv", tuple(rows), "digest")
    with pytest.raises(InputError) as raised:
        check(table, channels=["te460"], label_column="mask")
    assert [problem.removeprefix(f"{table.path}: ") for problem in raised.value.problems[:2]] == [
        "no row has the channel 'te460'; choose from none",
        "no row has mask to train on; add a column 'mask'",
    ]
