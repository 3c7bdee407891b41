"""A data set of nnU-Net as a cohort: there and back again, and other people's data sets."""

import json
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort.checks import check
from musclesense.cohort.folds import NestedFolds, draw, load_fitting
from musclesense.cohort.images import read_labels
from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import Geometry, Volume, read_volume, write_volume
from musclesense.nnunet.load import load
from musclesense.vocabulary import Region

SAGITTAL = np.array([[0, 0, 4.0, -9], [-1.25, 0, 0, 3], [0, 8.0, 0, -70.7], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    ("labelled", "affine", "across", "codes"),
    [((1,), None, 2, (1, 1)), ((0, 2, 3), SAGITTAL, 1, (0, 2)), ((1,), SAGITTAL, 1, (2, 0))],
)
def test_there_and_back_is_the_same_cohort(
    write_cohort, export_cohort, tmp_path, labelled, affine, across, codes
) -> None:
    """The table but for paths and lines, labels, folds, and in the labelled slices every voxel and its place."""
    stored = {} if affine is None else {"affine": affine, "shape": (5, 4, 6)}
    table = write_cohort(tmp_path / "cohort", labelled=labelled, across=across, codes=codes, **stored)
    folds = draw(table.acquisitions, table=table.digest, seed=5)
    record = export_cohort(table, tmp_path / "Dataset001_A", folds=folds)
    back = read_table(load(tmp_path / "Dataset001_A", tmp_path / "back"))
    check(back, channels=["fat", "water"], folds=5, label_column="mask", label_values={2, 7})
    for row, own in zip(table.acquisitions, back.acquisitions, strict=True):
        for name in ("line", "subject", "session", "group", "region", "limbs", "slice"):
            assert getattr(own, name) == getattr(row, name)
        assert set(own.channels) == set(row.channels)
        assert row.mask is not None and own.mask is not None
        pairs = [(row.channels[name], own.channels[name]) for name in row.channels]
        for before, after in (read_pair(*pair) for pair in [*pairs, (row.mask, own.mask)]):
            assert after.geometry.shape == before.geometry.shape
            if codes[1]:
                np.testing.assert_array_equal(after.geometry.affine, before.geometry.affine)
            else:  # a quaternion is rounded each time that it is made
                np.testing.assert_allclose(after.geometry.affine, before.geometry.affine, atol=1e-5, rtol=0)
            for code in ("qform_code", "sform_code", "xyzt_units"):
                assert after.geometry.header[code] == before.geometry.header[code]
        for number in labelled:
            for before, after in (read_pair(*pair) for pair in pairs):
                assert after.data.dtype == before.data.dtype
                np.testing.assert_array_equal(
                    take_slice(after.data, after.geometry, number), take_slice(before.data, before.geometry, number)
                )
        before, after = read_pair(row.mask, own.mask)
        np.testing.assert_array_equal(record.labels.encode(after.data), record.labels.encode(before.data))
    again = NestedFolds.load(tmp_path / "back" / "folds.json")
    assert (again.outer, again.inner, again.seed) == (folds.outer, folds.inner, folds.seed)
    assert again.table == back.digest


def read_pair(before: Path, after: Path) -> tuple[Volume, Volume]:
    return read_volume(before), read_volume(after)


def test_options_that_the_record_knows_are_refused(write_cohort, export_cohort, tmp_path) -> None:
    export_cohort(write_cohort(tmp_path / "cohort"), tmp_path / "Dataset001_A")
    with pytest.raises(InputError, match=r"--region: .* says so already"):
        load(tmp_path / "Dataset001_A", tmp_path / "back", region=Region.CALF)
    (tmp_path / "back").mkdir()
    with pytest.raises(InputError, match="exists already"):
        load(tmp_path / "Dataset001_A", tmp_path / "back")


def test_a_missing_slice_leaves_nothing_behind(write_cohort, export_cohort, tmp_path) -> None:
    record = export_cohort(write_cohort(tmp_path / "cohort"), tmp_path / "Dataset001_A")
    lost = record.scans[-1].image(tmp_path / "Dataset001_A", 1, 0)
    lost.unlink()
    with pytest.raises(InputError, match=lost.name):
        load(tmp_path / "Dataset001_A", tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".back")]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A data set as anybody has one: twelve patients, scanned twice, under nnU-Net's names."""
    dataset = tmp_path / "Dataset042_Legs"
    geometry = Geometry.from_affine((4, 5, 2), np.diag([1.0, 1.0, 4.0, 1.0]))
    voxels = np.arange(40).reshape(4, 5, 2)
    random = np.random.default_rng(0)
    for case in CASES:
        for channel in range(2):
            image = random.permuted(voxels)  # nobody else's
            write_volume(dataset / "imagesTr" / f"{case}_{channel:04}.nii.gz", image, geometry, np.int16)
        write_volume(dataset / "labelsTr" / f"{case}.nii.gz", voxels % 3, geometry, np.uint8)
    describe(dataset)
    return dataset


