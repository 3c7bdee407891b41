"""What is written for nnU-Net: its format to the letter, our folds as its splits, and what is refused."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort.folds import NestedFolds, draw
from musclesense.cohort.images import read_labels
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import read_volume
from musclesense.nnunet.record import Record, load_with_folds
from musclesense.vocabulary import Region


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_the_data_set_is_as_nnunet_reads_it(write_cohort, export_cohort, tmp_path) -> None:
    table = write_cohort(tmp_path / "cohort", labelled=(0, 2))
    out = tmp_path / "raw" / "Dataset007_Tiny"
    record = export_cohort(table, out)
    content = json.loads((out / "dataset.json").read_text())
    assert content == {
        "channel_names": {"0": "water", "1": "fat"},
        "labels": {"background": 0, "left": 1, "right": 2},
        "numTraining": len(names(out / "labelsTr")),
        "file_ending": ".nii.gz",
    }
    for part in ("Tr", "Ts"):
        cases = [name.removesuffix(".nii.gz") for name in names(out / f"labels{part}")]
        wanted = [f"{case}_{channel:04}.nii.gz" for case in cases for channel in (0, 1)]
        assert names(out / f"images{part}") == wanted
    assert len(names(out / "labelsTr")) + len(names(out / "labelsTs")) == 2 * len(table.acquisitions)
    assert all(re.fullmatch(r"[a-z0-9_]+\.nii\.gz", name) for name in names(out / "labelsTr"))
    row, scan = table.acquisitions[0], record.scans[0]
    assert row.mask is not None
    for number in (0, 2):
        for channel, name in enumerate(("water", "fat")):
            image = read_volume(scan.image(out, number, channel))
            whole = read_volume(row.channels[name])
            np.testing.assert_array_equal(image.data[..., 0], whole.data[..., number])
            assert image.data.dtype == whole.data.dtype
        truth, mask = read_volume(scan.truth(out, number)).data[..., 0], read_volume(row.mask).data[..., number]
        np.testing.assert_array_equal(truth, np.select([mask == 7, np.isin(mask, [2, 3])], [1, 2], 0))
        assert truth.dtype == np.uint8


def test_splits_are_the_inner_folds_and_d2_is_the_test_set(write_cohort, export_cohort, tmp_path) -> None:
    table = write_cohort(tmp_path / "cohort")
    out = tmp_path / "Dataset001_A"
    folds = draw(table.acquisitions, table=table.digest, seed=3)
    record = export_cohort(table, out, folds=folds, outer=2)
    subject = {scan.case(number): scan.acquisition.subject for scan in record.scans for number in scan.slices}
    splits = json.loads((out / "splits_final.json").read_text())
    assert len(splits) == 5
    for inner, split in enumerate(splits):
        wanted = folds.split(2, inner)
        assert {subject[case] for case in split["train"]} == set(wanted.train)
        assert {subject[case] for case in split["val"]} == set(wanted.validation)
        assert sorted([*split["train"], *split["val"]]) == [
            name.removesuffix(".nii.gz") for name in names(out / "labelsTr")
        ]
    assert {subject[name.removesuffix(".nii.gz")] for name in names(out / "labelsTs")} == set(folds.outer[2])
    assert NestedFolds.load(out / "folds.json") == folds


def test_the_record_says_what_each_case_is(write_cohort, export_cohort, tmp_path) -> None:
    table = write_cohort(tmp_path / "cohort")
    out = tmp_path / "Dataset001_A"
    written = export_cohort(table, out)
    read = Record.load(out)
    assert (read.table, read.digest, read.column, read.outer) == (table.path, table.digest, "mask", 1)
    assert (read.channels, read.labels) == (("water", "fat"), written.labels)
    for there, scan, row in zip(read.scans, written.scans, table.acquisitions, strict=True):
        assert there.acquisition == scan.acquisition
        assert (there.part, there.shape, there.slices, there.classes) == (
            scan.part,
            scan.shape,
            scan.slices,
            scan.classes,
        )
        np.testing.assert_array_equal(there.affine, scan.affine)
        assert (there.acquisition.subject, there.acquisition.session) == (row.subject, row.session)
    assert read.classes_of == {Region.CALF: frozenset({1, 2}), Region.THIGH: frozenset({1, 2})}


def test_only_rows_of_the_region_are_written(write_cohort, export_cohort, tmp_path) -> None:
    table = write_cohort(tmp_path / "cohort")
    used = [row for row in table.acquisitions if row.region is Region.CALF]
    folds = draw(used, table=table.digest, seed=0, outer=3, inner=2)
    record = export_cohort(table, tmp_path / "Dataset001_A", regions={Region.CALF}, folds=folds)
    assert [scan.acquisition.line for scan in record.scans] == [row.line for row in used]


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("Thigh", {}, r"Thigh: no name of a data set for nnU-Net; give DatasetNNN_Name"),
        ("Dataset12_A", {}, "no name of a data set"),
        ("Dataset123_Ä", {}, "no name of a data set"),
        ("Dataset001_A", {"channels": ["fat", "te460"]}, "no row has the channel 'te460'"),
        ("Dataset001_A", {"channels": ["fat", "fat"]}, "one occurs twice"),
        ("Dataset001_A", {"column": "compartments"}, "no row has compartments to train on"),
        ("Dataset001_A", {"labels": LabelSet.from_config({"ignore": [2]})}, "rename it"),
        ("Dataset001_A", {"labels": LabelSet.from_config({"soleus": [9]})}, "no voxel labelled 9"),
        ("Dataset001_A", {"outer": 5}, "outer=5: no such fold"),
    ],
)
def test_what_nnunet_could_not_take_is_refused(write_cohort, export_cohort, tmp_path, name, changed, said) -> None:
    table = write_cohort(tmp_path / "cohort")
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match=said):
        export_cohort(table, tmp_path / "raw" / name, **changed)
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_folder_is_never_overwritten(write_cohort, export_cohort, tmp_path) -> None:
    table = write_cohort(tmp_path / "cohort")
    out = tmp_path / "Dataset001_A"
    out.mkdir()
    (out / "mine").touch()
    with pytest.raises(InputError, match="exists already"):
        export_cohort(table, out)
    assert names(out) == ["mine"]


def test_label_sets_are_read_as_those_in_conf(tmp_path) -> None:
    conf = Path(__file__).parents[2] / "conf" / "labels"
    assert read_labels(None) == (LabelSet.from_config({"muscle": []}), "mask")
    assert read_labels(conf / "whole_muscle.yaml") == (LabelSet.from_config({"muscle": []}), "mask")
    assert read_labels(conf / "sides.yaml")[0].values == ((1,), (2,))
    labels, column = read_labels(conf / "muscles" / "thigh.yaml", "compartments")
    assert (labels.n_classes, column) == (36, "compartments")
    (tmp_path / "own.yaml").write_text("column: compartments\nclasses:\n  soleus: [47]\n")
    assert read_labels(tmp_path / "own.yaml") == (LabelSet.from_config({"soleus": [47]}), "compartments")
    for content in ("classes: [1]", "classes: {soleus: 47}", "- soleus", "{", "column: fat\nclasses: {soleus: [47]}"):
        (tmp_path / "bad.yaml").write_text(content)
        with pytest.raises(InputError, match=r"bad\.yaml: "):
            read_labels(tmp_path / "bad.yaml")
    (tmp_path / "bad.yaml").write_text("a: &a [1]\nclasses: {soleus: *a}\n")
    with pytest.raises(InputError, match="alias"):
        read_labels(tmp_path / "bad.yaml")
    with pytest.raises(InputError, match="no label set"):
        read_labels(conf / "compartments.yaml")  # composed by Hydra from other files


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("absent", r"cannot be read \(no such file\)"),
        ("{", "cannot be read"),
        ('{"table": 1}', "no readable record"),
        ("[]", "no readable record"),
    ],
)
def test_a_damaged_record_is_named(write_cohort, export_cohort, tmp_path, damage, said) -> None:
    out = tmp_path / "Dataset001_A"
    export_cohort(write_cohort(tmp_path / "cohort"), out)
    path = out / "musclesense.json"
    path.unlink()
    if damage != "absent":
        path.write_text(damage)
    with pytest.raises(InputError, match=rf"musclesense\.json: {said}.*; give a folder that"):
        Record.load(out)


def test_any_orientation_of_storage_is_read_alike_by_nnunet(write_cohort, export_cohort, tmp_path) -> None:
    """By nnU-Net's own reader where it is installed: one slice, in-plane spacing, the same voxels."""
    reader = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer", reason="needs nnU-Net (extra baselines)")
    for number, order in enumerate(itertools.permutations(range(3))):
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for direction, axis in enumerate(order):
            affine[direction, axis] = (-1.25, -1.5, 10.0)[direction]
        across = order[2]
        table = write_cohort(tmp_path / f"cohort{number}", affine=affine, across=across)
        out = tmp_path / f"Dataset00{number}_A"
        scan = export_cohort(table, out).scans[0]
        data, properties = reader.SimpleITKIO().read_images([str(scan.image(out, 1, 1))])
        fat = read_volume(table.acquisitions[0].channels["fat"]).data
        np.testing.assert_array_equal(data[0, 0].T, np.moveaxis(fat, across, 0)[1])
        assert properties["spacing"][0] == pytest.approx(10)


