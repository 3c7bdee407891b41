"""What is written for nnU-Net: its format to the letter, our folds as its splits, and what is refused."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort.folds import NestedFolds, draw
from musclesense.cohort.nnunet.export import read_labels
from musclesense.cohort.nnunet.record import Record
from musclesense.cohort.table import Region
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import read_volume


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
        assert {subject[case] for case in split["train"]} == set(wanted.d3)
        assert {subject[case] for case in split["val"]} == set(wanted.d4)
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
        ("Dataset001_A", {"channels": ["fat", "fat"]}, "one stands twice"),
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
    conf = Path(__file__).parents[3] / "conf" / "labels"
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
    reader = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer", reason="needs nnU-Net (extra peers)")
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
