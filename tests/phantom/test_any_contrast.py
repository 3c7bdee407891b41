"""Slices of any contrast: alike for the same random state, true to their masks, and each ingredient does something."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.phantom import additions, any_contrast
from musclesense.phantom.anatomy import ends
from musclesense.phantom.anatomy.templates import paper_values
from musclesense.phantom.any_scanner import SyntheticSlice
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.held import Held
from musclesense.phantom.scanner.sequences import Sequence
from musclesense.vocabulary import Limbs, Region


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Coarse pixels are drawn fast."""
    monkeypatch.setattr(any_contrast, "FINEST_MM", 2.0)


def slice_of(number: int, **options: object) -> SyntheticSlice:
    return any_contrast.synthetic_slice(np.random.default_rng([7, number]), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def slices() -> list[SyntheticSlice]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(any_contrast, "FINEST_MM", 2.0)
        return [slice_of(number) for number in range(36)]


def test_the_same_random_state_gives_the_same_slice(slices: list[SyntheticSlice]) -> None:
    again = slice_of(3)
    assert np.array_equal(again.image, slices[3].image)
    assert np.array_equal(again.mask, slices[3].mask)


def test_images_are_magnitudes_with_truth_of_the_same_shape(slices: list[SyntheticSlice]) -> None:
    for one in slices:
        assert one.image.dtype == np.float32
        assert np.isfinite(one.image).all() and one.image.min() >= 0 and np.ptp(one.image) > 0
        assert one.image.shape == one.mask.shape == one.compartments.shape == one.geometry.shape[1::-1]
    assert {one.limbs for one in slices} == {Limbs.BOTH, Limbs.LEFT, Limbs.RIGHT}
    assert {one.region for one in slices} == set(Region)


def test_masks_hold_the_muscles_of_the_paper_and_the_others(slices: list[SyntheticSlice]) -> None:
    for one in slices:
        assert (one.mask[one.compartments > 0] > 0).all()
        np.testing.assert_array_equal(
            one.mask[one.compartments > 0] == 1, np.isin(one.compartments, paper_values())[one.compartments > 0]
        )
    assert {int(value) for one in slices for value in np.unique(one.mask)} == {0, *any_contrast.MASK_VALUES}


def test_pixels_and_thickness_are_as_wide_as_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_contrast, "FINEST_MM", 0.75)
    limbs, _ = any_contrast._sample_subject({"anatomy": np.random.default_rng(0)}, Region.CALF)
    stacks = []
    for number in range(200):
        states = {name: np.random.default_rng([number, 1]) for name in ("frame", "resolution", "thickness")}
        stacks.append(any_contrast._sample_frame(states, limbs)[1])
    pixels, thick = [stack.voxel_mm for stack in stacks], [stack.slice_mm for stack in stacks]
    assert min(pixels) < 0.8 and max(pixels) > 2.7
    assert min(thick) < 1.3 and max(thick) > 22


@pytest.mark.parametrize("ingredient", any_contrast.INGREDIENTS)
def test_an_ingredient_left_out_leaves_the_others(ingredient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_contrast, "SWAPPED", 1.0)  # seldom otherwise
    for share in ("ARM", "MASS", "IMPLANT", "FLUID"):
        monkeypatch.setattr(additions, share, 1.0)
    monkeypatch.setattr(any_contrast, "AT_HIPS", 0.5 if ingredient == "hips" else 0.1)
    monkeypatch.setattr(ends, "UNLIKE", 1.0)
    pairs = [(slice_of(number), slice_of(number, without=(ingredient,))) for number in range(6)]
    if ingredient == "swaps":  # of separated images alone
        pairs = [
            (slice_of(number, without=("sequences",)), slice_of(number, without=("sequences", ingredient)))
            for number in range(3)
        ]
    assert any(a.image.shape != b.image.shape or not np.allclose(a.image, b.image) for a, b in pairs)
    assert all(a.region == b.region for a, b in pairs)
    if ingredient in ("sequences", "muscles", "shading", "noise", "surroundings", "swaps", "arms"):
        assert all(np.array_equal(a.compartments, b.compartments) for a, b in pairs if a.image.shape == b.image.shape)


def test_an_unknown_ingredient_is_refused() -> None:
    with pytest.raises(InputError, match="'salt' is unknown; leave out some of bodies"):
        slice_of(0, without=("salt",))