CASES = [f"P{patient:02}_{visit}" for patient in range(12) for visit in "ab"]


def describe(dataset: Path, /, **changed: object) -> None:
    content = {
        "channel_names": {"0": "Fat", "1": "Water"},
        "labels": {"background": 0, "vasti": 1, "hamstrings": 2},
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
    }
    (dataset / "dataset.json").write_text(json.dumps(content | changed))


def split(dataset: Path, folds: list[list[str]]) -> None:
    splits = [{"train": sorted(set(CASES) - set(fold)), "val": fold} for fold in folds]
    (dataset / "splits_final.json").write_text(json.dumps(splits))


def test_another_data_set_becomes_a_cohort(foreign, tmp_path) -> None:
    table = read_table(load(foreign, tmp_path / "out", region=Region.THIGH))
    check(table, channels=["fat", "water"], label_column="mask")
    assert [row.subject for row in table.acquisitions] == CASES
    first = table.acquisitions[0]
    assert (first.region, first.session, first.slice) == (Region.THIGH, "", None)
    assert first.channels["water"].samefile(foreign / "imagesTr" / "P00_a_0001.nii.gz")
    assert first.mask is not None and first.mask.samefile(foreign / "labelsTr" / "P00_a.nii.gz")
    labels, column = read_labels(tmp_path / "out" / "labels.yaml")
    assert (labels.to_config(), column) == ({"vasti": [1], "hamstrings": [2]}, "mask")
    assert not (tmp_path / "out" / "folds.json").exists()


def test_splits_become_outer_folds_of_subjects(foreign, tmp_path) -> None:
    split(foreign, [CASES[:8], CASES[8:16], CASES[16:]])
    out = load(foreign, tmp_path / "out", region=Region.CALF, subject=r"(P\d+)_").parent
    table, folds = read_table(out / "cohort.csv"), NestedFolds.load(out / "folds.json")
    assert [(row.subject, row.session) for row in table.acquisitions[:2]] == [("P00", "P00_a"), ("P00", "P00_b")]
    assert folds.outer[1] == ("P04", "P05", "P06", "P07")
    assert [len(inner) for inner in folds.inner] == [5, 5, 5]
    assert load_fitting(out / "folds.json", table, table.acquisitions) == folds
    check(table, channels=["fat", "water"], label_column="mask")


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ([CASES[:7], CASES[7:15], CASES[15:]], "a subject's cases are in two folds"),
        ([CASES[:8], CASES[8:16]], "does not have each case of labelsTr in one validation set"),
        ([CASES[:16], CASES[16:]], "too few folds or subjects for 5 inner folds"),
        ([CASES], "too few folds"),
    ],
)
def test_splits_that_are_no_folds_are_refused(foreign, tmp_path, folds, said) -> None:
    split(foreign, folds)
    with pytest.raises(InputError, match=said):
        load(foreign, tmp_path / "out", region=Region.CALF, subject=r"(P\d+)_")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "does not say what its cases show; give --region calf or --region thigh"),
        ({"region": Region.CALF, "channels": ["fat"]}, "give --channels with 2 of fat, water"),
        ({"region": Region.CALF, "channels": ["fat", "t1"]}, "must be named here"),
        ({"region": Region.CALF, "subject": "("}, "no regular expression"),
        ({"region": Region.CALF, "subject": "P"}, "needs one group"),
        ({"region": Region.CALF, "subject": "(Q)"}, "finds no subject in 'P00_a'"),
    ],
)
def test_options_that_do_not_fit_are_refused(foreign, tmp_path, options, said) -> None:
    with pytest.raises(InputError, match=said):
        load(foreign, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"file_ending": ".mha"}, "convert the images to .nii.gz"),
        ({"labels": {"background": 0, "muscle": 1, "ignore": 2}}, "label 'ignore'"),
        ({"labels": {"background": 0, "all": [1, 2], "left": 1}}, "give whole numbers"),
        ({"labels": ["muscle"]}, "not as nnU-Net v2 writes it"),
        ({"channel_names": {"1": "fat"}}, "not as nnU-Net v2 writes it"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "channels T1, T2 must be named here"),
        ({"dataset": {}}, "lists its files itself"),
    ],
)
def test_descriptions_that_cannot_be_used_are_refused(foreign, tmp_path, changed, said) -> None:
    describe(foreign, **changed)
    with pytest.raises(InputError, match=said):
        load(foreign, tmp_path / "out", region=Region.CALF)


