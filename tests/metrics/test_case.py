"""The rows of one case: every measure, in the voxels of the scan."""

import numpy as np
import pytest

from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.case import CASE_COLUMNS, case_rows

SIDES = LabelSet.from_config({"left": [7], "right": [2, 3]})


def test_each_class_of_the_region_has_a_row(write_cohort, tmp_path) -> None:
    row = write_cohort(tmp_path).acquisitions[0]
    mask = read_volume(row.mask)
    truth = SIDES.encode(mask.data[..., 1])
    predicted = np.where(truth == 2, 0, truth).astype(np.uint8)
    left, right = case_rows(row, 1, mask.geometry, labels=SIDES, classes={2, 1}, truth=truth, predicted=predicted)
    assert {*left} == {*CASE_COLUMNS} - {"outer", "inner"}
    assert (left["subject"], left["session"], left["slice"], left["region"]) == ("s, 1", "v1", 1, "thigh")
    assert (left["label"], left["dice"], left["hd95_mm"]) == ("left", 1, 0)
    assert (right["label"], right["dice"], right["hd95_mm"], right["tp"], right["fp"]) == ("right", 0, None, 0, 0)
    assert right["fn"] == np.count_nonzero(truth == 2)
    assert right["volume_true_ml"] == pytest.approx(right["fn"] * 1.25 * 1.5 * 10 / 1000)
    (only,) = case_rows(row, 1, mask.geometry, labels=SIDES, classes={1}, truth=truth, predicted=predicted)
    assert only == left