# Past failures: tracebacks of a record that somebody changed, and of a name that is too long


@pytest.fixture(scope="module")
def record(write_cohort, export_cohort, tmp_path_factory) -> str:
    """The text of a record."""
    folder = tmp_path_factory.mktemp("record")
    export_cohort(write_cohort(folder / "cohort"), folder / "Dataset001_A")
    return (folder / "Dataset001_A" / "musclesense.json").read_text()


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("outer", "1e999", "outer inf is no whole number from 0 to 199"),
        ("outer", "true", "outer True is no whole number from 0 to 199"),
        (
            "channels",
            '["fat", "t1"]',
            "channels ['fat', 't1'] are no different ones of fat, water, te345, te460, te575, image",
        ),
        ("channels", '"fat"', "channels 'fat' are no different ones of fat, water, te345, te460, te575, image"),
        (
            "channels",
            '["fat", "fat"]',
            "channels ['fat', 'fat'] are no different ones of fat, water, te345, te460, te575, image",
        ),
        ("column", "[]", "column [] is not mask or compartments"),
        ("classes", '"ab"', "'str' object has no attribute 'items'"),
        ("classes", '{"left": "a"}', "labels: left has the values 'a'; give a list of whole numbers"),
        ("table", '"a\\ud800"', "table 'a\\ud800' holds a line end or another control character"),
        ("digest", "1", "digest 1 is no text"),
        ("scans", "[]", "scans are no list of 1 to 20000"),
        ("scans.1.line", "2", "line 2 occurs twice"),
        ("scans.0.line", "-1", "line -1 is no whole number from 2 to 33554432"),
        ("scans.0.shape", "[5, 6, 1e999]", "line 2: shape inf is no whole number from 1 to 32767"),
        ("scans.0.shape", "[9999, 9999, 9999]", "line 2: shape 9999x9999x9999 has more than 134217728 voxels"),
        ("scans.0.shape", "[5, 6]", "line 2: not enough values to unpack (expected 3, got 2)"),
        ("scans.0.affine.0.0", "NaN", "line 2: affine is singular or not finite"),
        ("scans.0.affine.0.0", "0", "line 2: affine is singular or not finite"),
        ("scans.0.affine.0.0", "1e308", "line 2: voxel size infx1.5x10 mm lies outside 0.01 to 500 mm"),
        ("scans.0.affine.3.3", "2", "line 2: affine is not 4 x 4 with a last row of 0, 0, 0, 1"),
        ("scans.0.subject", '""', "line 2: subject '' is no text"),
        ("scans.0.group", '"a "', "line 2: group 'a ' begins or ends with a blank"),
        ("scans.0.slice", "4", "line 2: slice 4 is no whole number from 0 to 3"),
        ("scans.0.part", "[]", "line 2: part [] is not Tr or Ts"),
        ("scans.0.cases", '{"x": 1}', "line 2: cases {'x': 1} are not named after line and slice"),
        ("scans.0.classes", '"ab"', "line 2: class 'a' is no whole number from 1 to 2"),
        ("scans.0.classes", "[3]", "line 2: class 3 is no whole number from 1 to 2"),
        ("scans.0.limbs", '"three"', "line 2: 'three' is not a valid Limbs"),
    ],
)
def test_a_record_that_cannot_be_is_refused_in_one_line(record, tmp_path, place, value, said) -> None:
    path, keys = tmp_path / "musclesense.json", [int(key) if key.isdigit() else key for key in place.split(".")]
    content = inner = json.loads(record)
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = "VALUE"
    path.write_text(json.dumps(content).replace('"VALUE"', value))
    with pytest.raises(InputError) as caught:
        Record.load(tmp_path)
    line = f"{path}: no readable record ({said}); give a folder that 'musclesense export-nnunet' wrote"
    assert caught.value.problems == (line,)


