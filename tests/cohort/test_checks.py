"""Checks of a cohort: each problem is found and named, all of them at once, and a sound cohort passes."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from musclesense.cohort import checks
from musclesense.cohort.cache import labelled_slices
from musclesense.cohort.checks import check, summary
from musclesense.cohort.images import read_reference
from musclesense.cohort.table import Acquisition, CohortTable, read_table, scan_table, write_table
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume
from musclesense.vocabulary import Limbs, Region

from ..dixon import test_swaps as swaps

SHAPE = (6, 5, 4)
AFFINE = np.diag([2.0, 2.0, 10.0, 1.0])


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(10, 90, SHAPE).astype(np.float32)


def mask() -> np.ndarray:
    data = np.zeros(SHAPE, np.uint8)
    data[2:4, 2:4, 1:3] = 1
    return data


class Cohort:
    """A sound cohort of six subjects, two groups and both regions, to be spoilt row by row."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cohort.csv"
        self.rows = []
        for number in range(6):
            region = list(Region)[number % 2]
            files = {name: folder / f"S{number}_{name}.nii.gz" for name in ("fat", "water", "mask", "fat_fraction")}
            for seed, name in enumerate(("fat", "water", "fat_fraction")):
                save(files[name], image(10 * number + seed))
            save(files["mask"], mask())
            self.rows.append(
                Acquisition(
                    line=number + 2,
                    subject=f"S{number}",
                    group=f"g{number // 3}",
                    region=region,
                    channels={name: files[name] for name in ("fat", "water")},
                    mask=files["mask"],
                    slice=1,
                    fat_fraction=files["fat_fraction"],
                )
            )

    def change(self, number: int, **values: Any) -> None:
        self.rows[number] = replace(self.rows[number], **values)

    def read(self) -> CohortTable:
        write_table(self.path, self.rows)
        return read_table(self.path)

    def problems(self, **options: Any) -> list[str]:
        with pytest.raises(InputError) as caught:
            check(self.read(), **options)
        folder = str(self.path.parent) + "/"
        return [problem.replace(folder, "") for problem in caught.value.problems]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort(tmp_path)


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


def test_values_that_float32_cannot_hold(cohort):
    data = image().astype(np.float64)
    data[0, 0, 0] = 1e300
    save(cohort.rows[0].channels["fat"], data)
    assert cohort.problems() == [
        "cohort.csv, line 2: fat S0_fat.nii.gz: 1 voxels are NaN or infinite; export the image again"
    ]


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


def test_one_image_as_two_channels(cohort):
    fat = cohort.rows[0].channels["fat"]
    cohort.change(0, channels={"fat": fat, "water": fat})
    assert cohort.problems() == ["cohort.csv, line 2: water S0_fat.nii.gz: is the fat image too; correct one path"]


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
