"""From water and fat to a magnitude image, one effect at a time."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.phantom.scanner.readout import Readout, coil_gain, smooth_field, warped
from musclesense.phantom.texture import Floats

PLAIN = Readout(blur_mm=(0.0, 0.0))


def disc(rows: int = 64, columns: int = 80) -> Floats:
    y, x = np.mgrid[:rows, :columns]
    return (np.hypot(y - rows / 2, x - columns / 2) < 18).astype(np.float32)


def seen(
    readout: Readout, water: Floats, fat: Floats | None = None, turn: complex = 1, gain: Floats | None = None
) -> Floats:
    dark = np.zeros_like(water)
    return readout.magnitude(np.random.default_rng(0), water, dark if fat is None else fat, turn, gain, 1.0)


def test_nothing_leaves_the_image() -> None:
    np.testing.assert_allclose(seen(PLAIN, disc()), disc(), atol=1e-5)


def test_opposed_fat_and_water_cancel_at_their_border() -> None:
    water = disc()
    image = seen(Readout(blur_mm=(2.0, 2.0)), water, 1 - water, -1)
    assert image[32, 40] == pytest.approx(1, abs=0.02) and image[32, 70] == pytest.approx(1, abs=0.02)
    assert image[32, 40:70].min() < 0.3


@pytest.mark.parametrize("axis", [0, 1])
def test_fat_lies_off_along_its_axis(axis: int) -> None:
    shift = (2.0, 0.0) if axis == 0 else (0.0, 2.0)
    image = seen(replace(PLAIN, fat_shift_mm=shift), np.zeros((64, 80), np.float32), disc())
    np.testing.assert_allclose(image, np.roll(disc(), 2, axis), atol=1e-5)


def test_noise_is_as_strong_as_asked() -> None:
    dark = np.zeros((128, 128), np.float32)
    dark[:, :64] = 1
    image = seen(replace(PLAIN, noise=0.05), dark)
    assert image[:, 5:60].std() == pytest.approx(0.05, rel=0.15)
    assert image[:, 70:120].mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.15)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(16, 60), columns=st.integers(16, 60), finer=st.floats(1.05, 2.4))
def test_zero_filling_keeps_what_is_smooth(rows: int, columns: int, finer: float) -> None:
    y, x = np.mgrid[:rows, :columns] / np.array([rows, columns])[:, None, None]
    smooth = (2 + np.cos(2 * np.pi * y) + np.sin(2 * np.pi * x)).astype(np.float32)
    image = seen(replace(PLAIN, finer=finer), smooth)
    assert all(abs(new - finer * old) <= 1 for new, old in zip(image.shape, smooth.shape, strict=True))
    assert image.mean() == pytest.approx(2, rel=0.01) and image.max() == pytest.approx(smooth.max(), abs=0.05)


def test_ghosts_motion_and_truncation_change_their_axis_alone() -> None:
    """Along the other axis a stripe stays as it is."""
    stripe = np.zeros((64, 80), np.float32)
    stripe[20:30] = 1  # constant along columns
    for changed in ({"ghosts": 0.05}, {"motion_mm": 2.0}):
        readout = replace(PLAIN, **changed)  # type: ignore[arg-type]
        assert np.abs(seen(replace(readout, axis=0), stripe) - stripe).max() > 0.02
        np.testing.assert_allclose(seen(replace(readout, axis=1), stripe).std(axis=1), 0, atol=1e-4)
    assert np.abs(seen(replace(PLAIN, keep=(0.5, 1.0)), stripe) - stripe).max() > 0.05
    np.testing.assert_allclose(seen(replace(PLAIN, keep=(1.0, 0.5)), stripe), stripe, atol=1e-4)


@pytest.mark.parametrize("seed", range(8))
def test_gain_is_positive_and_one_on_average(seed: int) -> None:
    gain = coil_gain(np.random.default_rng(seed), disc() > 0, 1.0)
    assert gain.shape == disc().shape and gain.dtype == np.float32
    assert gain.min() > 0 and gain.mean() == pytest.approx(1, abs=0.15)


def test_image_and_labels_bend_alike() -> None:
    (image,), labels = warped(np.random.default_rng(1), disc()[None], disc().astype(np.uint8), 3.0)
    assert np.abs(image - disc()).max() > 0.5
    assert np.mean((image > 0.5) != (labels > 0)) < 0.02


def test_a_smooth_field_passes_through_its_nodes() -> None:
    field = smooth_field(np.random.default_rng(3), (31, 41), (4, 5))
    nodes = np.random.default_rng(3).standard_normal((4, 5))
    np.testing.assert_allclose(field[::10, ::10], nodes, atol=1e-5)
