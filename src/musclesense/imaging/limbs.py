"""Which limb is which: a slice of both limbs parted where the body is thinnest between them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.imaging.grid import right_to_left
from musclesense.imaging.nifti import Geometry
from musclesense.vocabulary import Side

# The cut lies in this middle part of the body's width, since one limb may be half as wide again as the other.
_MIDDLE = (0.3, 0.7)


def split_limbs(body: NDArray[np.bool_], geometry: Geometry) -> dict[Side, NDArray[np.bool_]]:
    """Part a native slice that shows both limbs.

    The cut follows the axis from front to back: the middle of the gap between the limbs or, where they touch, where
    least of the body is crossed near its middle.

    Args:
        body: ``body_mask`` of a native slice.
        geometry: Of its volume: it knows the subject's right.

    Returns:
        For each limb the half of the slice in which it lies, of the shape of ``body``.
    """
    axis, to_left = right_to_left(geometry)
    profile = body.sum(axis=1 - axis)
    from_right = np.arange(len(profile))
    if not to_left:
        profile, from_right = profile[::-1], from_right[::-1]
    on_right = np.broadcast_to(np.expand_dims(from_right < _cut(profile), 1 - axis), body.shape)
    return {Side.RIGHT: on_right, Side.LEFT: ~on_right}


def _cut(profile: NDArray[np.integer[Any]]) -> int:
    inside = np.flatnonzero(profile)
    if not inside.size:
        return len(profile) // 2
    place = (np.arange(len(profile)) - inside[0]) / max(1, inside[-1] - inside[0])
    middle = np.flatnonzero((place >= _MIDDLE[0]) & (place <= _MIDDLE[1]))
    # Crossing costs twice as much at the ends of the middle part: where nothing parts the limbs, as in the pelvis, they
    # are cut in the middle. A gap costs nothing wherever it lies.
    crossed = profile[middle] * (1 + ((place[middle] - 0.5) / (_MIDDLE[1] - 0.5)) ** 2)
    thinnest = middle[crossed == crossed.min()] if middle.size else inside
    return int(thinnest[len(thinnest) // 2])
