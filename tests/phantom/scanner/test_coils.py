"""Smooth maps and coil arrays."""

import numpy as np
import pytest

from musclesense.phantom.scanner.coils import Coils, SmoothMap, polynomial


def test_smooth_map_reads_linear_functions_exactly() -> None:
    smooth = SmoothMap((30, 51), 2.0, 7.0)
    found = smooth.fine(smooth.coarse(lambda x, y, z: 3 * x - 2 * y + z))
    x, y = np.meshgrid(2.0 * (np.arange(51) - 25), 2.0 * (np.arange(30) - 14.5))
    assert found == pytest.approx(3 * x - 2 * y + 7, abs=1e-3)
    assert found.dtype == np.float32


def test_smooth_map_hardly_errs_on_a_coil() -> None:
    coils = Coils.above_and_below(np.random.default_rng(0), 170.0, 80.0)
    smooth = SmoothMap((150, 320), 1.2, 20.0)
    x, y = np.meshgrid(1.2 * (np.arange(320) - 159.5), 1.2 * (np.arange(150) - 74.5))
    assert smooth.fine(smooth.coarse(coils.sensitivity)) == pytest.approx(coils.sensitivity(x, y, 20.0), rel=0.02)


def test_polynomial_has_its_terms() -> None:
    x, y, z = np.array(100.0), np.array(-50.0), 20.0
    a, b, c = 0.5, -0.25, 0.1
    terms = [1, a, b, c, a * a, b * b, a * b, a * c, b * c, a**3]
    for number, term in enumerate(terms):
        assert polynomial(np.eye(10)[number], x, y, z) == pytest.approx(term)


@pytest.mark.parametrize("make", [lambda rng: Coils.above_and_below(rng, 170.0, 80.0), Coils.ring])
def test_sensitivity_is_one_at_the_centre_and_more_at_the_rim(make: object) -> None:
    coils = make(np.random.default_rng(3))  # type: ignore[operator]
    assert coils.sensitivity(np.array(0.0), np.array(0.0), 0.0) == pytest.approx(1)
    around = np.linspace(0, 2 * np.pi, 30)
    assert coils.sensitivity(70 * np.cos(around), 70 * np.sin(around), 0.0).mean() > 1.1
