"""Signal of a drawn slice: physics, noise, stored images."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from musclesense.dixon.fat import FAT_SHARES, Excitation, fat_phasor
from musclesense.dixon.separation import ECHO_TIMES_MS, separate
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.signal import (
    FLIP_DEGREES,
    OFF_CENTRE,
    SCANNER_UNIT,
    SHIMMED_HZ,
    TR_MS,
    Drawing,
    Scanner,
    acquire,
    as_complex,
    as_stored,
    by_tissue,
    kspace_filter,
    slice_signal,
)
from musclesense.phantom.tables import read_table

SinglePeak = Callable[[np.ndarray, Scanner], np.ndarray]
SCANNER = Scanner.sample(np.random.default_rng(0))
STILL = replace(SCANNER, fat_shift=0.0, ghosts=0.0, flip_map=np.eye(10)[0])
"""The same without what moves signal from one voxel to another, and with one flip angle."""


def drawing_of(tissue: np.ndarray, fat: float = 0.0, oedema: float = 0.0) -> Drawing:
    """One point a voxel."""
    points = tissue.astype(np.uint8)[None]
    flesh = (points == Tissue.MUSCLE).astype(np.float32)
    return Drawing(
        tissue=points,
        muscle_fat=np.float32(fat) * flesh,
        density=np.ones(points.shape, np.float32),
        oedema=np.float32(oedema) * flesh,
        compartment=np.zeros(points.shape, np.uint8),
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
    assert 1.05 < Excitation(FLIP_DEGREES, TR_MS).fat_gain < 1.3


def is_off_centre(scanner: Scanner) -> bool:
    return bool((np.abs(scanner.field_hz) > 8 * SHIMMED_HZ).any())


def test_few_shims_are_off_centre_and_only_these_swap_fat_and_water() -> None:
    scanners = [Scanner.sample(np.random.default_rng(seed)) for seed in range(300)]
    off = [scanner for scanner in scanners if is_off_centre(scanner)]
    assert OFF_CENTRE / 2 < len(off) / len(scanners) < 2 * OFF_CENTRE
    usual = [scanner for scanner in scanners if not is_off_centre(scanner)][: len(off)]

    one = limb_of()[::2, 50:190:2]
    drawing = drawing_of(np.concatenate([one, one], axis=1), fat=0.1)
    muscle = ndimage.binary_erosion(drawing.tissue[0] == Tissue.MUSCLE, iterations=2)

    def swaps(scanner: Scanner) -> bool:
        still = replace(scanner, fat_shift=0.0)
        slices = [slice_signal(drawing, still, voxel_mm=2.5, z_mm=z_mm).echoes for z_mm in (-50.0, -25.0, 0.0, 25.0)]
        fat_fraction = separate(np.stack(slices, axis=-1)).fat_fraction
        return bool(np.mean(fat_fraction[muscle] > 50) > 0.02)

    assert 0.3 < np.mean([swaps(scanner) for scanner in off]) < 0.9
    assert not any(swaps(scanner) for scanner in usual)


# One peak for fat that has six, and a little T1 weighting, set the limits (docs/concepts/phantom.md).
@pytest.mark.parametrize(("fat", "limit"), [(0.02, 1.0), (0.2, 6.0), (0.5, 10.0), (0.8, 4.5), (0.9, 2.0)])
def test_separation_reads_what_physics_says(single_peak: SinglePeak, fat: float, limit: float) -> None:
    tissue = limb_of()
    signal = slice_signal(drawing_of(tissue, fat), STILL, voxel_mm=1.25)
    inner = ndimage.binary_erosion(tissue == Tissue.MUSCLE, iterations=3)
    assert np.median(signal.fat_fraction[inner]) == pytest.approx(100 * fat, abs=0.1)
    found = np.median(separate(signal.echoes[..., None]).fat_fraction[..., 0][inner])
    assert found == pytest.approx(float(single_peak(np.array(fat), STILL)), abs=0.5)
    assert found == pytest.approx(100 * fat, abs=limit)


def test_truth_is_as_fine_as_the_image() -> None:
    """A line of fat one voxel wide, within muscle, reads what the filter leaves of it; its area stays."""
    tissue = np.full((80, 160), Tissue.MUSCLE)
    tissue[40] = Tissue.SUBCUTANEOUS_FAT
    coarse = replace(STILL, resolution_mm=(2.5, 1.25))
    truth = slice_signal(drawing_of(tissue), coarse, voxel_mm=1.25).fat_fraction[:, 80]
    window = kspace_filter(tissue.shape, 1.25, coarse.resolution_mm)
    line = np.fft.ifft(np.fft.fft(np.arange(80) == 40) * window[:, 0]).real
    assert truth == pytest.approx(np.clip(90 * line, 0, 100), abs=0.05)
    assert 30 < truth[40] < 60


def test_air_holds_noise_alone() -> None:
    signal = slice_signal(drawing_of(np.zeros((80, 160))), SCANNER, voxel_mm=1.25)
    assert not signal.echoes.any()
    assert not signal.fat_fraction.any()
    noise = acquire(np.random.default_rng(1), signal.echoes, SCANNER, voxel_mm=1.25)
    for part in (noise.real, noise.imag):
        assert part.std() == pytest.approx(SCANNER.noise * SCANNER_UNIT, rel=0.05)
    magnitude = np.abs(noise)
    # The mean of a Rayleigh distribution, and its standard deviation.
    assert magnitude.mean() == pytest.approx(np.sqrt(np.pi / 2) * SCANNER.noise * SCANNER_UNIT, rel=0.05)
    assert magnitude.std() == pytest.approx(np.sqrt(2 - np.pi / 2) * SCANNER.noise * SCANNER_UNIT, rel=0.05)


def test_noise_is_as_coarse_as_the_acquired_resolution() -> None:
    empty = np.zeros((3, 80, 160), np.complex64)
    sharp, coarse = (
        acquire(np.random.default_rng(1), empty, replace(SCANNER, resolution_mm=(mm, mm)), voxel_mm=1.0).real
        for mm in (1.0, 2.0)
    )

    def alike(noise: np.ndarray) -> float:
        return float(np.mean(noise[..., 1:] * noise[..., :-1]) / np.mean(np.square(noise)))

    assert alike(sharp) < 0.3 < 0.5 < alike(coarse)
    assert coarse.std() == pytest.approx(sharp.std(), rel=0.05)


def test_filter_keeps_the_mean() -> None:
    window = kspace_filter((30, 40), 0.6, (1.2, 0.6))
    assert window.max() == window[0, 0] == 1
    # Half of the rows is acquired, the rest filled with zeros.
    assert np.count_nonzero(window.any(axis=1)) == pytest.approx(15, abs=1)
    assert window.any(axis=0).all()


def test_partial_volume_is_the_mean_of_the_points() -> None:
    muscle = drawing_of(np.full((4, 4), Tissue.MUSCLE))
    both = {name: np.concatenate([value, value]) for name, value in vars(muscle).items()}
    both["tissue"][1] = Tissue.AIR
    half = slice_signal(Drawing(**both), STILL, voxel_mm=1.0)
    full = slice_signal(muscle, STILL, voxel_mm=1.0)
    assert np.abs(half.echoes) == pytest.approx(np.abs(full.echoes) / 2, rel=1e-3)


def test_fat_lies_off_along_the_columns() -> None:
    tissue = np.full((4, 40), Tissue.AIR)
    tissue[:, 20] = Tissue.SUBCUTANEOUS_FAT
    echo = np.abs(slice_signal(drawing_of(tissue), replace(STILL, fat_shift=1.25), voxel_mm=1.0).echoes[1])
    centre = (echo * np.arange(40)).sum() / echo.sum()
    # A tenth of fat tissue is water, which stays where it is.
    assert centre == pytest.approx(20 + 0.9 * 1.25, abs=0.1)


def test_pulsating_blood_leaves_ghosts_along_the_rows() -> None:
    tissue = np.full((60, 40), Tissue.AIR)
    tissue[30, 20] = Tissue.BLOOD
    scanner = replace(STILL, ghosts=0.1, ghost_shift=0.2)
    echo = np.abs(slice_signal(drawing_of(tissue), scanner, voxel_mm=1.0).echoes[1])
    assert set(np.flatnonzero(echo[:, 20])) == {6, 18, 30, 42, 54}
    assert not np.delete(echo, 20, axis=1).any()


def test_oedema_brightens_water_a_little_and_hardly_changes_the_fat_fraction() -> None:
    well, swollen = (
        slice_signal(drawing_of(np.full((4, 4), Tissue.MUSCLE), 0.3, oedema), STILL, voxel_mm=1.0)
        for oedema in (0.0, 1.0)
    )
    assert 1.01 < np.abs(swollen.echoes[1]).mean() / np.abs(well.echoes[1]).mean() < 1.15
    assert swollen.fat_fraction.mean() == pytest.approx(well.fat_fraction.mean(), abs=3)


def test_coils_brighten_what_lies_near_them() -> None:
    ratios = []
    for seed in range(20):
        coils = Scanner.sample(np.random.default_rng(seed), 170.0, 80.0).coils
        around = np.linspace(0, 2 * np.pi, 60)
        rim = coils.sensitivity(88 + 78 * np.cos(around), 74 * np.sin(around), 0.0)
        ratios.append(np.percentile(rim, 95) / coils.sensitivity(np.array(88.0), np.array(0.0), 0.0))
    # On a real Siemens scan the brightest fat under the skin is 2 to 3 times as bright as the dimmest.
    assert 1.7 < np.median(ratios) < 3


@settings(deadline=None, max_examples=50)
@given(st.floats(10, 2000), st.floats(-10, 10))
def test_stored_echoes_come_back(magnitude: float, angle: float) -> None:
    echo = np.array([magnitude * np.exp(1j * angle)], np.complex64)
    whole, phase = as_stored(echo, SCANNER)
    assert whole.dtype == phase.dtype == np.int16
    assert 0 <= phase[0] <= 4095
    # Half a unit of magnitude, and half a step of phase.
    assert abs(as_complex(whole, phase)[0] - echo[0]) <= 0.51 + magnitude * np.pi / 4000


def test_phase_of_noise_is_stored_as_zero() -> None:
    faint = np.full((4, 4), 2j * SCANNER.noise * SCANNER_UNIT, np.complex64)
    magnitude, phase = as_stored(faint, SCANNER)
    assert magnitude.any()
    assert not phase.any()
    assert as_stored(10 * faint, SCANNER)[1] == pytest.approx(np.full((4, 4), 1024))


def test_every_tissue_has_a_value_in_every_column() -> None:
    columns, *rows = read_table("scanner/tissues.yaml").items()
    assert [name for name, _ in rows] == [tissue.name.lower() for tissue in Tissue]
    assert all(len(row) == len(columns[1]) for _, row in rows)
    assert all(np.isfinite(by_tissue(name)).all() for name in columns[1])


def test_air_gives_no_signal_and_fat_fractions_are_parts() -> None:
    assert by_tissue("density")[Tissue.AIR] == by_tissue("water_shown")[Tissue.AIR] == 0
    assert by_tissue("fat_fraction").min() >= 0 and by_tissue("fat_fraction").max() <= 1
