"""Fat and water from three gradient echoes: three-point Dixon separation, and the reading of its images.

Method: G. H. Glover, E. Schneider, Three-point Dixon technique for true water/fat decomposition with B0 inhomogeneity
correction, Magn Reson Med 18 (1991) 371-383, doi:10.1002/mrm.1910180211. How the sign is found, and what was measured
on real scans, is told in docs/dixon.md.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.restoration import unwrap_phase

from musclesense.errors import InputError
from musclesense.files import atomic_path
from musclesense.imaging.grid import background_level, slice_axis
from musclesense.imaging.nifti import Geometry, read_volume, write_volume

# At 3 T fat turns by very nearly -pi, 0 and +pi against water between these echoes.
ECHO_TIMES_MS = (3.45, 4.60, 5.75)

_TURN = 2 * np.pi
_TINY = np.finfo(np.float64).tiny
# A voxel has signal where its in-phase magnitude exceeds this part of the slice's brightest percentile, and so many
# times the median of the air around: noise that joined two limbs would join their whole turns at random.
_SIGNAL = 0.05
_ABOVE_NOISE = 3.5
# A patch of signal is a limb, not a speck, from this part of the largest patch's area on.
_LIMB = 0.1
# The rim and the core of a limb, as parts of its greatest depth below the outline; the skin lies above the rim.
_RIM = (0.05, 0.25)
_CORE = 0.4
# Standard deviation, in voxels, of the neighbourhood whose field marrow, specks and noise follow.
_NEARBY = 6.0
# Centre frequencies that are tried, in turns of the doubled field phase; the scanner's own comes first.
_CENTRES = (0.0, 0.5, -0.5, 1.0)
# How much fattier the rims must become (part of the signal, summed over limbs) before the scanner's centre is left.
_CLEARLY_FATTIER = 0.4


class PhaseUnit(StrEnum):
    """How a phase image stores an angle."""

    AUTO = "auto"
    RADIANS = "radians"
    MILLIRADIANS = "milliradians"
    TWELVE_BIT = "12bit"
    """Whole numbers 0..4095 for 0..2 pi."""
    SIGNED_TWELVE_BIT = "signed-12bit"
    """Whole numbers -4096..4095 for -pi..pi: 12 bits after slope 2 and intercept -4096."""


_RADIANS_PER = {
    PhaseUnit.RADIANS: 1.0,
    PhaseUnit.MILLIRADIANS: 1e-3,
    PhaseUnit.TWELVE_BIT: 2 * np.pi / 4096,
    PhaseUnit.SIGNED_TWELVE_BIT: np.pi / 4096,
}


@dataclass(frozen=True, eq=False)
class Separation:
    """Fat and water of three echoes.

    Attributes:
        fat: Float32, (i, j, k), in the unit of the magnitudes, at TE 4.60 ms. Noise makes it slightly negative where
            there is no fat, so that means over regions stay true and fat + water is the in-phase magnitude.
        water: Likewise.
        field_phase: Float32, (i, j, k), radians that the field turned water by between two echoes (1.15 ms), unwrapped.
    """

    fat: NDArray[np.float32]
    water: NDArray[np.float32]
    field_phase: NDArray[np.float32]

    @property
    def fat_fraction(self) -> NDArray[np.float32]:
        """Fat fraction in percent, 0..100; 0 where there is no signal."""
        return fat_fraction(self.fat, self.water)


def fat_fraction(fat: NDArray[np.floating[Any]], water: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Give 100 F / (F + W) in percent, clipped to 0..100; 0 where F + W is not positive."""
    total = fat + water
    share = np.divide(fat, total, out=np.zeros(total.shape, dtype=np.float32), where=total > 0, casting="same_kind")
    percent: NDArray[np.float32] = np.clip(100 * share, 0, 100)
    return percent


def separate(echoes: NDArray[np.complexfloating[Any, Any]], *, slice_axis: int = 2) -> Separation:
    """Separate fat and water by the three-point Dixon method of Glover and Schneider (1991).

    The phase between the outer echoes is twice the field's, known up to whole turns. It is unwrapped in each slice, and
    the whole turns of each limb are chosen nearest to the scanner's centre frequency, unless the limbs then come out
    inside out (water under the skin, fat within). T2* is taken care of by the geometric mean of the outer echoes.

    Args:
        echoes: Complex, (3, i, j, k), at ``ECHO_TIMES_MS``. Phases may turn either way, and share any offset.
        slice_axis: The axis among i, j, k across which slices lie.

    Returns:
        Fat and water, (i, j, k).

    Raises:
        ValueError: The echoes are not of shape (3, i, j, k).
    """
    if echoes.ndim != 4 or echoes.shape[0] != 3:
        raise ValueError(f"echoes must have shape (3, i, j, k), got {echoes.shape}")
    before, in_phase, after = np.moveaxis(echoes, slice_axis + 1, 1)
    field_phase = _field_phase(before, in_phase, after)
    magnitude = np.abs(in_phase)
    difference = _water_minus_fat(before, in_phase, after, field_phase)
    fat, water = (magnitude - difference) / 2, (magnitude + difference) / 2
    return Separation(*(np.moveaxis(part.astype(np.float32), 0, slice_axis) for part in (fat, water, field_phase)))


