"""The phase of the B0 field between gradient echoes: unwrapped in each slice, whole turns settled limb by limb.

docs/concepts/dixon.md tells the steps, docs/reports what was measured on real scans.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.body import background_level
from musclesense.imaging.boxes import box_around, grown

Images = NDArray[np.float32]
Masks = NDArray[np.bool_]

_TURN = 2 * np.pi
_TINY = np.finfo(np.float32).tiny
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
# Voxels of air around the signal whose whole turns are settled as well.
_MARGIN = 2
# Centre frequencies that are tried, in turns of the doubled field phase; the scanner's own comes first.
_CENTRES = (0.0, 0.5, -0.5, 1.0)
# How much fattier the rims must become (part of the signal, summed over limbs) before the scanner's centre is left.
_CLEARLY_FATTIER = 0.4


class LimbField(NamedTuple):
    """What the field of a limb in one slice says of whole turns."""

    middle: float  # median of the doubled field phase in the limb, in turns
    rim_excess: float  # how much fattier the rim is than the core, as a part of the signal

    def whole_turns(self, centre: float) -> int:
        """The whole turns to take off so that the middle of the limb lies nearest to ``centre``."""
        return round(self.middle - centre)


class _LimbPatch(NamedTuple):
    """The connected voxels of a limb in one slice."""

    voxels: Masks
    field: LimbField


class _UnwrappedSlice(NamedTuple):
    """The part of a slice around the signal, before its whole turns are settled."""

    box: tuple[slice, slice]  # where that part lies in the slice
    turns: Images  # doubled field phase in turns, unwrapped within each patch, wrapped elsewhere
    patches: NDArray[np.int32]  # connected voxels amid signal, numbered from 1
    strength: Images  # magnitude of the outer echoes, which says how far the phase can be trusted
    limbs: tuple[_LimbPatch, ...]  # the patches whose whole turns are settled by themselves


def doubled_turns(
    magnitude: Images, strength: Images, wrapped: Images, difference: Images, *, centre: float
) -> tuple[Images, list[LimbField]]:
    """Unwrap the phase between the outer echoes of a slice, which is twice the field's between neighbouring ones.

    All arrays are (rows, columns).

    >>> limb = np.ones((16, 16), np.float32)
    >>> turns, limbs = doubled_turns(limb, limb, 0 * limb, limb, centre=0.0)
    >>> float(np.abs(turns).max()), len(limbs)
    (0.0, 1)

    Args:
        magnitude: In-phase magnitude.
        strength: Geometric mean of the outer echoes' magnitudes.
        wrapped: Phase between the outer echoes in turns, -0.5 to 0.5.
        difference: Water minus fat if no whole turn is missing; each whole turn changes its sign.
        centre: What the fields of limbs lie about, in turns: that of the scanner is 0.

    Returns:
        The phase in turns; far from all signal it stays wrapped. And the fields of the limbs, for `centre_frequency`.
    """
    part = _unwrap(magnitude, strength, wrapped, difference)
    turns = wrapped.copy()
    turns[part.box] = _settle(part, centre)
    return turns, [limb.field for limb in part.limbs]


def _unwrap(magnitude: Images, strength: Images, wrapped: Images, difference: Images) -> _UnwrappedSlice:
    from skimage.restoration import unwrap_phase  # takes longer to import than to segment a slice

    signal = _with_signal(magnitude)
    box = box_around(signal, _MARGIN)
    magnitude, strength, wrapped, difference = (image[box] for image in (magnitude, strength, wrapped, difference))
    signal = signal[box]
    # skimage joins voxels at the edge of a mask or image in a random order, which a seed does not fix in 0.26. What it
    # says of the voxels amid signal does not depend on that order, so only those are used.
    amid = ndimage.binary_erosion(signal, np.ones((3, 3)))
    patches, _ = ndimage.label(amid)
    if not amid.any():
        return _UnwrappedSlice(box, wrapped, patches, strength, ())
    # Phases of whole codes tie in its queue, and ties go by that order too, hence the tiny fixed disorder.
    radians = _TURN * wrapped.astype(np.float64) + 1e-9 * np.random.default_rng(0).random(wrapped.shape)
    unwrapped = unwrap_phase(np.ma.masked_array(radians, ~signal), rng=0).filled(0)
    missing = np.where(amid, np.round((unwrapped - radians) / _TURN), 0).astype(np.float32)
    turns, water_minus_fat = wrapped + missing, np.where(missing % 2 == 1, -difference, difference)
    limbs = tuple(_limb_patches(signal, patches, turns, water_minus_fat, magnitude))
    return _UnwrappedSlice(box, turns, patches, strength, limbs)


def _limb_patches(
    signal: Masks, patches: NDArray[np.int32], turns: Images, water_minus_fat: Images, magnitude: Images
) -> Iterator[_LimbPatch]:
    """Find the patches that are limbs: the largest patch within each large outline."""
    # What a limb encloses (marrow within cortical bone) is part of its filled outline, not a limb of its own.
    outlines, _ = ndimage.label(ndimage.binary_fill_holes(signal))
    areas = np.bincount(outlines[outlines > 0])
    for label, around in enumerate(ndimage.find_objects(outlines), start=1):
        inside = (outlines[around] == label) & (patches[around] > 0)
        if areas[label] < _LIMB * areas.max() or not inside.any():
            continue
        number = np.bincount(patches[around][inside]).argmax()
        middle = float(np.median(turns[around][patches[around] == number]))
        # A frame of no limb around it, but for the sides on which the slice ends.
        near = grown(around, 1, outlines.shape)
        excess = _rim_excess(outlines[near] == label, patches[near] == number, water_minus_fat[near], magnitude[near])
        yield _LimbPatch(patches == number, LimbField(middle, excess))


def _with_signal(magnitude: Images) -> Masks:
    if not magnitude.any():
        return magnitude > 0
    bright = float(np.percentile(magnitude[magnitude > 0], 99))
    noise = min(_ABOVE_NOISE * background_level(magnitude), bright / 2)
    signal: Masks = magnitude > max(_SIGNAL * bright, noise)
    return signal


def _settle(part: _UnwrappedSlice, centre: float) -> Images:
    """Settle the whole turns: of limbs about the centre, of all else by the field of the limbs around it."""
    if not part.limbs:
        return part.turns
    turns, known = part.turns.copy(), np.zeros(part.turns.shape, dtype=bool)
    for limb in part.limbs:
        turns[limb.voxels] -= limb.field.whole_turns(centre)
        known |= limb.voxels
    missing = _extend(turns, np.where(known, part.strength, 0)) - turns
    # Marrow and specks are shifted in one piece; edges and noise voxel by voxel.
    shift = np.where(known, 0, np.round(missing))
    patched = ~known & (part.patches > 0)
    if patched.any():
        numbers, patches = np.unique(part.patches[patched], return_inverse=True)
        shifts = np.round(ndimage.median(missing[patched], patches, np.arange(numbers.size)))
        shift[patched] = shifts[patches]
    return np.asarray(turns + shift, dtype=np.float32)


def _extend(values: Images, weights: Images) -> Images:
    """Give the weighted mean of the values nearby, and far from all weight that of the nearest place near it.

    Without any weight the values stay.
    """
    rows, columns = values.shape
    # The mean is so smooth that every second voxel tells it, at a quarter of the time.
    half, weights = values[::2, ::2], weights[::2, ::2]
    weight = ndimage.gaussian_filter(weights, _NEARBY / 2, mode="constant")
    if not weight.any():
        return values
    mean = ndimage.gaussian_filter(half * weights, _NEARBY / 2, mode="constant") / np.maximum(weight, _TINY)
    far = weight <= 1e-6 * weight.max()
    if far.any():
        nearest = ndimage.distance_transform_edt(far, return_distances=False, return_indices=True)
        mean = mean[tuple(nearest)]
    return np.asarray(mean.repeat(2, axis=0).repeat(2, axis=1)[:rows, :columns])


def _rim_excess(outline: Masks, voxels: Masks, water_minus_fat: Images, magnitude: Images) -> float:
    """Give the fat fraction of the rim less that of the core, -1..1; 0 where there is no outline to tell them by."""
    rim, core = rim_and_core(outline, voxels)
    if not rim.any() or not core.any():
        return 0.0
    rim_share, core_share = (water_minus_fat[part].sum() / magnitude[part].sum() for part in (rim, core))
    return float(core_share - rim_share) / 2


def rim_and_core(outline: Masks, voxels: Masks) -> tuple[Masks, Masks]:
    """Give those of ``voxels`` that lie a little below an outline, and those deep in it; none where it fills all."""
    if outline.all() or not outline.any():
        return np.zeros_like(voxels), np.zeros_like(voxels)
    box = box_around(outline)
    depth = np.zeros(outline.shape)
    depth[box] = ndimage.distance_transform_edt(outline[box])
    depth /= depth.max()
    return voxels & (depth > _RIM[0]) & (depth <= _RIM[1]), voxels & (depth > _CORE)


def centre_frequency(limbs: Sequence[LimbField]) -> float:
    """Choose the centre, in turns, about which the fields of all limbs of a scan lie.

    An odd number of turns swaps fat and water, so the excess of fat in the rims tells the centres apart.
    """
    excess = [sum(limb.rim_excess * (-1) ** limb.whole_turns(centre) for limb in limbs) for centre in _CENTRES]
    best = int(np.argmax(excess))
    return _CENTRES[best] if excess[best] - excess[0] > _CLEARLY_FATTIER else _CENTRES[0]
