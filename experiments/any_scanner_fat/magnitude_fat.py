"""Fat from magnitudes alone, roughly, for scans whose phases were not kept: good enough for a look, not for a figure.

Out of phase, fat and water leave only the size of their difference. Its sign changes along the dark lines that an
out-of-phase image shows where fat meets muscle, so each slice is flooded from places whose sign is known: fat below the
skin and within bone, muscle deep inside, and what the neighbour nearer to the middle of the stack shows there.
Where lines are broken the flood errs, which a picture shows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from musclesense.imaging.body import body_mask

FAT, WATER = 1, 2
RIM_MM = (1.5, 3.5)
CORE = 0.45
"""Part of a limb's greatest depth beyond which nearly all is muscle or bone."""
NEAR_BONE_MM = 3.0
BONE_MM2 = (12.0, 2500.0)
MARROW_SHARE, MARROW_DECAY = 0.92, 0.91
"""Least part of the signal that is left out of phase, and greatest that is left 2.3 ms later."""
MARROW_BLUR_MM = 2.0
KEPT_MM, KEPT_MARROW_MM = 6.0, 2.0
"""How deep within fat or water of the slice before, and within fat of its core, the next slice has the same."""


def approximate_fat(echoes: Sequence[Sequence[NDArray[np.float32]]], pixel_mm: float) -> list[NDArray[np.float32]]:
    """Give the fat images of the slices of a stack.

    Args:
        echoes: Magnitudes at TE 3.45, 4.60 and 5.75 ms: of each slice, in their order along the limb, (rows, columns).
        pixel_mm: Side of a pixel.
    """
    count = len(echoes[0])
    tissues: dict[int, NDArray[np.int32]] = {}
    for number in sorted(range(count), key=lambda one: abs(one - count // 2)):
        before = tissues.get(number - int(np.sign(number - count // 2)))
        first, in_phase, last = (echo[number] for echo in echoes)
        tissues[number] = _flood(first, in_phase, last, before, pixel_mm)
    slices = enumerate(zip(*echoes, strict=True))
    return [_fat(first, in_phase, last, tissues[number]) for number, (first, in_phase, last) in slices]


def _fat(
    first: NDArray[np.float32], in_phase: NDArray[np.float32], last: NDArray[np.float32], tissue: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Take water minus fat, whose size is the geometric mean of the outer echoes, from their sum."""
    outer = np.sqrt(first * last)
    return np.asarray((in_phase - np.where(tissue == FAT, -outer, outer)) / 2 * (in_phase > 0), np.float32)


def _flood(
    first: NDArray[np.float32],
    in_phase: NDArray[np.float32],
    last: NDArray[np.float32],
    before: NDArray[np.int32] | None,
    pixel_mm: float,
) -> NDArray[np.int32]:
    """Part a slice into FAT and WATER."""
    body = body_mask(in_phase)
    depth = _depth(body, pixel_mm)
    limbs, count = ndimage.label(body)
    deepest = np.concatenate([[1.0], ndimage.maximum(depth, limbs, np.arange(1, count + 1))])[limbs]
    core = body & (depth > CORE * deepest)
    bone = _within_cortex(in_phase, body, pixel_mm) | _trabecular(first, in_phase, last, body, pixel_mm)
    bone &= depth > RIM_MM[1]
    rim = (depth > RIM_MM[0]) & (depth < np.minimum(RIM_MM[1], CORE * deepest))
    fat, water = bone | rim, core
    if before is not None:
        within_fat, within_water = (_depth(before == tissue, pixel_mm) for tissue in (FAT, WATER))
        fat = fat | (body & (within_fat > KEPT_MM)) | (core & (within_fat > KEPT_MARROW_MM))
        water = water | (body & (within_water > KEPT_MM))
    seeds = np.where(water & (_depth(~bone, pixel_mm) > NEAR_BONE_MM), WATER, 0)
    seeds[fat] = FAT
    share = np.clip(np.sqrt(first * last) / np.maximum(in_phase, 1e-6), 0, 1.2)
    flooded = watershed(1 - ndimage.gaussian_filter(share, 0.5), seeds, mask=body)
    return np.asarray(flooded, np.int32)


def _depth(mask: NDArray[np.bool_], pixel_mm: float) -> NDArray[np.float64]:
    return np.asarray(pixel_mm * ndimage.distance_transform_edt(mask))


def _within_cortex(in_phase: NDArray[np.float32], body: NDArray[np.bool_], pixel_mm: float) -> NDArray[np.bool_]:
    """Find the marrow of shafts: what a dark ring of cortical bone closes in."""
    if not body.any():
        return body
    dark = body & (in_phase < 0.45 * np.median(in_phase[body]))
    return _islands(ndimage.binary_opening(body & ~dark), BONE_MM2[0], BONE_MM2[1], pixel_mm)


def _trabecular(
    first: NDArray[np.float32],
    in_phase: NDArray[np.float32],
    last: NDArray[np.float32],
    body: NDArray[np.bool_],
    pixel_mm: float,
) -> NDArray[np.bool_]:
    """Find the marrow near joints, where cortex is thin.

    The lesser peaks of fat dephase while its main peak is in phase with water, so that pure fat is as bright out of
    phase; infiltrated muscle is darker. Blood is bright, too, but does not decay as fast as marrow between trabeculae.
    """
    early, middle, late = (
        ndimage.gaussian_filter(echo * body, MARROW_BLUR_MM / pixel_mm) for echo in (first, in_phase, last)
    )
    marrow = body & (np.sqrt(early * late) > MARROW_SHARE * middle) & (late < MARROW_DECAY * early)
    return _islands(ndimage.binary_opening(marrow), BONE_MM2[0], np.inf, pixel_mm)


def _islands(mask: NDArray[np.bool_], least: float, most: float, pixel_mm: float) -> NDArray[np.bool_]:
    """Keep the connected parts of a mask whose area in mm2 lies within bounds."""
    islands, count = ndimage.label(mask)
    sizes = pixel_mm**2 * ndimage.sum_labels(mask, islands, np.arange(1, count + 1))
    return np.isin(islands, 1 + np.flatnonzero((sizes > least) & (sizes < most)))
