"""Drawings of what is no leg, and what slices of the phantom show by their level."""

import numpy as np
import pytest
from benchmarks.validity import region as benchmark
from experiments.region.others import KINDS, draw_other
from experiments.region.train import in_blocks, place_of

from musclesense.segmentation.place import FRAME, Place
from musclesense.vocabulary import Region


@pytest.mark.parametrize("place", [*KINDS, Place.NOTHING])
def test_what_is_no_leg_is_drawn_anew_alike(place: Place) -> None:
    one, again = (draw_other(np.random.default_rng(4), place, FRAME) for _ in range(2))
    assert one.shape == (FRAME.grid.rows, FRAME.grid.columns)
    assert np.isfinite(one).all() and np.ptp(one) > 1
    assert np.array_equal(one, again)
    assert not np.array_equal(one, draw_other(np.random.default_rng(5), place, FRAME))


@pytest.mark.parametrize(
    ("region", "level", "place"),
    [
        (Region.CALF, -0.1, "foot"),
        (Region.CALF, 0.0, "calf"),
        (Region.CALF, 1.0, "calf"),
        (Region.CALF, 1.1, "knee"),
        (Region.THIGH, -0.01, "knee"),
        (Region.THIGH, 0.5, "thigh"),
        (Region.THIGH, 1.1, "hip"),
    ],
)
def test_a_level_of_a_limb_is_a_place(region: Region, level: float, place: str) -> None:
    assert place_of(region, level) == place


def test_blocks_are_means_and_standardised() -> None:
    image = np.random.default_rng(0).normal(5, 3, (2, 2 * FRAME.grid.rows, 2 * FRAME.grid.columns)).astype(np.float16)
    made = in_blocks(image, FRAME)
    assert made.shape == (2, FRAME.grid.rows, FRAME.grid.columns)
    mean = image[0, :2, 2:4].astype(float).mean()
    whole = image[0].astype(float).reshape(FRAME.grid.rows, 2, FRAME.grid.columns, 2).mean(axis=(1, 3))
    assert made[0, 0, 1] == pytest.approx((mean - whole.mean()) / whole.std(), abs=1e-3)


def test_what_is_found_is_counted() -> None:
    alone = [benchmark.one_slice(number) for number in range(2)]
    scans = [benchmark.one_scan(number) for number in range(2)]
    assert all(len(one.places) == 1 for one in alone) and all(len(one.places) == 7 for one in scans)
    table = benchmark.confusion([(Place.CALF, Place.CALF), (Place.CALF, Place.KNEE)])
    assert "| calf | 2 |  | 1 | 1 |" in table
    assert all(line.count("%") or "none" in line for line in (*benchmark.of_slices(alone), *benchmark.of_scans(scans)))
