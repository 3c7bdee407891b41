"""Outlines of labels, as pixels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def contour(labels: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """Mark the labelled pixels that lie less than ``width`` from another value, along rows or columns.

    >>> contour(np.pad(np.ones((3, 3), int), 1), 1).astype(int)[1:4, 1:4]
    array([[1, 1, 1],
           [1, 0, 1],
           [1, 1, 1]])
    """
    marked = np.zeros(labels.shape, dtype=bool)
    for reach in range(1, width + 1):
        padded = np.pad(labels, reach)
        middle, less, more = slice(reach, -reach), slice(None, -2 * reach), slice(2 * reach, None)
        for neighbour in (padded[less, middle], padded[more, middle], padded[middle, less], padded[middle, more]):
            marked |= labels != neighbour
    return marked & (labels > 0)
