"""Fat from magnitudes alone, roughly, for scans whose phases were not kept: good enough for a look, not for a figure.

Out of phase, fat and water leave only the size of their difference. Its sign changes along the dark lines that an
out-of-phase image shows where fat meets muscle, so each slice is flooded from places whose sign is known of a limb: fat
below the skin and within bone, muscle deep inside. Where lines are broken the flood errs, which a picture shows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from musclesense.imaging.grid import body_mask

RIM_MM = (1.5, 3.5)
CORE = 0.45
"""Part of a limb's greatest depth beyond which nearly all is muscle or bone."""
BONE_MM2 = (25.0, 2500.0)


def approximate_fat(outer: NDArray[np.float32], in_phase: NDArray[np.float32], pixel_mm: float) -> NDArray[np.float32]:
    """Give the fat image of one slice.

    Args:
        outer: Geometric mean of the magnitudes at TE 3.45 and 5.75 ms, (rows, columns).
        in_phase: Magnitude at TE 4.60 ms.
        pixel_mm: Side of a pixel.
    """
    body = body_mask(in_phase)
    depth = pixel_mm * ndimage.distance_transform_edt(body)
    limbs, count = ndimage.label(body)
    deepest = np.concatenate([[1.0], ndimage.maximum(depth, limbs, np.arange(1, count + 1))])[limbs]
    bone = _within_bone(in_phase, body, pixel_mm) & (depth > RIM_MM[1])
    seeds = np.zeros(body.shape, np.int32)
    seeds[(depth > CORE * deepest) & ~ndimage.binary_dilation(bone, iterations=3) & body] = 2
    seeds[(depth > RIM_MM[0]) & (depth < np.minimum(RIM_MM[1], CORE * deepest))] = 1
    seeds[bone] = 1
    share = np.clip(outer / np.maximum(in_phase, 1e-6), 0, 1.2)
    height = 1 - ndimage.gaussian_filter(share, 0.5)
    fatty = watershed(height, seeds, mask=body) == 1
    difference = np.where(fatty, -outer, outer)
    return np.asarray((in_phase - difference) / 2 * (in_phase > 0), np.float32)


def _within_bone(in_phase: NDArray[np.float32], body: NDArray[np.bool_], pixel_mm: float) -> NDArray[np.bool_]:
    """Find marrow: what the dark ring of cortical bone closes in."""
    if not body.any():
        return body
    dark = body & (in_phase < 0.45 * np.median(in_phase[body]))
    islands, count = ndimage.label(ndimage.binary_opening(body & ~dark))
    sizes = pixel_mm**2 * ndimage.sum_labels(body, islands, np.arange(1, count + 1))
    return np.isin(islands, 1 + np.flatnonzero((sizes > BONE_MM2[0]) & (sizes < BONE_MM2[1])))
