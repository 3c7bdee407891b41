"""The whole turns of what lies around the limbs, where hardly anything tells them."""

import numpy as np
import pytest

from musclesense.dixon.field import _extend
from musclesense.dixon.separation import separate


@pytest.mark.parametrize("speck", [False, True])
def test_without_weight_values_stay(speck: bool) -> None:
    """A speck at odd rows and columns lies between the voxels that are looked at."""
    values = np.random.default_rng(0).normal(0, 1, (31, 40)).astype(np.float32)
    weights = np.zeros_like(values)
    weights[7, 9] = speck
    np.testing.assert_array_equal(_extend(values, weights), values)


def test_far_from_all_weight_the_nearest_value_counts() -> None:
    values, weights = np.zeros((60, 300), np.float32), np.zeros((60, 300), np.float32)
    values[:, :20], values[:, 280:] = 3, -2
    weights[:, :20] = weights[:, 280:] = 1
    found = _extend(values, weights)
    assert found.shape == values.shape
    np.testing.assert_allclose(found[:, [0, 130]], 3, atol=1e-4)
    np.testing.assert_allclose(found[:, [170, 299]], -2, atol=1e-4)


def test_dark_outer_echoes_leave_the_field_as_it_was_measured() -> None:
    rows, columns = np.mgrid[:48, :48]
    limb = np.hypot(rows - 24, columns - 24) < 18
    echoes = np.zeros((3, 48, 48, 1), np.complex64)
    echoes[1, limb, 0] = 100
    parts = separate(echoes)
    assert not parts.field_phase.any()
    np.testing.assert_allclose((parts.fat + parts.water)[limb], 100)
