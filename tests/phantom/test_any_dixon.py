"""Slices of a three-point Dixon acquisition: one limb in four images that agree with each other."""

import numpy as np
import pytest

from musclesense.phantom import any_contrast, any_dixon
from musclesense.phantom.any_scanner import SyntheticSlice
from musclesense.vocabulary import EDITIONS

PLAIN = tuple(name for name in any_dixon.INGREDIENTS if name not in ("bodies", "levels"))


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse pixels are drawn fast."""
    monkeypatch.setattr(any_contrast, "FINEST_MM", 2.0)


def slice_of(number: int, without: tuple[str, ...] = ()) -> SyntheticSlice:
    return any_dixon.synthetic_slice(np.random.default_rng([7, number]), without=without)


@pytest.mark.parametrize("number", range(8))
def test_all_images_are_of_one_shape_and_drawn_again_alike(number: int) -> None:
    one, again = slice_of(number), slice_of(number)
    assert ("fat", *one.others) == EDITIONS["professional"]
    for name, image in {"fat": one.image, **one.others}.items():
        assert image.shape == one.mask.shape == one.compartments.shape and image.dtype == np.float32
        assert np.isfinite(image).all() and image.min() >= 0 and np.ptp(image) > 0
        np.testing.assert_array_equal(image, {"fat": again.image, **again.others}[name])


@pytest.mark.parametrize("number", range(4))
def test_fat_is_where_water_is_not(number: int) -> None:
    one = slice_of(number, PLAIN)
    fat, water = one.image, one.others["water"]
    body = fat + water > 0.3 * np.percentile(fat + water, 95)
    assert np.corrcoef(fat[body], water[body])[0, 1] < -0.5
    for name in ("te345", "te575"):
        apart, both = np.abs(fat - water), 1.05 * (fat + water) + 20
        assert (one.others[name][body] <= both[body]).mean() > 0.95
        assert (one.others[name][body] >= 0.4 * apart[body] - 20).mean() > 0.95


def test_swapped_images_are_swapped_alike_and_echoes_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_contrast, "SWAPPED", 1.0)
    without = tuple(name for name in PLAIN if name != "swaps")
    for number in range(3):
        right, swapped = slice_of(number, (*without, "swaps")), slice_of(number, without)
        moved = [np.abs(a - b) > 40 for a, b in ((right.image, swapped.image), *_pairs(right, swapped))]
        fat, water, first, last = moved
        assert fat.any() and water.any()
        assert not first.any() and not last.any()


def _pairs(one: SyntheticSlice, other: SyntheticSlice) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(one.others[name], other.others[name]) for name in one.others]
