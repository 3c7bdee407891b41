"""The only way from a native slice to what a network is given, and from what it gives back to the voxels of the slice.

Training and segmentation go the same way, so that a network meets on a new scan what it was trained on.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musclesense.imaging.body import background_level, body_mask
from musclesense.imaging.grid import Grid, Placement
from musclesense.imaging.nifti import Geometry
from musclesense.vocabulary import Channel, Echo

# Every image shows the body, but fat outlines the limb in all contrasts and does not depend on the other channels.
_REFERENCE_ORDER = (Channel.FAT.value, *(echo.value for echo in Echo), Channel.IMAGE.value, Channel.WATER.value)


def reference_channel(channels: Collection[str]) -> str:
    """Choose the channel in which the body is found, so that the grid lies alike whatever else a network takes."""
    return next((name for name in _REFERENCE_ORDER if name in channels), next(iter(channels)))


class Prepared(NamedTuple):
    """A slice as a network takes it."""

    images: NDArray[np.float32]  # (channels, rows, columns) float32, each of zero mean and unit standard deviation
    air: NDArray[np.float32]  # (channels,) float32, the value that air has in each: what lies beyond the slice
    placement: Placement  # the way back


@dataclass(frozen=True)
class Frame:
    """How slices are laid before a network."""

    grid: Grid  # orientation, spacing and size
    channels: tuple[str, ...]  # images that are prepared, in the order of the network
    placed_by: str  # the image in which the body is found, by which the slice is placed; it need not be a channel

    def prepare(
        self,
        geometry: Geometry,
        slices: Mapping[str, NDArray[Any]],
        bodies: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> Prepared:
        """Bring a native slice to the grid.

        Args:
            geometry: Where the voxels of its volume lie.
            slices: 2-D image by name, as ``take_slice`` gives it: those of ``channels`` and that of ``placed_by``.
            bodies: ``body_mask`` of those for which it is known.

        >>> grid = Grid(spacing_mm=10.0, rows=4, columns=6)
        >>> disc = np.pad(np.full((4, 4), 100.0), 8)
        >>> frame = Frame(grid, channels=("water",), placed_by="fat")
        >>> geometry = Geometry.from_affine((20, 20, 1), np.diag([5.0, 5.0, 10.0, 1.0]))
        >>> images, air, placement = frame.prepare(geometry, {"fat": disc, "water": disc + 20})
        >>> images.shape, bool(abs(images.mean()) < 1e-6)
        ((1, 4, 6), True)
        >>> placement.to_scanner(images).shape
        (1, 20, 20)
        """
        sought = {self.placed_by, *self.channels} - (bodies or {}).keys()
        bodies = {**(bodies or {}), **{name: body_mask(slices[name]) for name in sought}}
        placement = self.grid.place(geometry, slices[self.placed_by], bodies[self.placed_by])
        normal = [normalise(slices[name], placement, bodies[name]) for name in self.channels]
        return Prepared(
            images=np.stack([image for image, _ in normal]),
            air=np.array([air for _, air in normal], dtype=np.float32),
            placement=placement,
        )


def normalise(
    image: NDArray[Any], placement: Placement, body: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], float]:
    """Bring one channel of a native slice to the grid with zero mean and unit standard deviation.

    Args:
        image: Native slice.
        placement: Where the grid lies on it.
        body: Its ``body_mask``, where it is known.

    Returns:
        The image, (rows, columns), and the value that air has in it: what lies beyond the frame.
    """
    air = background_level(image, body)
    on_grid = placement.to_grid(image, background=air)
    if np.ptp(on_grid) == 0:
        return np.zeros_like(on_grid), 0.0
    mean, deviation = float(on_grid.mean(dtype=np.float64)), float(on_grid.std(dtype=np.float64))
    return (on_grid - np.float32(mean)) / np.float32(deviation), (air - mean) / deviation