def test_a_cut_image_shows_muscle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_contrast, "CROPPED", 1.0)
    whole = [slice_of(number, without=("cropping", "artefacts")) for number in range(6)]
    for number, one in enumerate(whole):
        cut = slice_of(number, without=("artefacts",))
        assert cut.image.size <= one.image.size and cut.mask.any()
        values = cut.compartments[cut.compartments > 0]
        sides = {Limbs.LEFT if value > 100 else Limbs.RIGHT for value in np.unique(values)}
        assert cut.limbs is (Limbs.BOTH if len(sides) == 2 else sides.pop())


def test_images_are_cut_on_any_of_their_sides() -> None:
    compartments = np.zeros((200, 300), np.uint8)
    compartments[100:120, 140:170] = 1
    cut: list[set[str]] = []
    for seed in range(60):
        rows, columns = any_contrast._sample_cut(np.random.default_rng(seed), compartments, 1.0)
        assert compartments[rows, columns].any()
        spared = {
            "front": rows.start == 0,
            "back": rows.stop == 200,
            "right": columns.start == 0,
            "left": columns.stop == 300,
        }
        cut.append({side for side, whole in spared.items() if not whole})
    assert {len(sides) for sides in cut} >= {1, 2, 3}
    assert set().union(*cut) == {"front", "back", "right", "left"}


def test_some_diseases_swell_muscle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_contrast, "END_STAGE", 0.0)
    for share, least in ((1.0, 0.1), (0.0, 0.0)):
        monkeypatch.setattr(any_contrast, "SWOLLEN", share)
        drawn = [any_contrast._sample_disease(np.random.default_rng(seed), Region.CALF)[0] for seed in range(20)]
        assert min(pattern.oedema[0] for pattern in drawn) >= least
    assert {pattern.oedema for pattern in drawn} != {(0.0, 0.0)}


def test_air_is_zero_at_times(slices: list[SyntheticSlice]) -> None:
    without_signal = np.array([np.mean(one.image == 0) for one in slices])
    assert 0.02 < np.mean(without_signal > 0.05) < 0.5


def test_nobody_lacks_muscle_and_some_are_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(any_contrast, "END_STAGE", 1.0)
    pattern, severity = any_contrast._sample_disease(np.random.default_rng(0), Region.THIGH)
    assert severity >= 0.8 and pattern.others == 1
    assert slice_of(2).mask.any()


USUAL = Held(
    build="usual",
    disease=(PATTERNS["control"], 0.1),
    level=0.5,
    pixel_mm=2.5,
    slice_mm=4.0,
    sequence=Sequence.DIXON_FAT,
    readout={"noise": 0.01, "finer": 1.0},
)


def test_what_is_held_is_not_drawn() -> None:
    for number in range(4):
        one = slice_of(number, held=USUAL, without=("artefacts", "cropping"))
        np.testing.assert_allclose(one.geometry.zooms, (2.5, 2.5, 4.0))
        dark, bright = (np.median(one.image[kind]) for kind in (one.mask > 0, one.image > 300))
        assert dark < 0.5 * bright, "fat is bright"


@pytest.mark.parametrize(
    "changed",
    [
        {"build": "obese"},
        {"disease": (PATTERNS["DMD"], 0.9)},
        {"level": 0.9},
        {"pixel_mm": 3.0},
        {"slice_mm": 20.0},
        {"sequence": Sequence.DIXON_WATER},
        {"shading": 2.0},
        {"readout": {"noise": 0.1}},
    ],
    ids=str,
)
def test_each_factor_held_otherwise_gives_another_image(changed: dict[str, Any]) -> None:
    one, other = (slice_of(2, held=held).image for held in (USUAL, replace(USUAL, **changed)))
    assert one.shape != other.shape or not np.allclose(one, other)


def test_an_even_image_is_that_without_coils() -> None:
    """But for the noise, which coils bring in unevenly."""
    held = replace(USUAL, readout={"noise": 0.0}, shading=0.0)
    even, without = slice_of(5, held=held), slice_of(5, held=held, without=("shading",))
    np.testing.assert_allclose(even.image, without.image, rtol=1e-3, atol=0.5)


def test_levels_run_from_the_lowest_to_the_highest() -> None:
    poses = []
    for level in (0.0, 0.5, 1.0):
        states = {name: np.random.default_rng(1) for name in ("anatomy", "levels")}
        limbs, _ = any_contrast._sample_subject(states, Region.THIGH, Held(level=level))
        poses.append(limbs[0].pose.level_mm)
    assert poses[0] < poses[1] < poses[2] or poses[0] > poses[1] > poses[2]
