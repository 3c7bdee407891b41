"""The cases of one slice: every measure, in the voxels of the scan."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition, read_table
from musclesense.imaging.grid import take_slice
from musclesense.imaging.labels import LabelSet, decide
from musclesense.imaging.nifti import Volume, read_volume
from musclesense.metrics.case import COLUMNS, Case, Masks, score_slice

SIDES = LabelSet.from_config({"left": [7], "right": [2, 3]})


def test_each_class_of_the_region_has_a_case(write_cohort, tmp_path) -> None:
    row = write_cohort(tmp_path).acquisitions[0]
    mask = read_volume(row.mask)
    truth = SIDES.encode(mask.data[..., 1])
    predicted = np.where(truth == 2, 0, truth).astype(np.uint8)
    usual: dict[str, Any] = {"outer": 3, "inner": 4, "labels": SIDES, "truth": truth, "predicted": predicted}
    left, right = score_slice(row, 1, mask.geometry, classes={2, 1}, **usual)
    assert (left.outer, left.inner, left.line) == (3, 4, row.line)
    assert (left.subject, left.session, left.slice, left.region) == ("s, 1", "v1", 1, "thigh")
    assert (left.label, left.dice, left.hd95_mm) == ("left", 1, 0)
    assert (right.label, right.dice, right.hd95_mm, right.tp, right.fp) == ("right", 0, None, 0, 0)
    assert right.fn == np.count_nonzero(truth == 2)
    assert right.volume_true_ml == pytest.approx(right.fn * 1.25 * 1.5 * 10 / 1000)
    (only,) = score_slice(row, 1, mask.geometry, classes={1}, **usual)
    assert only == left


def test_columns_are_those_of_every_release_in_order() -> None:
    """Tables of cases that people have read have this header; new columns come after it."""
    assert ",".join(COLUMNS).startswith(
        "outer,inner,line,subject,session,group,region,slice,label,dice,hd95_mm,volume_true_ml,volume_predicted_ml,"
        "fat_fraction_true_mask,fat_fraction_predicted_mask,tp,fp,fn"
    )
    assert tuple(COLUMNS) == tuple(field.name for field in fields(Case))


def test_every_column_says_what_it_means_and_measures_have_a_unit() -> None:
    for name, column in COLUMNS.items():
        assert column.meaning, name
        assert bool(column.unit) == (column.measure is not None), name


@settings(deadline=None, max_examples=30)
@given(
    truth=st.sampled_from(["empty", "some", "other"]),
    predicted=st.sampled_from(["empty", "some", "other"]),
    shape=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    spacing=st.tuples(st.floats(0.3, 5), st.floats(0.3, 5)),
)
def test_a_distance_to_nothing_is_the_diagonal_of_the_slice(truth, predicted, shape, spacing) -> None:
    masks = {name: np.zeros(shape, bool) for name in ("empty", "some", "other")}
    masks["some"][1:, 1] = masks["other"][0, :2] = True
    pair = Masks(
        truth=masks[truth], predicted=masks[predicted], spacing=spacing, voxel_mm3=1.0, fat_fraction=None, measured=None
    )
    diagonal = float(np.hypot(shape[0] * spacing[0], shape[1] * spacing[1]))
    if truth == predicted == "empty":
        assert pair.hd95_mm is pair.asd_mm is pair.penalised_mm(None) is None
    elif "empty" in (truth, predicted):
        assert pair.hd95_mm is pair.asd_mm is None and pair.penalised_mm(None) == pytest.approx(diagonal)
    else:
        assert pair.hd95_mm is not None and pair.asd_mm is not None
        assert pair.asd_mm <= pair.hd95_mm < diagonal
        assert pair.penalised_mm(pair.asd_mm) == pair.asd_mm


def first_case(data: Path) -> tuple[Acquisition, Volume, NDArray[np.uint8]]:
    """A row of the phantom, its mask, and the labelled slice of it."""
    row = read_table(data / "phantom-smoke-1" / "cohort.csv").acquisitions[0]
    assert row.mask is not None
    mask = read_volume(row.mask)
    return row, mask, take_slice(mask.data, mask.geometry, row.slice or 0).astype(np.uint8)


@pytest.mark.parametrize("lacking", [None, "fat_fraction", "water"])
def test_the_truth_of_a_phantom_and_what_fat_and_water_say_are_two_columns(data, lacking) -> None:
    row, mask, truth = first_case(data)
    if lacking == "water":
        row = replace(row, channels={name: file for name, file in row.channels.items() if name != "water"})
    elif lacking:
        row = replace(row, fat_fraction=None)
    predicted = np.roll(truth, 2, axis=0)
    labels = LabelSet.from_config({"muscle": []})
    usual: dict[str, Any] = {"outer": 0, "inner": 0, "labels": labels, "truth": truth, "predicted": predicted}
    (case,) = score_slice(row, row.slice or 0, mask.geometry, classes={1}, **usual)
    measured = case.measured_fat_fraction_true_mask, case.measured_fat_fraction_predicted_mask
    if lacking == "water":
        assert measured == (None, None) and case.measured_fat_fraction_bias is None
        return
    fat, water = (nib.load(row.channels[name]).get_fdata()[..., row.slice or 0] for name in ("fat", "water"))
    percent = np.clip(100 * fat / np.where(fat + water > 0, fat + water, np.inf), 0, 100)
    expected = [percent[side > 0].mean() for side in (truth, predicted)]
    assert measured == pytest.approx(expected, abs=0.01)
    if lacking:
        assert measured == (case.fat_fraction_true_mask, case.fat_fraction_predicted_mask)
    else:
        true_map = nib.load(row.fat_fraction).get_fdata()[..., row.slice or 0]
        assert case.fat_fraction_true_mask == pytest.approx(true_map[truth > 0].mean(), abs=0.01)
        assert case.measured_fat_fraction_bias == pytest.approx(expected[1] - true_map[truth > 0].mean(), abs=0.02)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(0.05, 0.95), classes=st.integers(1, 3))
def test_the_oracle_is_at_least_the_score_of_each_class(data, seed, threshold, classes) -> None:
    """Each class has its own best threshold, at which the masks of `decide` are those that are compared."""
    row, mask, shown = first_case(data)
    rng = np.random.default_rng(seed)
    labels = LabelSet.from_config({f"c{n}": [n] for n in range(1, classes + 1)})
    found = (rng.dirichlet(np.ones(classes + 1), shown.shape)[..., 1:] ** 0.4).transpose(2, 0, 1).astype(np.float32)
    found /= np.maximum(1, found.sum(axis=0))
    truth = np.where(shown > 0, rng.integers(1, classes + 1, shown.shape), 0).astype(np.uint8)
    usual: dict[str, Any] = {"outer": 0, "inner": 0, "labels": labels, "truth": truth, "probabilities": found}
    every = range(1, classes + 1)
    cases = score_slice(row, row.slice or 0, mask.geometry, classes=every, predicted=decide(found, threshold), **usual)
    for index, case in zip(every, cases, strict=True):
        at = [np.float32(n / 100) for n in range(101)]
        predicted = [decide(found, float(one)) == index for one in (*at, threshold)]
        dice = [2 * np.sum(one & (truth == index)) / (one.sum() + np.sum(truth == index)) for one in predicted]
        assert case.dice is not None and case.oracle_dice == pytest.approx(max(dice))
        assert case.oracle_dice is not None and case.oracle_dice >= case.dice


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 3))
def test_the_dice_of_all_labels_as_one_mask_is_that_of_one_class(data, seed, classes) -> None:
    row, mask, shown = first_case(data)
    rng = np.random.default_rng(seed)
    labels = LabelSet.from_config({f"c{n}": [n] for n in range(1, classes + 1)})
    truth, predicted = (
        np.where(rng.random(shown.shape) < 0.3, rng.integers(1, classes + 1, shown.shape), 0) for _ in "12"
    )
    usual: dict[str, Any] = {
        "outer": 0,
        "inner": 0,
        "truth": truth.astype(np.uint8),
        "predicted": predicted.astype(np.uint8),
    }
    cases = score_slice(row, row.slice or 0, mask.geometry, labels=labels, classes=range(1, classes + 1), **usual)
    usual |= {name: (usual[name] > 0).astype(np.uint8) for name in ("truth", "predicted")}
    muscle = LabelSet.from_config({"muscle": []})
    (whole,) = score_slice(row, row.slice or 0, mask.geometry, labels=muscle, classes={1}, **usual)
    assert [case.whole_dice for case in cases] == [whole.dice] * classes and whole.whole_dice == whole.dice


def test_the_oracle_is_unknown_without_probabilities_and_undefined_without_a_truth(data) -> None:
    row, mask, truth = first_case(data)
    usual: dict[str, Any] = {"outer": 0, "inner": 0, "labels": LabelSet.from_config({"muscle": []})}
    (case,) = score_slice(row, row.slice or 0, mask.geometry, classes={1}, truth=truth, predicted=truth, **usual)
    assert case.dice == 1 and case.oracle_dice is None
    none, found = np.zeros_like(truth), np.ones((1, *truth.shape), np.float32)
    for predicted in (none, truth):
        own = usual | {"truth": none, "predicted": predicted, "probabilities": found}
        (case,) = score_slice(row, row.slice or 0, mask.geometry, classes={1}, **own)
        assert case.oracle_dice is None


def test_a_water_image_that_is_of_no_use_costs_the_measured_column_alone(data, tmp_path) -> None:
    """The network may take fat alone, and then nobody has looked at the water image before."""
    row, mask, truth = first_case(data)
    (tmp_path / "broken.nii.gz").write_bytes(b"no image")
    cut = tmp_path / "cut.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((4, 5, mask.data.shape[2])), np.eye(4)), cut)
    for water in (tmp_path / "broken.nii.gz", cut, tmp_path / "none.nii.gz"):
        other = replace(row, channels={**row.channels, "water": water})
        usual: dict[str, Any] = {"outer": 0, "inner": 0, "labels": LabelSet.from_config({"muscle": []})}
        (case,) = score_slice(other, row.slice or 0, mask.geometry, classes={1}, truth=truth, predicted=truth, **usual)
        assert case.measured_fat_fraction_true_mask is None and case.fat_fraction_true_mask is not None