def _water_minus_fat(
    before: NDArray[Any], in_phase: NDArray[Any], after: NDArray[Any], field_phase: NDArray[Any]
) -> NDArray[Any]:
    """Take the part of the outer echoes that lies along the in-phase echo once the field's turn is undone."""
    turned = before * np.exp(1j * field_phase) * in_phase.conj()
    difference: NDArray[Any] = np.sqrt(np.abs(before) * np.abs(after)) * np.cos(np.angle(turned))
    return difference


@dataclass(frozen=True, eq=False)
class _Limb:
    """A limb in one slice: its voxels, the middle of its doubled field in turns, and how much fattier its rim is."""

    voxels: NDArray[np.bool_]
    middle: float
    rim_excess: float

    def whole_turns(self, centre: float) -> int:
        """The whole turns to take off so that the middle of the limb lies nearest to ``centre``."""
        return round(self.middle - centre)


@dataclass(frozen=True, eq=False)
class _Slice:
    """A slice before its whole turns are settled.

    Attributes:
        turns: Doubled field phase in turns, unwrapped within each patch, wrapped elsewhere.
        patches: Connected voxels amid signal, numbered from 1.
        strength: Magnitude of the outer echoes, which says how far the phase can be trusted.
        limbs: The patches whose whole turns are settled by themselves.
    """

    turns: NDArray[np.float64]
    patches: NDArray[np.int32]
    strength: NDArray[np.float64]
    limbs: tuple[_Limb, ...]


def _field_phase(before: NDArray[Any], in_phase: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float64]:
    """Unwrap the field's phase between two echoes; all arrays (slices, rows, columns)."""
    slices = [_unwrap(*echoes) for echoes in zip(before, in_phase, after, strict=True)]
    centre = _centre_frequency([limb for part in slices for limb in part.limbs])
    return _TURN / 2 * np.stack([_settle(part, centre) for part in slices])


def _unwrap(before: NDArray[Any], in_phase: NDArray[Any], after: NDArray[Any]) -> _Slice:
    magnitude, strength = np.abs(in_phase), np.sqrt(np.abs(before) * np.abs(after)).astype(np.float64)
    wrapped = np.angle(after * before.conj()).astype(np.float64)
    signal = _with_signal(magnitude)
    # skimage joins voxels at the edge of a mask or image in a random order, which a seed does not fix in 0.26. What it
    # says of the voxels amid signal does not depend on that order, so only those are used.
    amid = ndimage.binary_erosion(signal, np.ones((3, 3)))
    patches, _ = ndimage.label(amid)
    if not amid.any():
        return _Slice(wrapped / _TURN, patches, strength, ())
    # Phases of whole codes tie in its queue, and ties go by that order too, hence the tiny fixed disorder.
    disorder = 1e-9 * np.random.default_rng(0).random(wrapped.shape)
    unwrapped = unwrap_phase(np.ma.masked_array(wrapped + disorder, ~signal), rng=0).filled(0)
    turns = wrapped / _TURN + np.where(amid, np.round((unwrapped - wrapped) / _TURN), 0)
    water_minus_fat = _water_minus_fat(before, in_phase, after, np.pi * turns)
    # What a limb encloses (marrow within cortical bone) is part of its filled outline, not a limb of its own.
    outlines, _ = ndimage.label(ndimage.binary_fill_holes(signal))
    areas = np.bincount(outlines[outlines > 0])
    limbs = []
    for label in np.flatnonzero(areas >= _LIMB * areas.max()):
        outline = outlines == label
        if not (outline & amid).any():
            continue
        voxels = patches == np.bincount(patches[outline & amid]).argmax()
        excess = _rim_excess(outline, voxels, water_minus_fat, magnitude)
        limbs.append(_Limb(voxels, float(np.median(turns[voxels])), excess))
    return _Slice(turns, patches, strength, tuple(limbs))