def test_folds_of_other_cases_are_refused(write_cohort, export_cohort, tmp_path) -> None:
    table, out = write_cohort(tmp_path / "cohort"), tmp_path / "Dataset001_A"
    folds = draw(table.acquisitions, table=table.digest, seed=0)
    export_cohort(table, out, folds=folds, outer=1)
    path = out / "folds.json"
    line = f"{path}: other folds than those of musclesense.json; give a folder that 'musclesense export-nnunet' wrote"
    others = [
        draw(table.acquisitions[2:], table=table.digest, seed=0),
        replace(folds, outer=folds.outer[::-1], inner=folds.inner[::-1]),
    ]
    for other in others:
        other.save(path)
        with pytest.raises(InputError) as caught:
            load_with_folds(out)
        assert caught.value.problems == (line,)


def test_a_name_too_long_for_the_disk_is_refused(write_cohort, export_cohort, tmp_path) -> None:
    table, out = write_cohort(tmp_path / "cohort"), tmp_path / f"Dataset001_{'A' * 300}"
    with pytest.raises(InputError) as caught:
        export_cohort(table, out)
    assert caught.value.problems == (f"{out}: cannot be written (File name too long); give a shorter name",)


def test_a_label_set_that_cannot_be_names_its_file(tmp_path) -> None:
    (tmp_path / "own.yaml").write_text("classes: {soleus: [0]}")
    with pytest.raises(InputError) as caught:
        read_labels(tmp_path / "own.yaml")
    assert caught.value.problems == (
        f"{tmp_path}/own.yaml: labels: soleus has the value 0; give whole numbers from 1 up to 65535 (0 is background)",
    )


def test_a_record_of_the_release_before_is_read_and_one_of_a_later_release_is_not(record, tmp_path) -> None:
    content = json.loads(record)
    assert content.pop("format") == 2
    (tmp_path / "musclesense.json").write_text(json.dumps(content))
    assert len(Record.load(tmp_path).scans) == len(content["scans"])
    (tmp_path / "musclesense.json").write_text(json.dumps(content | {"format": 3}))
    with pytest.raises(InputError, match=r"musclesense\.json: format 3, and this release knows up to 2"):
        Record.load(tmp_path)
