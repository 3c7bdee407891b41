"""Which limb is which: a slice of both limbs parted where the body is thinnest between them."""

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.imaging.grid import Placement, body_mask

# One limb is about as wide as deep; two side by side are at least half as wide again.
_TWO_LIMBS_ASPECT = 1.4
_MIDDLE = (0.3, 0.7)


class Limb(StrEnum):
    """A limb of the subject; left and right are the subject's own."""

    RIGHT = "right"
    LEFT = "left"


def split_limbs(image: NDArray[Any], placement: Placement) -> dict[Limb, NDArray[np.bool_]]:
    """Part a native slice that shows both limbs.

    The cut is the column, in the middle part of the body, that crosses least of it; the middle of a gap.

    Args:
        image: Native 2-D slice in which the body is found: any magnitude image.
        placement: Where the grid lies on it: it knows the subject's right.

    Returns:
        For each limb the half of the slice in which it lies, of the shape of ``image``.
    """
    right_to_left = 0 if placement.transposed else 1
    body = body_mask(image)
    profile = body.sum(axis=1 - right_to_left)
    if placement.step[1] < 0:
        profile = profile[::-1]
    cut = _cut(profile)
    position = np.arange(len(profile))
    if placement.step[1] < 0:
        position = position[::-1]
    on_right = np.broadcast_to(
        (position < cut)[:, None] if right_to_left == 0 else (position < cut)[None, :], image.shape
    )
    return {Limb.RIGHT: on_right, Limb.LEFT: ~on_right}


def shows_two(image: NDArray[Any], spacing_mm: tuple[float, float]) -> bool:
    """Tell by the outline of the body whether a slice shows two limbs side by side, on the grid's axes.

    Args:
        image: Slice on the grid, (rows, columns).
        spacing_mm: Size of a pixel along rows and columns.
    """
    body = body_mask(image)
    if not body.any():
        return False
    rows, columns = (np.flatnonzero(body.any(axis=axis)) for axis in (1, 0))
    return bool(np.ptp(columns) * spacing_mm[1] > _TWO_LIMBS_ASPECT * np.ptp(rows) * spacing_mm[0])


def _cut(profile: NDArray[np.integer[Any]]) -> int:
    inside = np.flatnonzero(profile)
    if not inside.size:
        return len(profile) // 2
    first, last = int(inside[0]), int(inside[-1])
    low, high = (first + round(part * (last - first)) for part in _MIDDLE)
    middle = profile[low : high + 1]
    thinnest = np.flatnonzero(middle == middle.min())
    return low + int(thinnest[len(thinnest) // 2])
