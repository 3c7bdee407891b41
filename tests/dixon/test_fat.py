"""The fat model: its numbers, and what it refuses."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.dixon.fat import FAT_PPM, FAT_SHARES, LARMOR_MHZ, Excitation, FatModel, fat_phasor, spoiled_signal
from musclesense.errors import InputError


def test_peaks_are_the_whole_of_fat_and_start_together() -> None:
    assert FAT_PPM.shape == FAT_SHARES.shape == (6,)
    assert FAT_SHARES.sum() == pytest.approx(1)
    assert fat_phasor(0) == pytest.approx(1)


def test_main_peak_is_out_of_in_and_out_of_phase_at_the_echo_times() -> None:
    before, middle, after = (fat_phasor(time) for time in (3.45, 4.60, 5.75))
    assert before.real < -0.6 and after.real < -0.6
    assert middle.real > 0.5


@given(time=st.floats(0, 10), mhz=st.floats(120, 131))
def test_phasor_is_never_longer_than_fat_and_depends_on_cycles_alone(time: float, mhz: float) -> None:
    assert abs(fat_phasor(time, larmor_mhz=mhz)) <= 1 + 1e-12
    assert fat_phasor(time, larmor_mhz=mhz) == pytest.approx(fat_phasor(time * mhz / LARMOR_MHZ), abs=1e-9)


def test_gain_is_the_ratio_of_steady_states() -> None:
    def steady(t1: float, flip: float, tr: float) -> float:
        decay = np.exp(-tr / t1)
        return float((1 - decay) * np.sin(np.deg2rad(flip)) / (1 - decay * np.cos(np.deg2rad(flip))))

    for flip, tr in ((10, 125), (25, 125), (90, 500), (5, 20)):
        assert Excitation(flip, tr).fat_gain == pytest.approx(steady(371, flip, tr) / steady(1420, flip, tr))


def test_spoiled_gradient_echo_is_brightest_at_the_ernst_angle() -> None:
    flips = np.linspace(1, 90, 891)
    ernst = np.rad2deg(np.arccos(np.exp(-125 / 1420)))
    assert flips[spoiled_signal(flips, 125.0, 1420.0).argmax()] == pytest.approx(ernst, abs=0.1)


def test_gain_leaves_one_without_t1_weighting() -> None:
    assert Excitation(30, 1e6).fat_gain == pytest.approx(1)
    assert Excitation(0.01, 125).fat_gain == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Excitation(0, 125), "flip angle 0: must lie above 0"),
        (lambda: Excitation(180, 125), "flip angle 180"),
        (lambda: Excitation(float("nan"), 125), "flip angle nan"),
        (lambda: Excitation(10, 0), "repetition time 0: must be above 0"),
        (lambda: Excitation(10, float("inf")), "repetition time inf"),
        (lambda: FatModel(peaks=3), "fat peaks 3: no such model; give 1 or 6"),
        (lambda: FatModel(peaks=6, larmor_mhz=63.9), r"frequency 63\.9 MHz: not that of a 3 T scanner"),
        (lambda: FatModel(shift=(0.5, 11)), r"fat shift 11: farther than any scan's"),
        (lambda: FatModel(shift=(float("nan"), 0)), "fat shift nan"),
    ],
)
def test_what_is_no_model_is_refused(make: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()  # type: ignore[operator]


def described(**said: Any) -> FatModel:
    return FatModel.described(**said)


def test_a_model_is_put_together_from_what_is_said() -> None:
    assert described() == FatModel()
    assert described(fat_peaks=6) == FatModel(peaks=6)
    assert described(fat_shift=(0.3, 0.0)) == FatModel(shift=(0.3, 0.0))
    assert described(fat_peaks=6, larmor_mhz=123.2, flip_angle=10, tr=125) == FatModel(
        peaks=6, larmor_mhz=123.2, excitation=Excitation(10, 125)
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"flip_angle": 10}, "--flip-angle: goes with --tr"),
        ({"tr": 125}, "--tr: goes with --flip-angle"),
        ({"larmor_mhz": 123.2}, "--larmor-mhz: one fat peak"),
    ],
)
def test_half_of_what_belongs_together_is_refused(said: dict[str, float], words: str) -> None:
    with pytest.raises(InputError) as refused:
        described(**said)
    (line,) = refused.value.at_command_line
    assert words in line