def _with_signal(magnitude: NDArray[Any]) -> NDArray[np.bool_]:
    if not magnitude.any():
        return magnitude > 0
    bright = np.percentile(magnitude[magnitude > 0], 99)
    noise = min(_ABOVE_NOISE * background_level(magnitude), bright / 2)
    signal: NDArray[np.bool_] = magnitude > max(_SIGNAL * bright, noise)
    return signal


def _settle(part: _Slice, centre: float) -> NDArray[np.float64]:
    """Settle the whole turns: of limbs about the centre, of all else by the field of the limbs around it."""
    if not part.limbs:
        return part.turns
    turns, known = part.turns.copy(), np.zeros(part.turns.shape, dtype=bool)
    for limb in part.limbs:
        turns[limb.voxels] -= limb.whole_turns(centre)
        known |= limb.voxels
    expected = _extend(turns, np.where(known, part.strength, 0))
    # Marrow and specks are shifted in one piece; edges and noise voxel by voxel.
    numbers = np.arange(1, part.patches.max() + 1)
    shifts = np.round(ndimage.median(expected - turns, part.patches, numbers))
    shift = np.where(part.patches > 0, np.concatenate([[0.0], shifts])[part.patches], np.round(expected - turns))
    settled: NDArray[np.float64] = np.where(known, turns, turns + shift)
    return settled


