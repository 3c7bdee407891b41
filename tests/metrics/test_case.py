"""The cases of one slice: every measure, in the voxels of the scan."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.case import COLUMNS, Case, score_slice

SIDES = LabelSet.from_config({"left": [7], "right": [2, 3]})


def test_each_class_of_the_region_has_a_case(write_cohort, tmp_path) -> None:
    row = write_cohort(tmp_path).acquisitions[0]
    mask = read_volume(row.mask)
    truth = SIDES.encode(mask.data[..., 1])
    predicted = np.where(truth == 2, 0, truth).astype(np.uint8)
    given: dict[str, Any] = {"outer": 3, "inner": 4, "labels": SIDES, "truth": truth, "predicted": predicted}
    left, right = score_slice(row, 1, mask.geometry, classes={2, 1}, **given)
    assert (left.outer, left.inner, left.line) == (3, 4, row.line)
    assert (left.subject, left.session, left.slice, left.region) == ("s, 1", "v1", 1, "thigh")
    assert (left.label, left.dice, left.hd95_mm) == ("left", 1, 0)
    assert (right.label, right.dice, right.hd95_mm, right.tp, right.fp) == ("right", 0, None, 0, 0)
    assert right.fn == np.count_nonzero(truth == 2)
    assert right.volume_true_ml == pytest.approx(right.fn * 1.25 * 1.5 * 10 / 1000)
    (only,) = score_slice(row, 1, mask.geometry, classes={1}, **given)
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
