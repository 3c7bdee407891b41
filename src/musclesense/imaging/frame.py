"""The only way from a native slice to what a network is given, and from what it gives back to the voxels of the slice.

Training and segmentation go the same way, so that a network meets on a new scan what it was trained on.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musclesense.imaging.body import background_level, body_mask
from musclesense.imaging.grid import Grid, Placement
from musclesense.imaging.nifti import Geometry
from musclesense.vocabulary import Channel, Echo

# Every image shows the body, but fat outlines the limb in all contrasts and does not depend on the other channels.
_REFERENCE_ORDER = (Channel.FAT.value, *(echo.value for echo in Echo), Channel.IMAGE.value, Channel.WATER.value)

Z_SCORE = "z_score"
_LEAST_UNIT = 0.01  # of the frame's standard deviation; the cache's 16 bit hold what is divided by more


def _mean_and_deviation(pixels: NDArray[np.float32]) -> tuple[float, float]:
    return float(pixels.mean(dtype=np.float64)), float(pixels.std(dtype=np.float64))


def _percentiles(pixels: NDArray[np.float32]) -> tuple[float, float]:
    low, high = np.percentile(pixels, (1, 99))
    return float(low), float(high - low)


NORMALISATIONS: Mapping[str, Callable[[NDArray[np.float32], NDArray[np.bool_]], tuple[float, float]]] = (
    MappingProxyType(
        {
            Z_SCORE: lambda frame, body: _mean_and_deviation(frame),
            "body_z_score": lambda frame, body: _mean_and_deviation(frame[body]),
            "percentile": lambda frame, body: _percentiles(frame),
        }
    )
)
"""What of an image on the grid becomes 0, and how much 1, given which pixels show the body; the latter may be 0."""


def reference_channel(channels: Collection[str]) -> str:
    """Choose the channel in which the body is found, so that the grid lies alike whatever else a network takes."""
    return next((name for name in _REFERENCE_ORDER if name in channels), next(iter(channels)))


class Prepared(NamedTuple):
    """A slice as a network takes it."""

    images: NDArray[np.float32]  # (channels, rows, columns) float32, each normalised
    air: NDArray[np.float32]  # (channels,) float32, the value that air has in each: what lies beyond the slice
    placement: Placement  # the way back


@dataclass(frozen=True)
class Frame:
    """How slices are laid before a network."""

    grid: Grid  # orientation, spacing and size
    channels: tuple[str, ...]  # images that are prepared, in the order of the network
    placed_by: str  # the image in which the body is found, by which the slice is placed; it need not be a channel
    normalisation: str = Z_SCORE  # one of `NORMALISATIONS`

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
        kind = self.normalisation
        normal = [normalise(slices[name], placement, bodies[name], kind) for name in self.channels]
        return Prepared(
            images=np.stack([image for image, _ in normal]),
            air=np.array([air for _, air in normal], dtype=np.float32),
            placement=placement,
        )


def normalise(
    image: NDArray[Any], placement: Placement, body: NDArray[np.bool_] | None = None, kind: str = Z_SCORE
) -> tuple[NDArray[np.float32], float]:
    """Bring one channel of a native slice to the grid and normalise it there.

    Args:
        image: Native slice.
        placement: Where the grid lies on it.
        body: Its ``body_mask``, where it is known.
        kind: One of `NORMALISATIONS`. Where the pixels that it looks at are none or nearly all alike, it is `Z_SCORE`.

    Returns:
        The image, (rows, columns), and the value that air has in it: what lies beyond the frame.
    """
    body = body_mask(image) if body is None else body
    air = background_level(image, body)
    on_grid = placement.to_grid(image, background=air)
    if np.ptp(on_grid) == 0:
        return np.zeros_like(on_grid), 0.0
    level, unit = mean, deviation = _mean_and_deviation(on_grid)
    if kind != Z_SCORE and (inside := placement.nearest(body)).any():
        level, unit = NORMALISATIONS[kind](on_grid, inside)
    if unit < _LEAST_UNIT * deviation:
        level, unit = mean, deviation
    return (on_grid - np.float32(level)) / np.float32(unit), (air - level) / unit
