"""The signal of fat: its spectrum, its relaxation, and how bright it is beside muscle."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import ArgumentError, InputError

LARMOR_MHZ = 127.74
"""Frequency of water at 3 T. Scanners called 3 T lie between 123.2 (2.89 T) and 128 MHz."""
# The echo times suit 3 T alone.
_LOWEST_MHZ, _HIGHEST_MHZ = 120.0, 131.0
_FARTHEST_VOXELS = 10.0

FAT_PPM = np.array([-3.80, -3.40, -2.60, -1.94, -0.39, 0.60])
FAT_SHARES = np.array([0.087, 0.693, 0.128, 0.004, 0.039, 0.049])
"""Chemical shift against water, and relative size, of the peaks of human fat
(Hamilton et al., NMR in Biomedicine 2011;24:784-790)."""

T1_MUSCLE_MS, T1_FAT_MS = 1420.0, 371.0
"""Longitudinal relaxation at 3 T (Gold et al., American Journal of Roentgenology 2004;183:343-351)."""


def fat_phasor(echo_time_ms: float, *, larmor_mhz: float = LARMOR_MHZ) -> complex:
    """Give the sum of the fat peaks at an echo time, relative to water on resonance; 1 at time 0.

    >>> round(abs(fat_phasor(0.0)), 3), round(abs(fat_phasor(4.6)), 3)
    (1.0, 0.557)
    """
    cycles = FAT_PPM * larmor_mhz * echo_time_ms / 1000
    return complex(FAT_SHARES @ np.exp(2j * np.pi * cycles))


def spoiled_signal(flip_degrees: float | NDArray[Any], tr_ms: float, t1_ms: float | NDArray[Any]) -> NDArray[Any]:
    """Give the steady state of a spoiled gradient echo: the transverse part of a magnetisation of 1.

    >>> round(float(spoiled_signal(10.0, tr_ms=125.0, t1_ms=T1_FAT_MS)), 3)
    0.167
    """
    flip = np.deg2rad(flip_degrees)
    # expm1 keeps its digits where TR is far below T1.
    return np.asarray(np.sin(flip) * -np.expm1(-tr_ms / t1_ms) / (1 - np.exp(-tr_ms / t1_ms) * np.cos(flip)))


@dataclass(frozen=True)
class Excitation:
    """How a spoiled gradient echo excites.

    >>> round(Excitation(flip_degrees=10.0, tr_ms=125.0).fat_gain, 2)
    1.12

    Raises:
        InputError: A value lies outside these ranges.
    """

    flip_degrees: float  # flip angle, above 0 and below 180
    tr_ms: float  # repetition time, above 0

    def __post_init__(self) -> None:
        if not 0 < self.flip_degrees < 180:
            raise InputError(f"flip angle {self.flip_degrees:g}: must lie above 0 and below 180; give it in degrees")
        if not 0 < self.tr_ms < np.inf:
            raise InputError(f"repetition time {self.tr_ms:g}: must be above 0; give it in milliseconds")

    @property
    def fat_gain(self) -> float:
        """Brightness of fat relative to muscle of the same density, in the steady state (1 without T1 weighting)."""
        fat, muscle = (spoiled_signal(self.flip_degrees, self.tr_ms, t1) for t1 in (T1_FAT_MS, T1_MUSCLE_MS))
        return float(fat / muscle)


@dataclass(frozen=True, kw_only=True)
class FatModel:
    """What a separation takes fat for.

    >>> FatModel(peaks=6, excitation=Excitation(flip_degrees=10.0, tr_ms=125.0)).larmor_mhz
    127.74

    Raises:
        InputError: There is no such model.
    """

    peaks: int = 1  # 1, as Glover and Schneider; or 6, the spectrum of human fat
    larmor_mhz: float = LARMOR_MHZ  # frequency of the scanner, which six peaks need
    excitation: Excitation | None = None
    """Where it is given, fat is scaled to the T1 weighting of muscle, so that the fat fraction is that of densities."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Voxels by which fat lies off along the first and the second axis of a slice: it is read out at another
    frequency than water, 434 Hz away at 3 T. It is moved back.
    """

    def __post_init__(self) -> None:
        if self.peaks not in (1, 6):
            raise InputError(f"fat peaks {self.peaks}: no such model; give 1 or 6")
        if not _LOWEST_MHZ <= self.larmor_mhz <= _HIGHEST_MHZ:
            raise InputError(
                f"frequency {self.larmor_mhz:g} MHz: not that of a 3 T scanner; "
                f"give {_LOWEST_MHZ:g} to {_HIGHEST_MHZ:g}, or leave it out"
            )
        for voxels in self.shift:
            if not abs(voxels) <= _FARTHEST_VOXELS:
                raise InputError(
                    f"fat shift {voxels:g}: farther than any scan's; give voxels within +-{_FARTHEST_VOXELS:g}, "
                    "434 Hz over the bandwidth of a pixel"
                )

    @classmethod
    def described(
        cls,
        *,
        fat_peaks: int = 1,
        larmor_mhz: float | None = None,
        flip_angle: float | None = None,
        tr: float | None = None,
        fat_shift: tuple[float, float] = (0.0, 0.0),
    ) -> "FatModel":
        """Put together what a user says; None where nothing is said.

        Raises:
            InputError: A value is useless without another, or there is no such model.
        """
        if (flip_angle is None) != (tr is None):
            given, missing = ("flip_angle", "tr") if tr is None else ("tr", "flip_angle")
            raise ArgumentError(
                f"{{{given}}}: goes with {{{missing}}}; give both or neither", **{given: "", missing: ""}
            )
        if larmor_mhz is not None and fat_peaks == 1:
            raise ArgumentError(
                "{larmor_mhz}: one fat peak does not depend on it; give {fat_peaks}, or leave it out",
                larmor_mhz="",
                fat_peaks="6",
            )
        excitation = None if flip_angle is None or tr is None else Excitation(flip_angle, tr)
        larmor_mhz = LARMOR_MHZ if larmor_mhz is None else larmor_mhz
        return cls(peaks=fat_peaks, larmor_mhz=larmor_mhz, excitation=excitation, shift=fat_shift)
