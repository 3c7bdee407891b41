"""Lattices: statistics, periodicity, lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from musclesense.phantom.texture import PLANE_SPACING_MM, lattice, ridges, sample

FIELD = lattice(np.random.default_rng(0), size=32, planes=4)


def test_lattice_has_mean_zero_and_variance_one() -> None:
    assert FIELD.shape == (4, 32, 32)
    assert FIELD.mean() == pytest.approx(0, abs=1e-5)
    assert FIELD.std() == pytest.approx(1, abs=1e-5)


def test_sample_reads_nodes_and_means_between_them() -> None:
    u, v = np.array([3.0, 4.0, 3.5]), np.array([7.0, 7.0, 7.0])
    values = sample(FIELD, PLANE_SPACING_MM, u, v)
    assert values[:2] == pytest.approx([FIELD[1, 7, 3], FIELD[1, 7, 4]])
    assert values[2] == pytest.approx(values[:2].mean(), abs=1e-6)


@given(st.lists(st.tuples(*[st.floats(-500, 500, width=32)] * 2), min_size=1, max_size=30), st.integers(-300, 300))
def test_sample_equals_scipy(points: list[tuple[float, float]], level_mm: int) -> None:
    u, v = np.array(points, np.float32).T
    plane = np.full(len(u), level_mm / PLANE_SPACING_MM)
    expected = ndimage.map_coordinates(FIELD, [plane, v, u], order=1, mode="grid-wrap")
    assert sample(FIELD, level_mm, u, v) == pytest.approx(expected, abs=1e-3)


def test_sample_is_periodic() -> None:
    u, v = np.array([-0.25, 31.9, -1e-9]), np.array([5.5, -40.2, 32.0])
    again = sample(FIELD, 7.0 + 4 * PLANE_SPACING_MM, u + 32, v - 64)
    assert again == pytest.approx(sample(FIELD, 7.0, u, v), abs=1e-4)


def test_ridges_stand_where_the_field_crosses_zero() -> None:
    assert ridges(np.array([0.0, 0.3, -0.3, 3.0], np.float32), 0.3) == pytest.approx([1, np.exp(-1), np.exp(-1), 0])
