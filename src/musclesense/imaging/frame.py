"""What the network is given of a slice: on the grid, with zero mean and unit standard deviation a channel."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.imaging.body import background_level
from musclesense.imaging.grid import Placement

# Every image shows the body, but fat outlines the limb in all contrasts and does not depend on the other channels.
_REFERENCE_ORDER = ("fat", "te345", "te460", "te575", "water")


def reference_channel(channels: Collection[str]) -> str:
    """Choose the channel in which the body is found, so that the grid lies alike whatever else a network takes."""
    return next((name for name in _REFERENCE_ORDER if name in channels), next(iter(channels)))


def normalise(image: NDArray[Any], placement: Placement) -> tuple[NDArray[np.float32], float]:
    """Bring one channel of a native slice to the grid with zero mean and unit standard deviation.

    Returns:
        The image, (rows, columns), and the value that air has in it: what lies beyond the frame.
    """
    air = background_level(image)
    on_grid = placement.to_grid(image, background=air)
    if np.ptp(on_grid) == 0:
        return np.zeros_like(on_grid), 0.0
    mean, deviation = float(on_grid.mean(dtype=np.float64)), float(on_grid.std(dtype=np.float64))
    return (on_grid - np.float32(mean)) / np.float32(deviation), (air - mean) / deviation
