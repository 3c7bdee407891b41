"""Fat and water from three gradient echoes: three-point Dixon separation, and the reading of its images.

Method: G. H. Glover, E. Schneider, Three-point Dixon technique for true water/fat decomposition with B0 inhomogeneity
correction, Magn Reson Med 18 (1991) 371-383, doi:10.1002/mrm.1910180211. docs/concepts/dixon.md says how
the sign is found, docs/reports what was measured on real scans.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.dixon.fat import FatModel
from musclesense.dixon.field import LimbField, centre_frequency, doubled_turns
from musclesense.dixon.spectrum import fit_spectrum
from musclesense.vocabulary import Echo

# At 3 T fat turns by very nearly -pi, 0 and +pi against water between these echoes.
ECHO_TIMES_MS = (Echo.TE345.time_ms, Echo.TE460.time_ms, Echo.TE575.time_ms)
ONE_PEAK = FatModel()
"""As Glover and Schneider, and as the paper."""


@dataclass(frozen=True, eq=False)
class Separation:
    """Fat and water of three echoes."""

    fat: NDArray[np.float32]
    """Float32, (i, j, k), in the unit of the magnitudes, at TE 4.60 ms. Noise makes it slightly negative where
    there is no fat, so that means over regions stay true. With one fat peak, left where it lies, fat + water is the
    in-phase magnitude; with six it exceeds that in fat, whose peaks partly cancel at TE 4.60 ms.
    """
    water: NDArray[np.float32]  # in the same unit, at the same echo time
    field_phase: NDArray[np.float32]
    """Float32, (i, j, k), radians that the field turned water by between two echoes (1.15 ms), unwrapped; smoothed
    with six fat peaks.
    """

    @property
    def fat_fraction(self) -> NDArray[np.float32]:
        """Fat fraction in percent, 0..100; 0 where there is no signal."""
        return fat_fraction(self.fat, self.water)


def fat_fraction(fat: NDArray[np.floating[Any]], water: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Give 100 F / (F + W) in percent, clipped to 0..100; 0 where F + W is not positive.

    >>> fat_fraction(np.array([25.0, 0.0]), np.array([75.0, 0.0])).tolist()
    [25.0, 0.0]
    """
    total = fat + water
    share = np.divide(fat, total, out=np.zeros(total.shape, dtype=np.float32), where=total > 0, casting="same_kind")
    percent: NDArray[np.float32] = np.clip(100 * share, 0, 100)
    return percent


def separate(
    echoes: NDArray[np.complexfloating[Any, Any]], *, slice_axis: int = 2, model: FatModel = ONE_PEAK
) -> Separation:
    """Separate fat and water by the three-point Dixon method of Glover and Schneider (1991).

    The phase between the outer echoes is twice the field's, known up to whole turns. It is unwrapped in each slice, and
    the whole turns of each limb are chosen nearest to the scanner's centre frequency, unless the limbs then come out
    inside out (water under the skin, fat within). T2* is taken care of by the geometric mean of the outer echoes.

    With six peaks, that is the start of a least-squares fit of the spectrum of human fat to the three complex echoes.
    Fat and water are then densities times what relaxation leaves of them, no longer parts of the in-phase magnitude.

    >>> water, fat = np.full((16, 16, 1), 80.0), np.full((16, 16, 1), 20.0)
    >>> parts = separate(np.stack([water - fat, water + fat, water - fat]).astype(np.complex64))
    >>> float(parts.fat[8, 8, 0].round()), float(parts.fat_fraction[8, 8, 0].round())
    (20.0, 20.0)

    Args:
        echoes: Complex, (3, i, j, k), at ``ECHO_TIMES_MS``. Phases may turn either way, and share any offset.
        slice_axis: The axis among i, j, k across which slices lie.
        model: What fat is taken for.

    Returns:
        Fat and water, (i, j, k).

    Raises:
        ValueError: The echoes are not of shape (3, i, j, k).
    """
    if echoes.ndim != 4 or echoes.shape[0] != 3:
        raise ValueError(f"echoes must have shape (3, i, j, k), got {echoes.shape}")
    planes = np.moveaxis(echoes, slice_axis + 1, 1)
    fat, water, field_phase = parts = np.empty((3, *planes.shape[1:]), dtype=np.float32)
    centre = centre_frequency(_separate_slices(planes, parts, centre=0.0))
    if centre:
        _separate_slices(planes, parts, centre=centre)
    if model.peaks != 1:
        before, in_phase, after = planes.astype(np.complex64, copy=False)
        fat, water, field_phase = fit_spectrum(
            (before, in_phase, after), ECHO_TIMES_MS, field_phase, larmor_mhz=model.larmor_mhz
        )
    if model.excitation is not None:
        fat /= np.float32(model.excitation.fat_gain)
    if any(model.shift):
        back = [-voxels for voxels in model.shift]
        for image in fat:
            image[:] = ndimage.shift(image, back, order=3, mode="nearest")
    return Separation(*(np.moveaxis(part, 0, slice_axis) for part in (fat, water, field_phase)))


def _separate_slices(
    planes: NDArray[np.complexfloating[Any, Any]], parts: NDArray[np.float32], *, centre: float
) -> list[LimbField]:
    """Separate slice by slice, since whole volumes take much memory.

    Args:
        planes: Echoes, (3, slices, rows, columns).
        parts: Where fat, water and the field's phase go, of the same shape.
        centre: What the fields of limbs lie about, in turns.

    Returns:
        The fields of the limbs of all slices.
    """
    limbs = []
    for number in range(planes.shape[1]):
        before, in_phase, after = planes[:, number].astype(np.complex64, copy=False)
        magnitude, strength = np.abs(in_phase), np.sqrt(np.abs(before)) * np.sqrt(np.abs(after))
        wrapped = np.angle(after * before.conj()) / np.float32(2 * np.pi)
        # The part of the outer echoes that lies along the in-phase echo once the field's turn is undone.
        difference = strength * np.cos(np.angle(before * in_phase.conj()) + np.float32(np.pi) * wrapped)
        turns, found = doubled_turns(magnitude, strength, wrapped, difference, centre=centre)
        limbs += found
        difference[np.round(turns - wrapped) % 2 == 1] *= -1
        parts[:, number] = (magnitude - difference) / 2, (magnitude + difference) / 2, np.float32(np.pi) * turns
    return limbs