def test_missing_images_are_all_named(foreign, tmp_path) -> None:
    for name in ("P03_a_0000", "P07_b_0001"):
        (foreign / "imagesTr" / f"{name}.nii.gz").unlink()
    with pytest.raises(InputError) as caught:
        load(foreign, tmp_path / "out", region=Region.CALF)
    assert len(caught.value.problems) == 2 and "P07_b_0001.nii.gz: no such file" in caught.value.problems[1]
    with pytest.raises(
        InputError, match=r"nowhere/dataset\.json: cannot be read \(no such file\); give a raw data set"
    ):
        load(tmp_path / "nowhere", tmp_path / "out", region=Region.CALF)


# Past failures: tracebacks, and a table that could not be read again


def refusal(dataset: Path, out: Path, **options: object) -> tuple[str, ...]:
    before = sorted(out.parent.iterdir())
    with pytest.raises(InputError) as caught:
        load(dataset, out, **options)  # type: ignore[arg-type]
    assert sorted(out.parent.iterdir()) == before
    return caught.value.problems


def test_a_name_too_long_for_the_disk_is_refused(foreign, tmp_path) -> None:
    out = tmp_path / ("x" * 300)
    line = f"{out}: cannot be written (File name too long); give a shorter name"
    assert refusal(foreign, out, region=Region.CALF) == (line,)


def test_slices_that_are_not_of_the_record_are_refused(write_cohort, export_cohort, tmp_path) -> None:
    dataset, out = tmp_path / "Dataset001_A", tmp_path / "back"
    record = export_cohort(write_cohort(tmp_path / "cohort", labelled=(0, 2)), dataset)
    truth, image = record.scans[0].truth(dataset, 2), record.scans[0].image(dataset, 2, 0)
    sound = read_volume(image)
    write_volume(image, sound.data, sound.geometry, np.int16)
    line = f"{image}: voxels of type int16, in other slices float32; give the file of that slice"
    assert refusal(dataset, out) == (line,)
    write_volume(image, sound.data, sound.geometry, np.float32)
    labels = read_volume(truth)
    write_volume(truth, labels.data + 2, labels.geometry, np.uint8)
    line = f"{truth}: holds other labels than 0 to 2; give nnU-Net's own masks"
    assert refusal(dataset, out) == (line,)
    write_volume(truth, labels.data, labels.geometry, np.float32)
    line = f"{truth}: voxels of type float32, in other slices uint8; give the file of that slice"
    assert refusal(dataset, out) == (line,)


@pytest.mark.parametrize("name", ["P99\n", "P99 ", "P99\udcff"])
def test_a_case_that_no_table_can_name_is_refused(foreign, tmp_path, name) -> None:
    for old in ("labelsTr/P00_a", "imagesTr/P00_a_0000", "imagesTr/P00_a_0001"):
        (foreign / f"{old}.nii.gz").rename(foreign / f"{old.replace('P00_a', name)}.nii.gz")
    why = "begins or ends with a blank" if name == "P99 " else "holds a line end or another control character"
    first, *_ = refusal(foreign, tmp_path / "out", region=Region.CALF)
    assert first == f"subject {name!r}: {why}; rename it"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channel_names": {}}, "channel_names names no channel; give a raw data set's folder"),
        (
            {"labels": {"a": "b"}},
            "labels: a has the value 'b'; give whole numbers from 1 up to 65535 (0 is background)",
        ),
    ],
)
def test_a_description_without_channels_or_labels_names_its_file(foreign, tmp_path, changed, said) -> None:
    describe(foreign, **changed)
    assert refusal(foreign, tmp_path / "out", region=Region.CALF) == (f"{foreign}/dataset.json: {said}",)


def test_a_subject_that_repeats_without_end_is_refused(foreign, tmp_path) -> None:
    pattern = "(P){99999999999}"
    line = f"--subject {pattern}: no regular expression (the repetition number is too large); correct it"
    assert refusal(foreign, tmp_path / "out", region=Region.CALF, subject=pattern) == (line,)


def test_splits_with_an_empty_fold_are_refused(foreign, tmp_path) -> None:
    split(foreign, [CASES, []])
    remedy = "correct it, or move it away to draw folds of our own"
    line = f"{foreign}/splits_final.json: has empty folds, or more than 200; {remedy}"
    assert refusal(foreign, tmp_path / "out", region=Region.CALF) == (line,)
