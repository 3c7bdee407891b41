"""Signal of a drawn slice: physics, noise, stored images."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from musclesense.imaging.dixon import ECHO_TIMES_MS, separate
from musclesense.phantom.anatomy import Tissue
from musclesense.phantom.signal import (
    FAT_SHARES,
    SCANNER_UNIT,
    Drawing,
    Scanner,
    acquire,
    fat_phasor,
    loaded,
    slice_signal,
    stored,
)

SinglePeak = Callable[[np.ndarray, Scanner], np.ndarray]
SCANNER = Scanner.sample(np.random.default_rng(0))


def drawing_of(tissue: np.ndarray, fat: float = 0.0) -> Drawing:
    return Drawing(
        tissue=tissue.astype(np.uint8),
        muscle_fat=np.full(tissue.shape, fat, np.float32),
        density=np.ones(tissue.shape, np.float32),
        compartment=np.zeros(tissue.shape, np.uint8),
    )


def limb_of() -> np.ndarray:
    """A disc of muscle in a ring of subcutaneous fat."""
    y, x = np.mgrid[-60:60, -120:120]
    radius = np.hypot(x, y)
    return np.where(radius < 35, Tissue.MUSCLE, np.where(radius < 50, Tissue.SUBCUTANEOUS_FAT, Tissue.AIR))


def test_fat_turns_by_half_a_turn_between_echoes() -> None:
    assert FAT_SHARES.sum() == pytest.approx(1)
    before, in_phase, after = (np.angle(fat_phasor(time)) for time in ECHO_TIMES_MS)
    assert abs(in_phase) < 0.3
    assert abs(before) > np.pi - 0.3
    assert abs(after) > np.pi - 0.3


def test_fat_is_brighter_by_its_short_t1() -> None:
    assert 1.05 < SCANNER.fat_gain < 1.3


# One peak for fat that has six, and a little T1 weighting, set the limits (docs/phantom.md).
@pytest.mark.parametrize(("fat", "limit"), [(0.02, 1.0), (0.2, 6.0), (0.5, 10.0), (0.8, 4.5), (0.9, 2.0)])
def test_separation_reads_what_physics_says(single_peak: SinglePeak, fat: float, limit: float) -> None:
    tissue = limb_of()
    signal = slice_signal(drawing_of(tissue, fat), SCANNER, oversampling=2, level=0.0, aspect=0.5)
    inner = ndimage.binary_erosion(tissue[::2, ::2] == Tissue.MUSCLE, iterations=3)
    assert np.median(signal.fat_fraction[inner]) == pytest.approx(100 * fat, abs=0.01)
    found = np.median(separate(signal.echoes[..., None]).fat_fraction[..., 0][inner])
    assert found == pytest.approx(float(single_peak(np.array(fat), SCANNER)), abs=0.5)
    assert found == pytest.approx(100 * fat, abs=limit)


def test_air_holds_noise_alone() -> None:
    empty = drawing_of(np.zeros((40, 80)))
    signal = slice_signal(empty, SCANNER, oversampling=2, level=0.0, aspect=0.5)
    assert not signal.echoes.any()
    assert not signal.fat_fraction.any()
    noise = acquire(np.random.default_rng(1), signal.echoes, SCANNER)
    for part in (noise.real, noise.imag):
        assert part.std() == pytest.approx(SCANNER.noise * SCANNER_UNIT, rel=0.1)


def test_partial_volume_is_the_mean_of_the_points() -> None:
    tissue = np.full((4, 4), Tissue.MUSCLE)
    tissue[:, ::2] = Tissue.AIR
    half = slice_signal(drawing_of(tissue), SCANNER, oversampling=2, level=0.0, aspect=0.5)
    full = slice_signal(drawing_of(np.full((4, 4), Tissue.MUSCLE)), SCANNER, oversampling=2, level=0.0, aspect=0.5)
    assert np.abs(half.echoes) == pytest.approx(np.abs(full.echoes) / 2, rel=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.floats(1, 2000), st.floats(-10, 10))
def test_stored_echoes_come_back(magnitude: float, angle: float) -> None:
    echo = np.array([magnitude * np.exp(1j * angle)], np.complex64)
    whole, phase = stored(echo)
    assert whole.dtype == phase.dtype == np.int16
    assert 0 <= phase[0] <= 4095
    # Half a unit of magnitude, and half a step of phase.
    assert abs(loaded(whole, phase)[0] - echo[0]) <= 0.51 + magnitude * np.pi / 4000
