"""Test-time augmentation: the mean of what a network finds in an image, in its mirror image and at other sizes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from musclesense.networks.unet import pad_to_multiple

_STRIDE = 64
"""The project's networks pad frames themselves; others' take multiples of a power of two, and all take this one's."""

Function = Callable[[Tensor], Tensor]


def foreground(
    network: Function, images: Tensor, *, scales: Sequence[float] = (1.0,), mirror: Sequence[int] | None = None
) -> Tensor:
    """Give the probability of each foreground class.

    Args:
        network: Maps images (batch, channels, rows, columns) to logits (batch, 1 + classes, rows, columns).
        images: What it is given.
        scales: Sizes of the image relative to its own; the mean over all of them is given.
        mirror: Class index of each class after a left-right flip, from `LabelSet.mirror`: at each size, the mean over
            the image and its mirror image is taken. None: no flip.

    Returns:
        (batch, classes, rows, columns) float32.
    """

    def at_own_size(given: Tensor) -> Tensor:
        found = network(given).float().softmax(dim=1)[:, 1:]
        if mirror is None:
            return found
        other = network(given.flip(-1)).float().softmax(dim=1)[:, list(mirror[1:])]
        return (found + other.flip(-1)) / 2

    return torch.stack([at_scale(at_own_size, images, scale) for scale in scales]).mean(dim=0)


def at_scale(segment: Function, images: Tensor, scale: float) -> Tensor:
    """Segment images (batch, channels, rows, columns) at ``scale`` times their size; the result has their own size."""
    if scale == 1:
        return segment(images)
    own, scaled = list(images.shape[-2:]), [round(scale * side) for side in images.shape[-2:]]
    resized = _resized(images, scaled)
    found = segment(pad_to_multiple(resized, _STRIDE))
    return _resized(found[..., : scaled[0], : scaled[1]], own)


def _resized(images: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
