"""Mean fat fractions worked out by hand."""

import numpy as np
import pytest

from musclesense.metrics.fat_fraction import mean_fat_fraction

FAT_FRACTION = np.array([[10.0, 30.0], [np.nan, 90.0]], dtype=np.float32)


def test_mean_is_taken_inside_the_mask_over_finite_voxels() -> None:
    mask = np.array([[True, True], [True, False]])
    assert mean_fat_fraction(FAT_FRACTION, mask) == pytest.approx(20.0)


def test_mean_is_undefined_without_a_finite_voxel() -> None:
    assert mean_fat_fraction(FAT_FRACTION, np.zeros((2, 2), dtype=bool)) is None
    assert mean_fat_fraction(FAT_FRACTION, np.array([[False, False], [True, False]])) is None


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \(2, 2\), got \(2, 3\)"):
        mean_fat_fraction(FAT_FRACTION, np.ones((2, 3), dtype=bool))
    with pytest.raises(ValueError, match="boolean, got uint8"):
        mean_fat_fraction(FAT_FRACTION, np.ones((2, 2), dtype=np.uint8))
