"""The unit of stored phases, found by what three echoes of one body have in common."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.dixon.phase import TURNS, PhaseUnit, find_unit, settle_in_phase
from musclesense.dixon.separation import ECHO_TIMES_MS
from musclesense.errors import ArgumentError, InputError

from .test_separation import COLUMNS, ROWS, echoes_of, limbs

Turns = NDArray[np.float64]
Phases = NDArray[np.floating]


def echoes(seed: int = 0, *, noise: float = 3.0, field: float = 3.0) -> tuple[Turns, Turns]:
    """Magnitudes and phases, in turns, of two limbs in a field that wraps, with noise in the air around."""
    fat, water = limbs()
    rng = np.random.default_rng(seed)
    hertz = field * (1.2 * (COLUMNS - 64) + 0.9 * (ROWS - 32))[:, :, None] * np.array([1, -1])
    coils = np.exp(1j * (rng.uniform(0, 6) + 0.03 * COLUMNS - 0.02 * ROWS))[:, :, None]
    signal = coils * echoes_of(fat, water, field_hz=hertz)
    real, imaginary = rng.normal(0, noise, (2, *signal.shape))
    signal = signal + real + 1j * imaginary
    return np.abs(signal), np.angle(signal) / (2 * np.pi)


def around_zero(turns: Turns) -> Turns:
    return (turns + 0.5) % 1 - 0.5


STORED: dict[str, tuple[PhaseUnit, Callable[[Turns], Phases]]] = {
    "radians": (PhaseUnit.RADIANS, lambda t: (2 * np.pi * around_zero(t)).astype(np.float32)),
    "radians from 0": (PhaseUnit.RADIANS, lambda t: 2 * np.pi * (t % 1)),
    "milliradians": (PhaseUnit.MILLIRADIANS, lambda t: np.round(2000 * np.pi * around_zero(t))),
    "milliradians as floats": (PhaseUnit.MILLIRADIANS, lambda t: 2000 * np.pi * around_zero(t)),
    "degrees": (PhaseUnit.DEGREES, lambda t: np.round(360 * around_zero(t))),
    "degrees from 0": (PhaseUnit.DEGREES, lambda t: np.floor(360 * (t % 1))),
    "tenths of degrees": (PhaseUnit.TENTH_DEGREES, lambda t: np.round(3600 * around_zero(t))),
    "0..4095": (PhaseUnit.TWELVE_BIT, lambda t: np.floor(4096 * (t % 1)).astype(np.int16)),
    "0..4095 resaved": (PhaseUnit.TWELVE_BIT, lambda t: np.floor(4096 * (t % 1)) * 0.99977112),
    "0..4096": (PhaseUnit.TWELVE_BIT, lambda t: np.floor(4096 * (t % 1)) * 4096 / 4095),
    "-2048..2047": (PhaseUnit.TWELVE_BIT, lambda t: np.floor(4096 * around_zero(t))),
    "-4096..4094": (PhaseUnit.SIGNED_TWELVE_BIT, lambda t: 2 * np.floor(4096 * (t % 1)) - 4096),
    "-4096..4094 resaved": (PhaseUnit.SIGNED_TWELVE_BIT, lambda t: (2 * np.floor(4096 * (t % 1)) - 4096) * 1.0001),
}


@pytest.mark.parametrize("name", STORED)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), sign=st.sampled_from((-1, 1)), masked=st.booleans(), alone=st.booleans())
def test_the_unit_is_found_however_it_is_stored(name: str, seed: int, sign: int, masked: bool, alone: bool) -> None:
    """Either sign; noise or 0 in air; one slice or two."""
    magnitude, turns = echoes(seed)
    unit, store = STORED[name]
    phase = sign * store(turns)
    if masked:
        phase = np.where(magnitude > 20, phase, 0)
    if alone:
        magnitude, phase = magnitude[..., :1], phase[..., :1]
    assert find_unit(list(magnitude), list(phase), "phases") is unit


@pytest.mark.parametrize("name", STORED)
def test_a_frame_within_the_body_tells_the_unit(name: str) -> None:
    magnitude, turns = (image[:, 10:54, 12:52] for image in echoes(5, field=6))
    unit, store = STORED[name]
    assert find_unit(list(magnitude), list(store(turns)), "phases") is unit


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("name", ["radians", "degrees", "0..4095", "-2048..2047", "-4096..4094"])
def test_phases_that_were_resampled_are_known(name: str, order: int) -> None:
    """Between neighbours that wrap, interpolation makes values that are no phase, and some beyond the range."""
    magnitude, turns = echoes(2)
    unit, store = STORED[name]
    zooms = (1, 1.3, 1.3, 1)
    moved = [ndimage.zoom(images.astype(float), zooms, order=order) for images in (magnitude, store(turns))]
    assert find_unit(list(moved[0]), list(moved[1]), "phases") is unit


@pytest.mark.parametrize("name", ["milliradians", "0..4095", "degrees"])
def test_an_echo_that_another_program_unwrapped_in_part_is_known(name: str) -> None:
    """A real scan of GE spans 12,204 milliradians at 4.60 ms, and 6282 at the other times."""
    magnitude, turns = echoes(3, noise=0)
    unit, store = STORED[name]
    phase = np.where(magnitude > 20, store(turns).astype(float), 0)
    phase[1, 20:30, 20:50] += TURNS[unit]
    assert find_unit(list(magnitude), list(phase), "phases") is unit


@settings(deadline=None, max_examples=15)
@given(turn=st.sampled_from((1.0, 2.0, 100.0, 256.0, 1000.0, 5000.0, 16384.0, 65536.0)), seed=st.integers(0, 999))
def test_another_unit_is_refused_and_what_one_turn_may_be_is_named(turn: float, seed: int) -> None:
    magnitude, turns = echoes(seed)
    with pytest.raises(ArgumentError, match=r"^a\{b\}: values span [0-9.e+]+, and the echoes agree in no") as caught:
        find_unit(list(magnitude), list(turn * (turns % 1)), "a{b}")
    assert "with phase_turn=" in str(caught.value) and "with real_imaginary" in str(caught.value)
    (said,) = caught.value.at_command_line
    assert float(said.split("--phase-turn ")[1].split(",")[0]) == pytest.approx(turn, rel=0.01)


UNLIKE = ("radians", "milliradians", "degrees", "tenths of degrees", "0..4095", "-4096..4094")


@pytest.mark.parametrize("one", UNLIKE)
@pytest.mark.parametrize("other", UNLIKE)
def test_echoes_in_different_units_are_refused(one: str, other: str) -> None:
    magnitude, turns = echoes(1)
    for odd in range(3) if one != other else ():
        names = [other if echo == odd else one for echo in range(3)]
        phases = [STORED[name][1](turns[echo]) for echo, name in enumerate(names)]
        said = ", ".join(STORED[name][0] for name in names)
        with pytest.raises(InputError, match=f"^phases: are stored in {said}; bring them to one unit"):
            find_unit(list(magnitude), phases, "phases")


def test_units_that_fit_alike_are_both_named() -> None:
    """Water alone in an even field: nothing wraps, and nothing tells one unit from another."""
    magnitude = np.ones((3, 30, 30, 1))
    ramp = np.linspace(0, 1, 900).reshape(30, 30, 1)
    phases = [2500 + step * 2500 * ramp for step in (-1, 0, 1)]
    with pytest.raises(ArgumentError, match="agree as tenth-degrees and as 12bit alike; say which with phase_unit=ten"):
        find_unit(list(magnitude), phases, "phases")


@pytest.mark.parametrize(
    ("phases", "words"),
    [
        (np.zeros((3, 8, 8, 1)), "the same value everywhere"),
        (np.full((3, 8, 8, 1), 2048), "the same value everywhere"),
        (np.random.default_rng(0).integers(0, 4096, (3, 40, 40, 1)), "agree in no known unit"),
        (np.abs(echoes()[0]), "agree in no known unit"),
    ],
)
def test_what_is_no_phase_is_refused(phases: Phases, words: str) -> None:
    magnitude, _ = echoes()
    magnitude = magnitude[:, : phases.shape[1], : phases.shape[2], : phases.shape[3]]
    with pytest.raises(InputError, match=words):
        find_unit(list(magnitude), list(phases), "phases")


def test_all_units_are_known_by_their_turn() -> None:
    assert set(TURNS) | {PhaseUnit.AUTO} == set(PhaseUnit)
    assert len(ECHO_TIMES_MS) == 3


@settings(deadline=None, max_examples=20)
@given(turn=st.sampled_from((4700.0, 5000.0, 7000.0, 7500.0, 450.0, 500.0, 2900.0, 11000.0)), seed=st.integers(0, 999))
def test_a_turn_between_those_of_two_units_is_refused(turn: float, seed: int) -> None:
    """Values that fill one turn of no known unit lie within one turn of a larger one."""
    magnitude, turns = echoes(seed)
    with pytest.raises(InputError, match="agree in no known unit"):
        find_unit(list(magnitude), list(turn * (turns % 1)), "phases")


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)])
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), masked=st.booleans(), name=st.sampled_from(sorted(STORED)))
def test_echoes_in_another_order_are_refused(order: tuple[int, ...], seed: int, masked: bool, name: str) -> None:
    magnitude, turns = echoes(seed)
    phase = STORED[name][1](turns)
    if masked:
        phase = np.where(magnitude > 20, phase, 0)
    with pytest.raises(InputError, match="in the order of their times"):
        find_unit([magnitude[echo] for echo in order], [phase[echo] for echo in order], "phases")


@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)])
def test_complex_echoes_in_another_order_are_refused(order: tuple[int, ...]) -> None:
    magnitude, turns = echoes()
    signal = (magnitude * np.exp(2j * np.pi * turns)).astype(np.complex64)
    with pytest.raises(InputError, match=r"^images: the echoes agree better in another order"):
        settle_in_phase(signal[[*order]], "images")


@settings(deadline=None, max_examples=20)
@given(degrees=st.integers(-90, 90), seed=st.integers(0, 999), backwards=st.booleans())
def test_an_offset_of_the_in_phase_echo_is_taken_off(degrees: int, seed: int, backwards: bool) -> None:
    """As of readouts in both directions; below 23 degrees it changes fat fractions by 4 points at most."""
    magnitude, turns = echoes(seed)
    right = (magnitude * np.exp(2j * np.pi * turns)).astype(np.complex64)
    right = right[::-1].copy() if backwards else right
    turned = right.copy()
    turned[1] *= np.exp(1j * np.deg2rad(degrees))
    settle_in_phase(turned, "images")
    body = magnitude.min(axis=0) > 20
    off = np.rad2deg(np.abs(np.angle((turned[1] * right[1].conj())[body] ** 2))).max() / 2
    assert off < 1 if abs(degrees) > 23 else off <= abs(degrees) + 1


def test_echoes_that_do_not_agree_as_they_are_read_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    magnitude, turns = echoes()
    settle_in_phase((magnitude * np.exp(2j * np.pi * turns)).astype(np.complex64), "images")
    assert not caplog.messages
    turns[1] *= -1  # one imaginary image with the other sign
    settle_in_phase((magnitude * np.exp(2j * np.pi * turns)).astype(np.complex64), "images")
    assert caplog.messages == [
        "images: the echoes hardly agree as their phases were read; look at the fat fraction image"
    ]
