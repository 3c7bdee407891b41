"""Random changes of training slices: as in the paper shifts, scaling, flips, beside it rotation and deformation.

A batch is changed at a time, in one interpolation. Changes of intensity are drawn here, too, and made by
`musclesense.training.intensity`.

The numbers behind a change are a function of (seed, epoch, sample), so that a resumed run sees what an
uninterrupted one would have seen, whatever the batches, workers or devices.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr
from torch import Tensor
from torch.nn import functional

from musclesense.training.intensity import AS_IT_IS, FACTORS
from musclesense.training.streams import Stream

NODES = (6, 12)
"""Control points of a deformation along rows and columns of the frame."""
NO_CHANGE = (0.0, 0.0, 1.0, 1.0, 1.0)
"""The row of `Augmentation.draw` that leaves a sample as it is."""


@dataclass
class Augmentation:
    """Ranges of the random changes."""

    shift: float = 0.0  # largest shift along each axis, both ways, as a part of the frame
    scale: list[float] = field(default_factory=lambda: [1.0, 1.0])  # smallest and largest magnification
    flip_horizontal: float = 0.0  # probability of a left-right flip; sided classes trade places
    flip_vertical: float = 0.0  # probability of an anterior-posterior flip
    rotation: float = 0.0  # largest rotation both ways, in degrees
    deformation: float = 0.0
    """Elastic deformation: largest standard deviation of the displacement of its control points, as a part of the
    frame's height. That of a slice lies anywhere between 0 and it."""
    intensity: float = 0.0  # probability of each of the four changes below, of each image by itself
    brightness: list[float] = field(default_factory=lambda: [1.0, 1.0])  # smallest and largest factor above air
    contrast: list[float] = field(default_factory=lambda: [1.0, 1.0])  # the same about the mean
    gamma: list[float] = field(default_factory=lambda: [1.0, 1.0])  # smallest and largest exponent
    bias_field: float = 0.0  # largest coefficient of the polynomial of a bias field, both ways

    def problems(self) -> Iterator[str]:
        """Name the ranges that make no sense."""
        if not 0 <= self.shift <= 1:
            yield f"augmentation.shift={self.shift} is no part of the frame; give 0 to 1"
        if not 0 <= self.bias_field <= 1:
            yield f"augmentation.bias_field={self.bias_field} is no coefficient; give 0 to 1"
        for name in ("scale", *FACTORS):
            own = getattr(self, name)
            if len(own) != 2 or not 0 < own[0] <= own[1] < math.inf:
                yield f"augmentation.{name}={own} is no range; give [smallest,largest], above 0"
        for name in ("flip_horizontal", "flip_vertical", "intensity"):
            if not 0 <= getattr(self, name) <= 1:
                yield f"augmentation.{name}={getattr(self, name)} is no probability; give 0 to 1"
        if not 0 <= self.rotation <= 180:
            yield f"augmentation.rotation={self.rotation} is no angle in degrees; give 0 to 180"
        if not 0 <= self.deformation <= 0.1:
            yield f"augmentation.deformation={self.deformation} is out of range; give 0 to 0.1, a part of the frame"

    def draw(self, samples: int, *, seed: int, epoch: int) -> NDArray[np.float32]:
        """Draw the changes of every sample of one epoch.

        Returns:
            (samples, 5): shift along rows and columns as a part of the frame, magnification,
            and -1 or 1 for vertical and horizontal flips. Where slices are rotated or deformed, more columns follow:
            the angle in radians, and how far the control points move along columns and rows, as parts of the height.
        """
        uniform = np.random.default_rng([Stream.AUGMENTATION, seed, epoch]).random((samples, 5))
        changes = np.empty((samples, 5), dtype=np.float32)
        changes[:, :2] = (2 * uniform[:, :2] - 1) * self.shift
        changes[:, 2] = self.scale[0] + uniform[:, 2] * (self.scale[1] - self.scale[0])
        changes[:, 3] = np.where(uniform[:, 3] < self.flip_vertical, -1, 1)
        changes[:, 4] = np.where(uniform[:, 4] < self.flip_horizontal, -1, 1)
        if not (self.rotation or self.deformation):
            return changes
        bending = np.random.default_rng([Stream.BENDING, seed, epoch])
        # Each sample takes as many numbers, so that what is drawn for it does not depend on how many there are.
        bends = bending.standard_normal((samples, 2 + 2 * math.prod(NODES)), dtype=np.float32)
        uniform = ndtr(bends[:, :2])
        angle = (2 * uniform[:, :1] - 1) * np.float32(np.deg2rad(self.rotation))
        return np.concatenate([changes, angle, uniform[:, 1:] * np.float32(self.deformation) * bends[:, 2:]], axis=1)

    def intensity_columns(self, channels: int) -> int:
        """Give how many numbers change the intensities of a sample of so many images."""
        return channels * len(AS_IT_IS) if self.intensity else 0

    def draw_intensity(self, samples: int, channels: int, *, seed: int, epoch: int) -> NDArray[np.float32]:
        """Draw the changes of intensity of every sample of one epoch.

        Factors have uniform logarithms, coefficients are uniform; then it is drawn which of the changes happen.

        Returns:
            (samples, `intensity_columns`): for each image what `musclesense.training.intensity.AS_IT_IS` has.
        """
        coefficients = len(AS_IT_IS) - len(FACTORS)
        ranges = [np.log(getattr(self, name)) for name in FACTORS]
        low, high = np.transpose([*ranges, *[(-self.bias_field, self.bias_field)] * coefficients]).astype(np.float32)
        random = np.random.default_rng([Stream.INTENSITY, seed, epoch])
        images = channels if self.intensity else 0
        uniform = random.random((samples, images, len(AS_IT_IS) + len(FACTORS) + 1), dtype=np.float32)
        drawn = low + uniform[..., : len(AS_IT_IS)] * (high - low)
        drawn[..., : len(FACTORS)] = np.exp(drawn[..., : len(FACTORS)])
        happens = (uniform[..., len(AS_IT_IS) :] < self.intensity).repeat([1] * len(FACTORS) + [coefficients], axis=-1)
        return np.where(happens, drawn, np.array(AS_IT_IS, np.float32)).reshape(samples, -1)