def _extend(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the weighted mean of the values nearby, and far from all weight that of the nearest place near it."""
    weight = ndimage.gaussian_filter(weights, _NEARBY, mode="constant")
    mean = ndimage.gaussian_filter(values * weights, _NEARBY, mode="constant") / np.maximum(weight, _TINY)
    far = weight <= 1e-6 * weight.max()
    nearest = ndimage.distance_transform_edt(far, return_distances=False, return_indices=True)
    extended: NDArray[np.float64] = mean[tuple(nearest)]
    return extended


def _rim_excess(
    outline: NDArray[np.bool_], voxels: NDArray[np.bool_], water_minus_fat: NDArray[Any], magnitude: NDArray[Any]
) -> float:
    """Give the fat fraction of the rim less that of the core, -1..1; 0 where there is no outline to tell them by."""
    if outline.all():
        return 0.0
    depth = ndimage.distance_transform_edt(outline)
    depth /= depth.max()
    rim = voxels & (depth > _RIM[0]) & (depth <= _RIM[1])
    core = voxels & (depth > _CORE)
    if not rim.any() or not core.any():
        return 0.0
    rim_share, core_share = (water_minus_fat[part].sum() / magnitude[part].sum() for part in (rim, core))
    return float(core_share - rim_share) / 2


def _centre_frequency(limbs: Sequence[_Limb]) -> float:
    """Choose the centre, in turns, about which the limbs' fields lie.

    An odd number of turns swaps fat and water, so the excess of fat in the rims tells the centres apart.
    """
    excess = [sum(limb.rim_excess * (-1) ** limb.whole_turns(centre) for limb in limbs) for centre in _CENTRES]
    best = int(np.argmax(excess))
    return _CENTRES[best] if excess[best] - excess[0] > _CLEARLY_FATTIER else _CENTRES[0]


def detect_phase_unit(phase: NDArray[Any]) -> PhaseUnit:
    """Find the unit of a phase image from its values.

    Whole numbers 0..4095 and -4096..4095 are 12-bit codes; otherwise values within 2 pi are radians, and values within
    2000 pi that reach beyond 1000 are milliradians. Background of phase 0 does no harm.

    Raises:
        InputError: The values are constant, not finite, or fit no unit.
    """
    if not np.isfinite(phase).all():
        raise InputError("phase holds NaN or infinity; export the phase image again")
    low, high = float(phase.min(initial=0)), float(phase.max(initial=0))
    if phase.size == 0 or low == high == 0 or float(phase.min()) == high:
        raise InputError(f"phase is {high:g} everywhere; give the phase image of the echo")
    largest = max(-low, high)
    whole = bool((phase == np.round(phase)).all())
    if whole and low >= 0 and 1000 < high <= 4096:
        return PhaseUnit.TWELVE_BIT
    # Milliradians of one turn end at 3142, so whole numbers that reach 4096 and stop there are codes.
    if whole and low < 0 and 3200 < largest <= 4096:
        return PhaseUnit.SIGNED_TWELVE_BIT
    if not whole and largest <= 2.02 * np.pi:
        return PhaseUnit.RADIANS
    if 1000 < largest <= 2020 * np.pi:
        return PhaseUnit.MILLIRADIANS
    raise InputError(
        f"phase from {low:g} to {high:g} fits no known unit; give the phase image, or say its unit with --phase-unit"
    )


def to_radians(phase: NDArray[Any], unit: PhaseUnit) -> NDArray[np.float32]:
    """Turn stored phase into radians (shifted by pi for ``SIGNED_TWELVE_BIT`` against ``TWELVE_BIT``).

    Raises:
        InputError: The unit is ``AUTO`` and cannot be found.
    """
    if unit is PhaseUnit.AUTO:
        unit = detect_phase_unit(phase)
    return (phase * _RADIANS_PER[unit]).astype(np.float32)


def read_echoes(
    pairs: Sequence[tuple[Path, Path]], *, phase_unit: PhaseUnit = PhaseUnit.AUTO
) -> tuple[NDArray[np.complex64], Geometry]:
    """Read the (magnitude, phase) files of the three echoes, in the order of ``ECHO_TIMES_MS``.

    Returns:
        Complex signal, (3, i, j, k), and the geometry of the in-phase magnitude.

    Raises:
        InputError: A file cannot be read, lies elsewhere than the others, is given twice, or holds no magnitude or
            phase; one line for each problem.
    """
    if len(pairs) != 3:
        raise ValueError(f"pairs must be three, got {len(pairs)}")
    paths = [path for pair in pairs for path in pair]
    problems = [
        f"{path}: given twice; name six different files" for path in dict.fromkeys(paths) if paths.count(path) > 1
    ]
    if problems:
        raise InputError(*problems)
    magnitudes = [read_volume(magnitude) for magnitude, _ in pairs]
    phases = [read_volume(phase) for _, phase in pairs]
    geometry = magnitudes[1].geometry
    for path, volume in zip(paths, [v for pair in zip(magnitudes, phases, strict=True) for v in pair], strict=True):
        if difference := geometry.difference(volume.geometry):
            problems.append(f"{path}: {difference} of {paths[2]}; give six images of one acquisition")
        elif not np.isfinite(volume.data).all():
            problems.append(f"{path}: holds NaN or infinity; export the image again")
    if problems:
        raise InputError(*problems)
    for (path, _), volume in zip(pairs, magnitudes, strict=True):
        if volume.data.min() < 0:
            problems.append(
                f"{path}: holds {volume.data.min():g}, no magnitude is negative; give magnitude, then phase"
            )
        elif not volume.data.any():
            problems.append(f"{path}: is 0 everywhere; give the magnitude image of the echo")
    if problems:
        raise InputError(*problems)
    # One unit for all three: an echo whose phase happens to stay small would be taken for another.
    stored = np.stack([volume.data for volume in phases])
    try:
        angles = to_radians(stored, phase_unit)
    except InputError as error:
        raise InputError(f"{', '.join(str(path) for _, path in pairs)}: {error}") from error
    magnitude = np.stack([volume.data for volume in magnitudes]).astype(np.float32)
    return (magnitude * np.exp(1j * angles)).astype(np.complex64), geometry


def separate_files(
    te345: tuple[Path, Path],
    te460: tuple[Path, Path],
    te575: tuple[Path, Path],
    *,
    out: Path,
    phase_unit: PhaseUnit = PhaseUnit.AUTO,
) -> None:
    """Write ``fat.nii.gz``, ``water.nii.gz`` and ``fat_fraction.nii.gz`` (percent) of three echoes into ``out``.

    Args:
        te345: Magnitude and phase at TE 3.45 ms.
        te460: Magnitude and phase at TE 4.60 ms; the results lie in its voxels.
        te575: Magnitude and phase at TE 5.75 ms.
        out: Folder, made where it is missing.
        phase_unit: How the phase images store angles.

    Raises:
        InputError: An image cannot be used, ``out`` cannot be written or holds such files (they may be the scanner's
            own); then nothing is written.
    """
    for name in ("fat", "water", "fat_fraction"):
        if (there := out / f"{name}.nii.gz").exists():
            raise InputError(f"{there}: is there already; give another folder, or remove it")
    echoes, geometry = read_echoes((te345, te460, te575), phase_unit=phase_unit)
    parts = separate(echoes, slice_axis=slice_axis(geometry))
    images = {"fat": parts.fat, "water": parts.water, "fat_fraction": parts.fat_fraction}
    with ExitStack() as drafts:
        # The drafts move to their places together, after the last one is whole.
        for name, data in images.items():
            draft = drafts.enter_context(atomic_path(out / f"{name}.nii.gz"))
            write_volume(draft, data, geometry, np.float32)
