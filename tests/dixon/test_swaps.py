"""Limbs that look inside out: found where fat and water are exchanged, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.dixon.scan import separate_scan
from musclesense.dixon.swaps import look_for_swaps
from musclesense.imaging.nifti import Geometry

SLICES = 4
GEOMETRY = Geometry.from_affine((130, 70, SLICES), np.diag([-2.5, 2.5, 20.0, 1.0]))
ROWS, COLUMNS = np.mgrid[:130, :70]
Image = NDArray[np.float64]


def limbs(*, muscle: float, fat_mm: float, skin: float = 0.05, alone: bool = False) -> tuple[Image, Image]:
    """Fat and water of limbs with skin, fat below it, muscle of a fat fraction, and marrow within dark bone."""
    fat, water = np.zeros(ROWS.shape), np.zeros(ROWS.shape)
    for column in (35,) if alone else (35, 95):
        depth = 2.5 * (26 - np.hypot(ROWS - column, 1.1 * (COLUMNS - 35)))
        for above, share, bright in (
            (0, skin, 80),
            (2, 0.92, 100),
            (2 + fat_mm, muscle, 90),
            (46, 0.0, 5),
            (52, 0.9, 90),
        ):
            fat[depth > above], water[depth > above] = share * bright, (1 - share) * bright
    noise = np.random.default_rng(0).normal(0, 2, (2, *ROWS.shape, SLICES))
    return fat[..., None] + noise[0], water[..., None] + noise[1]


@settings(deadline=None, max_examples=40)
@given(muscle=st.floats(0, 0.95), fat_mm=st.floats(2, 25), alone=st.booleans())
def test_healthy_diseased_lean_and_obese_limbs_raise_no_word(muscle: float, fat_mm: float, alone: bool) -> None:
    swaps = look_for_swaps(*limbs(muscle=muscle, fat_mm=fat_mm, alone=alone), GEOMETRY)
    assert (swaps.where, swaps.whole) == ("", False)


@settings(deadline=None, max_examples=30)
@given(muscle=st.floats(0, 0.6), fat_mm=st.floats(10, 25), alone=st.booleans())
def test_images_that_are_exchanged_are_known(muscle: float, fat_mm: float, alone: bool) -> None:
    fat, water = limbs(muscle=muscle, fat_mm=fat_mm, alone=alone)
    assert look_for_swaps(water, fat, GEOMETRY).whole


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("slices", [[0, 1, 2, 3], [2], [1, 3]])
@pytest.mark.parametrize("muscle", [0.03, 0.5])
def test_a_limb_that_was_swapped_is_named_with_its_slices(side: str, slices: list[int], muscle: float) -> None:
    fat, water = limbs(muscle=muscle, fat_mm=12)
    half = np.zeros(GEOMETRY.shape, dtype=bool)
    half[slice(0, 65) if side == "right" else slice(65, None)] = np.isin(range(SLICES), slices)
    swaps = look_for_swaps(np.where(half, water, fat), np.where(half, fat, water), GEOMETRY)
    where = "" if len(slices) == SLICES else f" (slice {', '.join(map(str, slices))})"
    assert (swaps.where, swaps.whole) == (f"the {side} limb{where}", False)


def test_separation_names_a_limb_that_came_out_inside_out(caplog: pytest.LogCaptureFixture) -> None:
    """Echoes of one limb with fat and water exchanged: as a field that lies half a turn off makes them."""
    fat, water = (np.maximum(image, 0) for image in limbs(muscle=0.05, fat_mm=12))
    left = np.zeros(GEOMETRY.shape, dtype=bool)
    left[65:] = True
    fat, water = np.where(left, water, fat), np.where(left, fat, water)
    pairs = {}
    for name, sign in (("te345", -1), ("te460", 1), ("te575", -1)):
        signal = (water + sign * fat) * np.exp(0.3j)
        pairs[name] = ((signal.real, GEOMETRY.affine), (signal.imag, GEOMETRY.affine))
    separate_scan(pairs, real_imaginary=True)
    (said,) = (line for line in caplog.messages if line.startswith("separation: "))
    assert said == (
        "separation: fat and water look exchanged, with water below the skin and fat within, in the left limb; "
        "look at the images, and do not use what is swapped"
    )


@pytest.mark.parametrize("shape", [(6, 5, 4), (1, 1, 1), (40, 30, 2)])
def test_what_shows_no_limb_is_not_judged(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    geometry = Geometry.from_affine(shape, np.diag([2.0, 2.0, 10.0, 1.0]))
    swaps = look_for_swaps(rng.uniform(10, 90, shape), rng.uniform(10, 90, shape), geometry)
    assert not swaps.whole
    assert not look_for_swaps(np.ones(shape), np.ones(shape), geometry).where
