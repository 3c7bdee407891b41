"""The part of a slice that holds something: what lies far from it costs time and changes nothing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice]


def box_around(mask: NDArray[np.bool_], margin: int | tuple[int, int] = 1) -> Box:
    """Give the smallest part of a slice that holds a mask and a margin; nothing of it where the mask is empty.

    A margin of one voxel keeps all distances to the outside of the mask as they are in the whole slice.

    >>> mask = np.zeros((9, 9), bool)
    >>> mask[4, 0:3] = True
    >>> box_around(mask)
    (slice(3, 6, None), slice(0, 4, None))
    """
    if not mask.any():
        return slice(0, 0), slice(0, 0)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    tight = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return grown(tight, margin, mask.shape)


def grown(box: Box, by: int | tuple[int, int], shape: Sequence[int]) -> Box:
    """Give a box with a margin on each side, within a slice of a shape."""
    margins = (by, by) if isinstance(by, int) else by
    rows, columns = (
        slice(max(part.start - margin, 0), min(part.stop + margin, length))
        for part, margin, length in zip(box, margins, shape, strict=True)
    )
    return rows, columns
