"""One scan stored otherwise: its axes in another order, its voxels of another size, a part of it."""

import itertools
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

STORED = ["".join(c) for codes in itertools.product("RL", "AP", "SI") for c in itertools.permutations(codes)]
"""All orders of axes."""
Image = tuple[NDArray[Any], NDArray[np.float64]]
"""An array and its affine."""


def stored_as(image: Image, codes: str) -> Image:
    """Store the same voxels with the axes that ``codes`` names."""
    data, affine = image
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    return nib.orientations.apply_orientation(data, turn), affine @ nib.orientations.inv_ornt_aff(turn, data.shape)


def resampled(image: Image, zoom: Sequence[float]) -> Image:
    """Give the same field of view in voxels so many times as large, smoothed first where they are larger."""
    data, affine = image
    shape = np.round(data.shape / np.array(zoom)).astype(int)
    step = np.array(data.shape) / shape
    start = (step - 1) / 2
    smooth = ndimage.gaussian_filter(data, np.maximum(0, start))
    there = np.block([[np.diag(step), start[:, None]], [np.zeros(3), 1]])
    made = ndimage.affine_transform(smooth, step, start, output_shape=tuple(shape), order=1, mode="nearest")
    return made, affine @ there


def brought_back(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Bring a mask in voxels of another size back to a field of view of this shape."""
    step = np.array(mask.shape) / shape
    values = mask.astype(np.float32)
    brought = ndimage.affine_transform(values, step, (step - 1) / 2, output_shape=shape, order=1, mode="nearest")
    return np.asarray(brought > 0.5)


def part_of(image: Image, first: int, last: int) -> Image:
    """Give the voxels of the first axis from one to before another, which stay where they lie."""
    data, affine = image
    moved = affine.copy()
    moved[:3, 3] += first * affine[:3, 0]
    return data[first:last], moved
