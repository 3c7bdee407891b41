"""The image at another size: what a network finds there, brought back."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from musclesense.networks.unet import pad_to_multiple

_STRIDE = 64
"""The project's networks pad frames themselves; others' take multiples of a power of two, and all take this one's."""


def at_scale(segment: Callable[[Tensor], Tensor], images: Tensor, scale: float) -> Tensor:
    """Segment images at another size.

    Args:
        segment: Maps images (batch, channels, rows, columns) to probabilities (batch, classes, rows, columns).
        images: Images at their own size.
        scale: How many times as large they are to be.

    Returns:
        Probabilities at the size of ``images``.
    """
    if scale == 1:
        return segment(images)
    own, scaled = list(images.shape[-2:]), [round(scale * side) for side in images.shape[-2:]]
    resized = _resized(images, scaled)
    found = segment(pad_to_multiple(resized, _STRIDE))
    return _resized(found[..., : scaled[0], : scaled[1]], own)


def _resized(images: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
