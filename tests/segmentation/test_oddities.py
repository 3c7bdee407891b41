"""Images that are not what they are given for, and those that are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.nifti import Geometry
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.segmentation.oddities import like_water, odd_bodies, odd_values
from musclesense.segmentation.scan import Scan
from musclesense.vocabulary import Region

from .conftest import leg_scan
from .test_trust import masked

SHAPE = (60, 50, 4)
GEOMETRY = Geometry.from_affine(SHAPE, np.diag([-2.0, -2.0, 10.0, 1.0]))
DISC = np.hypot(*(np.indices(SHAPE[:2]) - np.array([30, 25])[:, None, None])) < 18
BODY = np.repeat(DISC[..., None], SHAPE[2], axis=2)


def said_of(image: NDArray[Any]) -> list[str]:
    return [said.partition(",")[0] for said in odd_values(image.astype(np.float32), GEOMETRY)]


def wrapped(seed: int, low: float, high: float) -> NDArray[np.float64]:
    """A phase that runs around more than once in the body, with air of any phase."""
    rng = np.random.default_rng(seed)
    field = np.indices(SHAPE)[0] / rng.uniform(1.5, 4) + rng.uniform(0, 6.3) + rng.normal(0, 0.2, SHAPE)
    turns = np.where(BODY, field, rng.uniform(0, 2 * np.pi, SHAPE)) % (2 * np.pi) / (2 * np.pi)
    return low + (high - low) * turns


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([(0, 4095), (0, 6.283), (1, 1000)]))
def test_a_phase_that_is_stored_from_0_is_told(seed: int, ends: tuple[float, float]) -> None:
    assert said_of(wrapped(seed, *ends)) == ["neighbouring voxels leap from end to end of the range"]


@pytest.mark.parametrize("ends", [(-3.14, 3.14), (-4096, 4095), (-3142, 3142)])
def test_a_phase_with_signs_is_told(ends: tuple[float, float]) -> None:
    assert any("of voxels are far below 0" in said for said in said_of(wrapped(0, *ends)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
@example(3)
def test_a_phase_whose_air_is_masked_is_told(seed: int) -> None:
    image = np.where(BODY, wrapped(seed, 1, 4096) // 64 * 64, 0)
    assert said_of(image) == ["neighbouring voxels leap from end to end of the range"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.floats(0, 0.15), st.floats(1, 5000), st.booleans())
@example(1736720, 0.0, 1.0, True)
def test_a_magnitude_is_as_it_should_be_whatever_its_noise_and_scale(
    seed: int, noise: float, scale: float, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    real, imaginary = rng.normal(0, noise, (2, *SHAPE))
    muscle = np.hypot(*(np.indices(SHAPE[:2]) - np.array([30, 25])[:, None, None])) < rng.uniform(6, 16)
    greys = np.where(muscle[..., None], rng.uniform(0.02, 1), 1.0) * BODY
    image = scale * np.hypot(greys + real, imaginary) + rng.uniform(0, 1e-3, SHAPE)
    assert said_of(np.where(BODY, image, 0) if masked else image) == []


@pytest.mark.parametrize("contrast", [Contrast.DIXON_FAT, Contrast.DIXON_WATER, Contrast.SPIN_ECHO])
@pytest.mark.parametrize("region", Region)
def test_phantoms_are_as_they_should_be(contrast: Contrast, region: Region) -> None:
    scan = leg_scan(region, (0.5,), contrast=contrast)
    assert list(odd_values(scan.channels["image"], scan.geometry)) == []


@pytest.mark.parametrize("count", [2, 5, 16])
def test_a_mask_is_told(count: int) -> None:
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE) // 100 % count
    assert f"holds {count} values alone" in said_of(labels)


@pytest.mark.parametrize("shape", [(1, 50, 4), (60, 1, 4), (2, 2, 1), (60, 50, 1)])
def test_an_image_with_hardly_a_neighbour_is_told_of_nothing(shape: tuple[int, int, int]) -> None:
    image = np.zeros(shape, np.float32)
    image[0, 0] = np.linspace(1, 1000, shape[2])
    geometry = Geometry.from_affine(shape, np.diag([-2.0, -2.0, 10.0, 1.0]))
    assert [said for said in odd_values(image, geometry) if "leap" in said] == []


def test_few_values_that_are_no_labels_are_an_image() -> None:
    assert said_of(np.where(BODY, 0.5, 0.25) + 0.125 * np.where(DISC[..., None], 1, 0)) == []


@pytest.mark.parametrize("contrast", [Contrast.DIXON_FAT, Contrast.SPIN_ECHO])
@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAI"])
def test_bodies_of_phantoms_are_like_limbs_unless_turned(contrast: Contrast, codes: str) -> None:
    scan = leg_scan(Region.THIGH, (0.5,), contrast=contrast, codes=codes)
    image, bodies, geometry = scan.channels["image"], scan.bodies, scan.geometry
    assert list(odd_bodies(image, bodies, geometry)) == []
    turned, other = np.rot90(image), np.rot90(bodies)
    (said,) = odd_bodies(turned, other, Geometry.from_affine(turned.shape, geometry.affine))
    assert "times as deep as wide" in said
    middle = slice(image.shape[0] // 2 - 15, image.shape[0] // 2 + 15)  # cut at both sides
    cut = Geometry.from_affine(image[middle].shape, geometry.affine)
    assert list(odd_bodies(image[middle], bodies[middle], cut)) == []


def test_a_body_of_one_brightness_and_one_without_air_are_told() -> None:
    rng = np.random.default_rng(0)
    bodies = np.zeros((100, 50, 3), bool)
    bodies[10:90, 5:45] = True
    geometry = Geometry.from_affine(bodies.shape, np.diag([-2.0, -2.0, 10.0, 1.0]))
    fat = np.where(rng.random(bodies.shape) < 0.4, 1000, 200)
    assert list(odd_bodies(fat, bodies, geometry)) == list(odd_bodies(fat, np.zeros_like(bodies), geometry)) == []
    (said,) = odd_bodies(np.where(fat > 500, 920, 1070), bodies, geometry)
    assert "about as bright, as in CT" in said
    (said,) = odd_bodies(fat, np.ones_like(bodies), geometry)
    assert "no air is seen" in said


def muscle_of(scan: Scan) -> NDArray[np.bool_]:
    """The muscle of a fat image, nearly."""
    image = scan.channels["fat"]
    dark = scan.bodies & (image < 0.35 * np.percentile(image[scan.bodies], 98))
    without_skin: NDArray[np.bool_] = ndimage.binary_opening(dark, np.ones((5, 5, 1)))
    return without_skin


@pytest.fixture(scope="module")
def thighs() -> tuple[Scan, NDArray[np.bool_], NDArray[np.float32]]:
    """Thighs in a fat image, their muscle, and the water image."""
    fat, water = (
        leg_scan(Region.THIGH, (0.45, 0.5, 0.55), contrast=contrast, seed=6, channel="fat")
        for contrast in (Contrast.DIXON_FAT, Contrast.DIXON_WATER)
    )
    return fat, muscle_of(fat), water.channels["fat"]


def test_muscle_is_darker_than_what_lies_around_it_in_a_fat_image_alone(
    thighs: tuple[Scan, NDArray[np.bool_], NDArray[np.float32]],
) -> None:
    fat, mask, water = thighs
    swapped = np.where(np.arange(water.shape[0])[:, None, None] < water.shape[0] // 2, water, fat.channels["fat"])
    found = []
    for image in (fat.channels["fat"], water, swapped):
        scan = Scan({"fat": image}, None, fat.geometry, {})
        vars(scan).update(bodies=fat.bodies, limbs=fat.limbs, places=fat.places)
        found.append(sorted(map(str, like_water(*masked(scan, mask), 0.5))))
    assert found == [[], ["left", "right"], ["left"]] or found == [[], ["left", "right"], ["right"]]


def test_muscle_that_is_all_fat_is_not_like_water(thighs: tuple[Scan, NDArray[np.bool_], NDArray[np.float32]]) -> None:
    fat, mask, _ = thighs
    bright = np.where(mask, np.percentile(fat.channels["fat"][fat.bodies], 90), fat.channels["fat"])
    scan = Scan({"fat": bright.astype(np.float32)}, None, fat.geometry, {})
    vars(scan).update(bodies=fat.bodies, limbs=fat.limbs, places=fat.places)
    assert like_water(*masked(scan, mask), 0.5) == []