def transform(
    images: Tensor, classes: Tensor, *, air: Tensor, changes: Tensor, mirror: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Shift, scale, flip, rotate and deform a batch on the device it lies on.

    Args:
        images: (batch, channels, rows, columns) float.
        classes: (batch, rows, columns) class indices.
        air: (batch, channels), what lies beyond the frame of each image.
        changes: (batch, 5 or more), from `Augmentation.draw`.
        mirror: Class index of each class after a left-right flip, from `LabelSet.mirror`.

    Returns:
        Images and class indices (int64) of the same shapes.
    """
    changes = changes.to(images.device, images.dtype)
    where = _where(changes, images.shape[2], images.shape[3])
    # grid_sample fills with zero beyond the frame: with air taken off, that is air, and no class but background.
    level = air.to(images.device, images.dtype)[:, :, None, None]
    foreground = torch.arange(1, len(mirror), device=classes.device)[:, None, None]
    channels = images.shape[1]
    layers = images.new_empty(len(images), channels + len(foreground), *images.shape[2:])
    torch.sub(images, level, out=layers[:, :channels])
    layers[:, channels:] = classes[:, None] == foreground
    moved = functional.grid_sample(layers, where, padding_mode="zeros", align_corners=False)
    moved_classes = _largest_share(moved[:, channels:])
    moved = moved[:, :channels].add_(level)
    if tuple(mirror) == tuple(range(len(mirror))):
        return moved, moved_classes
    mirrored = _mirror_on(tuple(mirror), images.device)[moved_classes]
    return moved, torch.where((changes[:, 4] < 0)[:, None, None], mirrored, moved_classes)


def _where(changes: Tensor, rows: int, columns: int) -> Tensor:
    """Give where each pixel comes from, (batch, rows, columns, 2) as x and y, in -1..1 where a whole frame is 2."""
    vertical, horizontal, magnification = changes[:, 3], changes[:, 4], changes[:, 2]
    theta = changes.new_zeros(len(changes), 2, 3)
    theta[:, 0, 0] = horizontal / magnification
    theta[:, 1, 1] = vertical / magnification
    if bent := changes.shape[1] > len(NO_CHANGE):
        cos, sin = torch.cos(changes[:, 5]), torch.sin(changes[:, 5])
        theta[:, 0, 1] = -theta[:, 0, 0] * sin * (rows / columns)
        theta[:, 1, 0] = theta[:, 1, 1] * sin * (columns / rows)
        theta[:, (0, 1), (0, 1)] *= cos[:, None]
    theta[:, :, 2] = -2 * (theta[:, :, 0] * changes[:, 1:2] + theta[:, :, 1] * changes[:, :1])
    where = functional.affine_grid(theta, [len(changes), 1, rows, columns], align_corners=False)
    if bent:
        nodes = changes[:, len(NO_CHANGE) + 1 :].reshape(-1, 2, *NODES)
        moved = functional.interpolate(nodes, (rows, columns), mode="bicubic", align_corners=True)
        where = where + 2 * moved.movedim(1, -1) * changes.new_tensor([rows / columns, 1.0])
    return where


@lru_cache(maxsize=8)
def _mirror_on(mirror: tuple[int, ...], device: torch.device) -> Tensor:
    """Copy the mirror to a device once: a copy from unpinned memory waits for all that the device has to do."""
    return torch.tensor(mirror, device=device)


def _largest_share(shares: Tensor) -> Tensor:
    """Give each pixel the class with the largest share in it, the lowest of equal ones; background has the rest."""
    largest, index = shares.max(dim=1)
    return (index + 1).masked_fill_(largest <= 1 - shares.sum(dim=1), 0)
