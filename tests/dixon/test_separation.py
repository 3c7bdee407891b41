"""Three-point separation against echoes made from known fat, water, field and T2*."""

import re
import tracemalloc
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from musclesense.dixon.echoes import read_echoes
from musclesense.dixon.fat import FatModel
from musclesense.dixon.phase import PhaseUnit
from musclesense.dixon.scan import separate_scan
from musclesense.dixon.separation import ECHO_TIMES_MS, fat_fraction, separate
from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry, read_volume, write_volume
from musclesense.vocabulary import Echo

ROWS, COLUMNS = np.mgrid[:64, :128]


def limbs(fat_in_muscle: float = 0.1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fat and water of two limbs with skin, subcutaneous fat, muscle and marrow in dark bone; (64, 128, 2)."""
    fat, water = np.zeros((64, 128)), np.zeros((64, 128))
    for column in (32, 95):
        radius = np.hypot(ROWS - 32, COLUMNS - column)
        muscle = (20, 100 * fat_in_muscle, 100 * (1 - fat_in_muscle))
        for outer, f, w in ((28, 0, 80), (27, 100, 3), muscle, (6, 0, 0), (4, 90, 5)):
            fat[radius < outer], water[radius < outer] = f, w
    return np.stack([fat, fat], axis=2), np.stack([water, water], axis=2)


def echoes_of(
    fat: NDArray[np.float64],
    water: NDArray[np.float64],
    *,
    field_hz: float | NDArray[np.float64] = 0.0,
    t2star_ms: float = np.inf,
    offset: float = 0.3,
) -> NDArray[np.complex64]:
    steps = np.array([-1, 0, 1]).reshape(-1, *[1] * fat.ndim)
    times = np.array(ECHO_TIMES_MS).reshape(steps.shape)
    turn = 2 * np.pi * np.asarray(field_hz) * 1.15e-3
    signal = (water + fat * np.exp(1j * np.pi * steps)) * np.exp(1j * (steps * turn + offset) - times / t2star_ms)
    return signal.astype(np.complex64)


FIELD = (1.2 * (COLUMNS - 64) + 0.9 * (ROWS - 32))[:, :, None] * np.array([1, -1])


def test_known_fat_and_water_come_back_under_a_field_that_wraps() -> None:
    fat, water = limbs()
    decay = np.exp(-ECHO_TIMES_MS[1] / 25)
    parts = separate(echoes_of(fat, water, field_hz=3 * FIELD, t2star_ms=25))
    assert np.abs(3 * FIELD[fat + water > 0]).max() > 217
    np.testing.assert_allclose(parts.fat, fat * decay, atol=1e-3)
    np.testing.assert_allclose(parts.water, water * decay, atol=1e-3)
    assert parts.fat.dtype == parts.water.dtype == parts.fat_fraction.dtype == np.float32


def test_field_phase_is_the_turn_between_two_echoes() -> None:
    fat, water = limbs()
    parts = separate(echoes_of(fat, water, field_hz=FIELD))
    inside = fat + water > 0
    np.testing.assert_allclose(parts.field_phase[inside], 2 * np.pi * FIELD[inside] * 1.15e-3, atol=1e-4)


@pytest.mark.parametrize("infiltration", [0.05, 0.5, 0.9])
def test_limbs_whose_fields_lie_half_a_turn_apart_are_both_right(infiltration: float) -> None:
    """The gap between limbs hides whole turns, and each whole turn swaps a limb."""
    fat, water = limbs(infiltration)
    field = np.where(COLUMNS < 64, -130.0, 160.0)[:, :, None]
    np.testing.assert_allclose(separate(echoes_of(fat, water, field_hz=field)).fat, fat, atol=1e-3)


@pytest.mark.parametrize("centre_hz", [-435, -300, 200, 240, 435])
def test_a_scanner_centred_elsewhere_does_not_turn_limbs_inside_out(centre_hz: float) -> None:
    fat, water = limbs()
    np.testing.assert_allclose(separate(echoes_of(fat, water, field_hz=centre_hz + FIELD)).fat, fat, atol=1e-3)


def test_bare_muscle_stays_water_though_it_has_no_rim() -> None:
    water = np.where(np.hypot(ROWS - 32, COLUMNS - 64) < 25, 100.0, 0.0)[:, :, None]
    parts = separate(echoes_of(np.zeros_like(water), water, field_hz=100))
    np.testing.assert_allclose(parts.water, water, atol=1e-3)
    np.testing.assert_allclose(parts.fat, 0, atol=1e-3)


def test_marrow_follows_the_limb_around_it() -> None:
    """Bone without signal cuts the marrow off; its own field would be taken half a turn too low by itself."""
    fat, water = limbs()
    field = (
        np.where(COLUMNS < 64, 190.0, -20.0)[:, :, None] + 1.5 * (10 - np.hypot(ROWS - 32, COLUMNS - 32))[:, :, None]
    )
    field = np.where(COLUMNS[:, :, None] < 64, np.maximum(field, 170), field)
    marrow = np.hypot(ROWS - 32, COLUMNS - 32) < 4
    noise = np.random.default_rng(3).normal(0, 1, (2, 3, 64, 128, 2))
    parts = separate((echoes_of(fat, water, field_hz=field) + noise[0] + 1j * noise[1]).astype(np.complex64))
    assert (parts.fat[marrow] > 80).all()


@pytest.mark.parametrize(("infiltration", "noise", "points"), [(0.1, 5, 0.2), (0.1, 10, 0.5), (0.45, 5, 0.2)])
def test_noise_moves_the_mean_fat_fraction_little(infiltration: float, noise: float, points: float) -> None:
    """Where fat and water nearly cancel, a bare sign would push the two apart; noise must not join the limbs."""
    fat, water = limbs(infiltration)
    rng = np.random.default_rng(5)
    clean = echoes_of(fat, water, field_hz=FIELD)
    noisy = clean + rng.normal(0, noise, clean.shape) + 1j * rng.normal(0, noise, clean.shape)
    muscle = (fat == 100 * infiltration) & (water == 100 * (1 - infiltration))
    parts = separate(noisy.astype(np.complex64))
    mean = 100 * parts.fat[muscle].mean() / (parts.fat + parts.water)[muscle].mean()
    assert abs(mean - 100 * infiltration) < points


@pytest.mark.parametrize("seed", range(4))
def test_noise_between_limbs_does_not_join_them(seed: int) -> None:
    fat, water = limbs()
    rng = np.random.default_rng(seed)
    clean = echoes_of(fat, water, field_hz=FIELD)
    noisy = clean + rng.normal(0, 10, clean.shape) + 1j * rng.normal(0, 10, clean.shape)
    percent = separate(noisy.astype(np.complex64)).fat_fraction
    for limb in (COLUMNS < 64, COLUMNS >= 64):
        assert np.median(percent[(fat == 10) & limb[:, :, None]]) < 20


def test_fat_and_water_add_up_to_the_in_phase_magnitude() -> None:
    rng = np.random.default_rng(0)
    echoes = (rng.normal(size=(3, 20, 30, 2)) + 1j * rng.normal(size=(3, 20, 30, 2))).astype(np.complex64)
    parts = separate(echoes)
    np.testing.assert_allclose(parts.fat + parts.water, np.abs(echoes[1]), rtol=1e-5, atol=1e-6)


@settings(deadline=None, max_examples=10)
@given(offset=st.floats(-4, 4), scale=st.floats(1e-3, 1e4))
def test_a_common_phase_changes_nothing_and_a_scale_only_scales(offset: float, scale: float) -> None:
    fat, water = limbs()
    echoes = echoes_of(fat, water, field_hz=FIELD, t2star_ms=30)
    plain, turned = separate(echoes), separate((scale * echoes * np.exp(1j * offset)).astype(np.complex64))
    np.testing.assert_allclose(turned.fat, scale * plain.fat, atol=scale * 1e-3)
    np.testing.assert_allclose(turned.water, scale * plain.water, atol=scale * 1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_may_lie_along_any_axis_and_phases_turn_either_way(axis: int) -> None:
    fat, water = limbs()
    echoes = echoes_of(fat, water, field_hz=3 * FIELD).conj()
    parts = separate(np.moveaxis(echoes, 3, axis + 1), slice_axis=axis)
    np.testing.assert_allclose(np.moveaxis(parts.fat, axis, 2), fat, atol=1e-3)


@pytest.mark.parametrize("levels", [4, 10**6])
def test_the_same_echoes_give_the_same_bytes(levels: int) -> None:
    """The unwrapper of skimage 0.26 alone does not: edges of a mask are joined at random, and coarse phases tie."""
    rng = np.random.default_rng(1)
    phase = rng.integers(0, levels, (3, 120, 120, 1)) * 2 * np.pi / levels
    magnitude = rng.random((3, 120, 120, 1)) > 0.01
    echoes = (magnitude * np.exp(1j * phase)).astype(np.complex64)
    first = separate(echoes).field_phase.tobytes()
    assert all(separate(echoes).field_phase.tobytes() == first for _ in range(8))


def test_no_signal_gives_zero() -> None:
    fat, water = limbs()
    fat[:, :, 1] = water[:, :, 1] = 0
    parts = separate(echoes_of(fat, water))
    empty = fat + water == 0
    assert empty[:, :, 1].all()
    for part in (parts.fat, parts.water, parts.fat_fraction):
        assert (part[empty] == 0).all()
        assert np.isfinite(part).all()


@pytest.mark.parametrize(("peaks", "most"), [(1, 1.5), (6, 3.0)])
def test_slices_are_separated_one_after_another_in_little_memory(peaks: int, most: float) -> None:
    """Whole volumes in between would take several times what fat, water and field do."""
    fat, water = (np.repeat(image, 30, axis=2) for image in limbs())
    echoes = echoes_of(fat, water, field_hz=np.repeat(FIELD, 30, axis=2))
    separate(echoes[..., :2], model=FatModel(peaks=peaks))  # imports
    tracemalloc.start()
    parts = separate(echoes, model=FatModel(peaks=peaks))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    results = parts.fat.nbytes + parts.water.nbytes + parts.field_phase.nbytes
    assert peak < most * results


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 1, 12, 2), (3, 12, 1, 1), (3, 2, 2, 1)])
def test_tiny_images_are_separated(shape: tuple[int, ...]) -> None:
    parts = separate(echoes_of(np.full(shape[1:], 20.0), np.full(shape[1:], 80.0), field_hz=40))
    np.testing.assert_allclose(parts.fat, 20, atol=1e-3)


@pytest.mark.parametrize("shape", [(2, 4, 4, 4), (3, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must have shape \(3, i, j, k\)"):
        separate(np.ones(shape, dtype=np.complex64))


def test_fat_fraction_is_percent_within_bounds() -> None:
    fat, water = np.array([0.0, 25, 50, -1, 60, 0, -5]), np.array([100.0, 75, 0, 51, -10, 0, 2])
    np.testing.assert_allclose(fat_fraction(fat, water), [0, 25, 100, 0, 100, 0, 0])


def stored(angles: NDArray[np.float64]) -> NDArray[np.int16]:
    return np.round((angles % (2 * np.pi)) / (2 * np.pi) * 4096).astype(np.int16) % 4096


GEOMETRY = Geometry.from_affine((64, 128, 2), np.diag([2.0, 2.0, 10.0, 1.0]))


@pytest.fixture
def scan(tmp_path: Path) -> tuple[tuple[Path, Path], ...]:
    fat, water = limbs()
    pairs = []
    for te, echo in zip(("345", "460", "575"), echoes_of(fat, water, field_hz=FIELD), strict=True):
        pair = tmp_path / f"te{te}_magnitude.nii.gz", tmp_path / f"te{te}_phase.nii.gz"
        write_volume(pair[0], np.abs(echo), GEOMETRY, np.float32)
        write_volume(pair[1], stored(np.angle(echo)), GEOMETRY, np.int16)
        pairs.append(pair)
    return tuple(pairs)


def by_name(scan: tuple[tuple[Path, Path], ...]) -> dict[str, tuple[Path, Path]]:
    return {str(echo): pair for echo, pair in zip(Echo, scan, strict=True)}


def test_files_are_separated_in_the_voxels_of_the_input(scan: tuple[tuple[Path, Path], ...], tmp_path: Path) -> None:
    out = tmp_path / "parts"
    separate_scan(by_name(scan)).save(out)
    fat, water = limbs()
    assert sorted(path.name for path in out.iterdir()) == ["fat.nii.gz", "fat_fraction.nii.gz", "water.nii.gz"]
    written = read_volume(out / "fat.nii.gz")
    assert GEOMETRY.difference(written.geometry) is None
    assert written.data.dtype == np.float32
    np.testing.assert_allclose(written.data, fat, atol=0.3)
    np.testing.assert_allclose(read_volume(out / "water.nii.gz").data, water, atol=0.3)
    inside = fat + water > 0
    percent = 100 * fat[inside] / (fat + water)[inside]
    np.testing.assert_allclose(read_volume(out / "fat_fraction.nii.gz").data[inside], percent, atol=0.3)


def test_slices_of_files_are_found_by_their_affine(scan: tuple[tuple[Path, Path], ...], tmp_path: Path) -> None:
    """The slice axis stored first: unwrapping along it would join slices whose fields have nothing in common."""
    affine = np.array([[0, 2.0, 0, 0], [0, 0, 2.0, 0], [10.0, 0, 0, 0], [0, 0, 0, 1]])
    geometry = Geometry.from_affine((2, 64, 128), affine)
    for path in (path for pair in scan for path in pair):
        volume = read_volume(path)
        write_volume(path, np.moveaxis(volume.data, 2, 0), geometry, volume.data.dtype)
    separate_scan(by_name(scan)).save(tmp_path / "parts")
    np.testing.assert_allclose(np.moveaxis(read_volume(tmp_path / "parts/fat.nii.gz").data, 0, 2), limbs()[0], atol=0.3)


def test_a_stated_unit_is_believed(scan: tuple[tuple[Path, Path], ...]) -> None:
    found, *_ = read_echoes(scan)
    stated, *_ = read_echoes(scan, phase_unit=PhaseUnit.MILLIRADIANS)
    assert found.shape == (3, 64, 128, 2)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(np.abs(found), np.abs(stated), atol=1e-4)
    assert np.abs(found - stated).max() > 1


def parts_of(scan: tuple[tuple[Path, Path], ...]) -> list[tuple[Path, Path]]:
    """Write real and imaginary images of the echoes."""
    pairs = []
    for number, echo in enumerate(read_echoes(scan).signal):
        pair = scan[0][0].with_name(f"{number}_real.nii.gz"), scan[0][0].with_name(f"{number}_imaginary.nii.gz")
        for path, part in zip(pair, (echo.real, echo.imag), strict=True):
            write_volume(path, part, GEOMETRY, np.float32)
        pairs.append(pair)
    return pairs


def test_real_and_imaginary_images_give_what_magnitude_and_phase_do(scan: tuple[tuple[Path, Path], ...]) -> None:
    expected, found = read_echoes(scan), read_echoes(parts_of(scan), real_imaginary=True)
    assert (expected.phase_unit, found.phase_unit) == ("12bit", "real and imaginary")
    np.testing.assert_allclose(found.signal, expected.signal, atol=1e-4)
    assert GEOMETRY.difference(found.geometry) is None


def test_real_and_imaginary_images_are_told_from_magnitude_and_phase(scan: tuple[tuple[Path, Path], ...]) -> None:
    with pytest.raises(InputError, match=r"0_real\.nii\.gz: holds -[0-9.]+, no magnitude is .* real and imaginary"):
        read_echoes(parts_of(scan))
    with pytest.raises(InputError, match="hold no negative value, as real and imaginary images do"):
        read_echoes(scan, real_imaginary=True)


@pytest.mark.parametrize("turn", [1.0, 256.0, 65536.0])
def test_any_other_unit_is_read_by_its_turn(scan: tuple[tuple[Path, Path], ...], turn: float) -> None:
    expected = read_echoes(scan).signal
    for _, phase in scan:
        write_volume(phase, read_volume(phase).data * (turn / 4096), GEOMETRY, np.float32)
    with pytest.raises(InputError, match="agree in no known unit"):
        read_echoes(scan)
    found = read_echoes(scan, phase_turn=turn)
    assert found.phase_unit == f"{turn:g} a turn"
    np.testing.assert_allclose(found.signal, expected, atol=1e-2)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"phase_turn": 0.0}, "phase_turn=0: no turn; give the positive number"),
        ({"phase_turn": np.nan}, "phase_turn=nan: no turn"),
        ({"phase_turn": np.inf}, "phase_turn=inf: no turn"),
        ({"phase_turn": 360.0, "phase_unit": "degrees"}, "phase_unit: does not go with phase_turn; leave one out"),
        ({"phase_turn": 360.0, "real_imaginary": True}, "phase_turn: does not go with real_imaginary; leave one out"),
        ({"phase_unit": "12bit", "real_imaginary": True}, "phase_unit: does not go with real_imaginary"),
        ({"phase_unit": "turns"}, "phase_unit=turns: unknown; give one of auto, radians"),
    ],
)
def test_words_on_phases_that_cannot_be_are_refused(
    scan: tuple[tuple[Path, Path], ...], stored: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        read_echoes(scan, **stored)


@pytest.mark.parametrize("kind", ["magnitude", "phase", "real", "imaginary"])
def test_nan_is_air_outside_the_body_and_refused_inside(scan: tuple[tuple[Path, Path], ...], kind: str) -> None:
    parts = kind in ("real", "imaginary")
    pairs = parts_of(scan) if parts else list(scan)
    expected = read_echoes(scan).signal
    body = np.any([np.hypot(ROWS - 32, COLUMNS - column) < 28 for column in (32, 95)], axis=0)
    body = np.stack([body, body], axis=2)
    for pair in pairs:
        path = pair[kind in ("phase", "imaginary")]
        write_volume(path, np.where(body, read_volume(path).data, np.nan), GEOMETRY, np.float32)
    found = read_echoes(pairs, real_imaginary=parts).signal
    np.testing.assert_allclose(found[:, body], expected[:, body], atol=1e-3)
    assert np.isfinite(found).all()
    path = pairs[2][kind in ("phase", "imaginary")]
    data = read_volume(path).data
    data[32, 45, 1] = np.nan
    write_volume(path, data, GEOMETRY, np.float32)
    with pytest.raises(InputError, match=rf"{path.name}: [0-9]+ voxels are NaN or infinite"):
        read_echoes(pairs, real_imaginary=parts)


def test_unusable_files_are_refused_with_one_line_each_and_nothing_written(
    scan: tuple[tuple[Path, Path], ...], tmp_path: Path
) -> None:
    out = tmp_path / "parts"
    moved = Geometry.from_affine((64, 128, 2), np.diag([2.0, 2.0, 12.0, 1.0]))
    small = Geometry.from_affine((64, 128, 1), np.diag([2.0, 2.0, 10.0, 1.0]))
    write_volume(scan[0][1], np.ones(moved.shape), moved, np.int16)
    write_volume(scan[2][0], np.ones(small.shape), small, np.int16)
    with pytest.raises(InputError) as refusal:
        separate_scan(by_name(scan)).save(out)
    assert len(refusal.value.problems) == 2
    assert "te345_phase.nii.gz: affine differs" in refusal.value.problems[0]
    assert "te575_magnitude.nii.gz: shape 64x128x1" in refusal.value.problems[1]
    assert not out.exists()


@pytest.mark.parametrize(
    ("pair", "part", "value", "words"),
    [
        (0, 0, 0.0, "te345_magnitude.nii.gz: is 0 everywhere"),
        (1, 0, -3.0, "te460_magnitude.nii.gz: holds -3"),
        (2, 1, np.inf, "te575_phase.nii.gz: [0-9]+ voxels are NaN or infinite"),
        (1, 1, 7e4, "the echoes agree in no known unit"),
    ],
)
def test_unusable_values_are_refused(
    scan: tuple[tuple[Path, Path], ...], pair: int, part: int, value: float, words: str
) -> None:
    write_volume(scan[pair][part], np.full(GEOMETRY.shape, value), GEOMETRY, np.float32)
    with pytest.raises(InputError, match=words) as refusal:
        read_echoes(scan)
    assert "\n" not in str(refusal.value)


def test_a_file_given_twice_is_refused(scan: tuple[tuple[Path, Path], ...]) -> None:
    with pytest.raises(InputError, match=r"te345_phase\.nii\.gz: given twice"):
        read_echoes((scan[0], (scan[1][0], scan[0][1]), scan[2]))


@pytest.mark.parametrize(("part", "kind"), [(0, "magnitude"), (1, "phase")])
@pytest.mark.parametrize("echo", [1, 2])
def test_a_copy_of_another_echo_is_refused(
    scan: tuple[tuple[Path, Path], ...],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    part: int,
    kind: str,
    echo: int,
) -> None:
    """Under another name, with another type of number, not compressed. Outer echoes may be equal, which is told of."""
    copy = tmp_path / "copy.nii"
    write_volume(copy, read_volume(scan[0][part]).data.astype(np.float64), GEOMETRY, np.float64)
    pairs = [list(pair) for pair in scan]
    pairs[echo][part] = copy
    said = rf"copy\.nii: holds the values of .*te345_{kind}\.nii\.gz; give six"
    with pytest.raises(InputError, match=said) if echo == 1 else nullcontext():
        read_echoes([(pair[0], pair[1]) for pair in pairs], phase_unit="12bit")
    assert bool(re.search(said, caplog.text)) is (echo == 2)


def test_a_missing_file_is_refused_by_name(scan: tuple[tuple[Path, Path], ...]) -> None:
    scan[2][1].unlink()
    with pytest.raises(InputError, match=r"te575_phase\.nii\.gz: no such file"):
        read_echoes(scan)


def test_images_that_are_there_are_not_replaced(scan: tuple[tuple[Path, Path], ...], tmp_path: Path) -> None:
    vendor = tmp_path / "fat.nii.gz"
    vendor.write_bytes(b"the scanner's own")
    with pytest.raises(InputError, match=r"fat\.nii\.gz: is there already"):
        separate_scan(by_name(scan)).save(tmp_path)
    assert vendor.read_bytes() == b"the scanner's own"
    assert list(tmp_path.glob("*water*")) == []
