"""What the network is given of a slice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.imaging.body import background_level, body_mask
from musclesense.imaging.frame import NORMALISATIONS, Frame, normalise, reference_channel
from musclesense.imaging.grid import Grid
from musclesense.imaging.nifti import Geometry

GEOMETRY = Geometry.from_affine((60, 40, 1), np.diag([-2.0, -2.0, 10.0, 1.0]))


def limb(*, air: float = 20.0) -> np.ndarray:
    """A bright disc in air, (60, 40), off the centre."""
    i, j = np.mgrid[:60, :40]
    noise = np.random.default_rng(0).normal(0, 1, (60, 40))
    return (np.where((i - 20) ** 2 + (j - 25) ** 2 < 100, 500.0, air) + noise).astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(0, 1e3))
def test_mean_and_deviation_are_zero_and_one_whatever_the_scanner_gain(gain, offset):
    image = limb()
    placement = Grid(spacing_mm=2.5, rows=40, columns=64).place(GEOMETRY, image)
    normal, _ = normalise(image, placement)
    scaled, _ = normalise((image * gain + offset).astype(np.float64), placement)
    assert normal.dtype == np.float32 and normal.shape == (40, 64)
    assert normal.mean() == pytest.approx(0, abs=1e-5) and normal.std() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(scaled, normal, atol=0.02)


@settings(deadline=None, max_examples=25)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(0, 1e3), kind=st.sampled_from(sorted(NORMALISATIONS)))
def test_no_normalisation_knows_the_scanner_gain(gain, offset, kind):
    image, offset = limb(), 0 if kind == "body_z_score" else offset  # which moves the outline of the body
    placement = Grid(spacing_mm=2.5, rows=40, columns=64).place(GEOMETRY, image)
    (normal, air), (scaled, scaled_air) = (
        normalise(one, placement, kind=kind) for one in (image, (image * gain + offset).astype(np.float64))
    )
    np.testing.assert_allclose(scaled, normal, atol=0.02)
    assert scaled_air == pytest.approx(air, abs=0.02)


def test_the_body_alone_or_percentiles_are_what_is_normalised():
    image = limb()
    placement = Grid(spacing_mm=2.0, rows=80, columns=120).place(GEOMETRY, image)
    on_grid = placement.to_grid(image, background=background_level(image))
    by_body, air = normalise(image, placement, kind="body_z_score")
    inside = placement.nearest(body_mask(image))
    assert by_body[inside].mean() == pytest.approx(0, abs=1e-4) and by_body[inside].std() == pytest.approx(1, abs=1e-4)
    assert by_body[0, 0] == pytest.approx(air, abs=1e-4)
    by_percentile, air = normalise(image, placement, kind="percentile")
    low, high = np.percentile(on_grid, (1, 99))
    np.testing.assert_allclose(by_percentile, (on_grid - low) / (high - low), atol=1e-4)
    assert air == pytest.approx((background_level(image) - low) / (high - low), abs=1e-4)


@pytest.mark.parametrize("kind", NORMALISATIONS)
@pytest.mark.parametrize("shown", ["a body of one value", "a speck", "nothing but noise"])
def test_images_that_give_a_normalisation_no_scale_stay_within_16_bit(kind, shown):
    image = np.random.default_rng(0).normal(0, 1e-4, (60, 40)).astype(np.float32)
    if shown == "a body of one value":
        image[10:30, 10:30] = 500
    elif shown == "a speck":
        image[:] = 0
        image[20:22, 20:22] = 500
    normal, air = normalise(image, Grid(spacing_mm=2.0, rows=80, columns=120).place(GEOMETRY, image), kind=kind)
    assert np.isfinite(normal.astype(np.float16)).all() and abs(air) < 6e4
    assert normal.std() > 1e-3, "what there is to see is seen"


def test_air_is_what_lies_beyond_the_slice():
    image = limb(air=20.0)
    normal, air = normalise(image, Grid(spacing_mm=2.0, rows=80, columns=120).place(GEOMETRY, image))
    assert normal[0, 0] == pytest.approx(air, abs=1e-5)
    assert normal[-1, -1] == pytest.approx(air, abs=1e-5)
    assert air < 0
    inside_the_scan = np.median(normal[normal < 0])
    assert air == pytest.approx(inside_the_scan, abs=0.02), "no step where the scan ends"


def test_a_constant_image_becomes_zeros():
    image = np.full((60, 40), 0.1, dtype=np.float32)
    normal, air = normalise(image, Grid(spacing_mm=2.0, rows=30, columns=50).place(GEOMETRY, image))
    assert not normal.any() and air == 0


@pytest.mark.parametrize(
    ("channels", "chosen"),
    [
        (("water", "fat", "te345"), "fat"),
        (("water", "te575", "te345"), "te345"),
        (("water", "te575", "te460"), "te460"),
        (("water", "te575"), "te575"),
        (("water",), "water"),
        (("t2",), "t2"),
    ],
)
def test_the_body_is_found_in_the_same_channel_whatever_else_there_is(channels, chosen):
    assert reference_channel(channels) == reference_channel(channels[::-1]) == chosen


@pytest.mark.parametrize("placed_by", ["water", "fat"])
def test_a_slice_is_placed_by_one_image_and_each_channel_is_normalised_there(placed_by):
    fat, water = limb(), np.roll(limb(), -8, axis=1)
    frame = Frame(Grid(spacing_mm=2.5, rows=40, columns=64), ("water", "fat"), placed_by)
    images, air, placement = frame.prepare(GEOMETRY, {"fat": fat, "water": water})
    assert images.shape == (2, 40, 64) and images.dtype == air.dtype == np.float32
    assert placement == frame.grid.place(GEOMETRY, fat if placed_by == "fat" else water)
    for image, level, native in zip(images, air, (water, fat), strict=True):
        expected, expected_air = normalise(native, placement)
        assert np.array_equal(image, expected) and level == np.float32(expected_air)


def test_what_is_restored_lies_where_it_was():
    image = limb()
    frame = Frame(Grid(spacing_mm=1.0, rows=130, columns=130), ("fat",), "fat")
    images, _, placement = frame.prepare(GEOMETRY, {"fat": image})
    back = placement.to_scanner(images)
    assert back.shape == (1, 60, 40)
    assert np.corrcoef(back[0].ravel(), image.ravel())[0, 1] > 0.99
