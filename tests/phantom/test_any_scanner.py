"""Slices for any scanner: alike for the same random state, true to their masks, and each ingredient does something."""

import numpy as np
import pytest
from scipy import ndimage

from musclesense.errors import InputError
from musclesense.imaging.grid import slice_axis, take_slice
from musclesense.phantom import any_scanner
from musclesense.phantom.anatomy.templates import TEMPLATES, compartment_values
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.scanner import contrast
from musclesense.phantom.slices import PlacedLimb, draw_slice
from musclesense.vocabulary import Limbs, Region


def slice_of(number: int, **options: object) -> any_scanner.SyntheticSlice:
    return any_scanner.synthetic_slice(np.random.default_rng([7, number]), **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def slices() -> list[any_scanner.SyntheticSlice]:
    return [slice_of(number) for number in range(24)]


def test_the_same_random_state_gives_the_same_slice(slices: list[any_scanner.SyntheticSlice]) -> None:
    again = slice_of(3)
    assert np.array_equal(again.image, slices[3].image)
    assert np.array_equal(again.compartments, slices[3].compartments)
    assert not np.array_equal(slices[4].image[:40, :40], slices[3].image[:40, :40])


def test_images_are_magnitudes_with_truth_of_the_same_shape(slices: list[any_scanner.SyntheticSlice]) -> None:
    for one in slices:
        assert one.image.dtype == np.float32
        assert np.isfinite(one.image).all() and one.image.min() >= 0
        assert one.image.shape == one.mask.shape == one.compartments.shape
        assert 0 < one.mask.mean() < 0.8


def test_masks_are_the_labelled_compartments_of_the_region(slices: list[any_scanner.SyntheticSlice]) -> None:
    for one in slices:
        values = compartment_values(one.region)
        left_out = {f"{name}_{side}" for name in TEMPLATES[one.region].unlabelled for side in ("left", "right")}
        labelled = [value for name, value in values.items() if name not in left_out]
        assert set(np.unique(one.compartments)) <= {0, *values.values()}
        drawn = np.isin(one.compartments, labelled)
        assert one.mask[drawn].all()
        assert not one.mask[(one.compartments > 0) & ~drawn].any()
        # Narrow gaps between muscles are filled, and nothing else is.
        filled = (one.mask > 0) & ~drawn
        assert filled.any()
        assert ndimage.distance_transform_edt(~drawn)[filled].max() < 2


def test_only_the_limbs_named_are_shown(slices: list[any_scanner.SyntheticSlice]) -> None:
    assert {one.limbs for one in slices} == set(Limbs) - {Limbs.ONE}  # the side is always known
    for one in slices:
        sides = {value > 100 for value in np.unique(one.compartments[one.compartments > 0])}
        # A limb may lie beyond the frame.
        assert sides <= {Limbs.BOTH: {False, True}, Limbs.LEFT: {True}, Limbs.RIGHT: {False}}[one.limbs]


def test_a_right_limb_lies_on_the_left_of_the_display() -> None:
    both = slice_of(1, without=("pose",))
    right = np.nonzero((both.compartments > 0) & (both.compartments < 100))[1].mean()
    left = np.nonzero(both.compartments > 100)[1].mean()
    assert right < left


def test_the_geometry_leads_from_storage_to_display(slices: list[any_scanner.SyntheticSlice]) -> None:
    one = slices[0]
    volume = one.stored(one.image)[..., None]
    assert volume.shape == one.geometry.shape
    assert slice_axis(one.geometry) == 2
    assert np.array_equal(take_slice(volume, one.geometry, 0).T, one.image)
    step = one.geometry.affine[:3, :2]
    assert step[0, 0] < 0 and step[1, 1] < 0  # towards the left, towards posterior


def test_regions_are_those_asked_for() -> None:
    assert {slice_of(number, regions=[Region.CALF]).region for number in range(4)} == {Region.CALF}


@pytest.mark.parametrize("ingredient", any_scanner.INGREDIENTS)
def test_an_ingredient_left_out_leaves_the_others(ingredient: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image or truth differ for some slices, while the subject's region and, but for pose, its limbs stay."""
    monkeypatch.setattr(contrast, "SWAPPED", 1.0)  # seldom otherwise
    pairs = [(slice_of(number), slice_of(number, without=(ingredient,))) for number in range(10)]
    assert any(a.image.shape != b.image.shape or not np.allclose(a.image, b.image) for a, b in pairs)
    assert all(a.region == b.region for a, b in pairs)
    for one, other in pairs:
        assert one.limbs == other.limbs or ingredient == "pose"
        assert one.geometry.zooms[:2] == other.geometry.zooms[:2] or ingredient == "resolution"
        assert one.geometry.zooms[2] == other.geometry.zooms[2] or ingredient == "thickness"
    if ingredient in ("contrast", "shading", "noise", "surroundings", "swaps"):  # what is drawn does not depend on them
        assert all(np.array_equal(a.compartments, b.compartments) for a, b in pairs)


def test_pixels_bodies_and_thickness_are_wider_than_those_of_the_cohorts(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Stack, list[PlacedLimb]]] = []
    monkeypatch.setattr(
        any_scanner, "draw_slice", lambda stack, parts, z: drawn.append((stack, parts)) or draw_slice(stack, parts, z)
    )
    for number in range(40):
        one = slice_of(number)
        assert one.geometry.zooms == pytest.approx((*2 * [drawn[-1][0].voxel_mm], drawn[-1][0].slice_mm))
    pixels = [stack.voxel_mm for stack, _ in drawn]
    assert 0.7 <= min(pixels) < 0.85 and 1.5 < max(pixels) <= 1.8
    thick = [stack.slice_mm for stack, _ in drawn if stack.points > 1]
    assert 10 < len(thick) < 30 and 3 <= min(thick) < 8 and 15 < max(thick) <= 20
    limbs = [limb for _, parts in drawn for limb, *_ in parts]
    fat = [limb.fat_mm / TEMPLATES[limb.region].fat_mm for limb in limbs]
    assert min(fat) < 0.3 and max(fat) > 2.4  # beyond what usual adults have
    length = [limb.length_mm / TEMPLATES[limb.region].length_mm for limb in limbs]
    assert min(length) < 0.75  # a child's


def test_a_thick_slice_mixes_what_lies_along_the_limb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its image is between those of its layers, so that its borders are less steep."""
    rest = [name for name in any_scanner.INGREDIENTS if name not in ("thickness", "levels")]
    steep = []
    for thickness in ((3.0, 3), (20.0, 3)):
        monkeypatch.setattr(any_scanner, "THIN", thickness)
        images = [slice_of(number, without=(*rest, "thickness")).image for number in range(6)]
        steep.append(np.mean([np.abs(np.diff(image, axis=1)).mean() for image in images]))
    assert steep[1] < 0.97 * steep[0]


def test_noise_lifts_the_air() -> None:
    def darkest(without: tuple[str, ...]) -> float:
        return float(np.mean([np.percentile(slice_of(number, without=without).image, 2) for number in range(6)]))

    without = ("artefacts", "surroundings")
    assert darkest(("noise", *without)) < 0.2 * darkest(without)


def test_a_limb_alone_is_not_pressed_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[list[PlacedLimb]] = []
    monkeypatch.setattr(
        any_scanner, "draw_slice", lambda stack, parts, z: placed.append(parts) or draw_slice(stack, parts, z)
    )
    for number in range(12):
        slice_of(number)
    alone = [parts[0][1] for parts in placed if len(parts) == 1]
    assert alone
    assert all(pose.contact_mm is None for pose in alone)


def test_without_disease_muscle_is_dark_in_fat_images() -> None:
    plain = [name for name in any_scanner.INGREDIENTS if name != "disease"]
    healthy = [slice_of(number, without=any_scanner.INGREDIENTS) for number in range(10)]
    ill = [slice_of(number, without=plain) for number in range(10)]
    dark, bright = (np.mean([one.image[one.mask > 0].mean() for one in many]) for many in (healthy, ill))
    assert dark < 0.15 * any_scanner.BRIGHTNESS
    assert bright > 1.5 * dark


def test_an_unknown_ingredient_is_refused() -> None:
    with pytest.raises(InputError, match="ingredient 'salt' is unknown; leave out some of disease"):
        slice_of(0, without=("salt",))
