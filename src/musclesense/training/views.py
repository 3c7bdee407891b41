"""The image at another size: what a network finds there, brought back."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

_STRIDE = 64
"""Networks halve images a few times, so sides must be multiples of a power of two; this one serves every depth here."""


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
    padding = (0, -scaled[1] % _STRIDE, 0, -scaled[0] % _STRIDE)
    found = segment(functional.pad(resized, padding, mode="replicate"))
    return _resized(found[..., : scaled[0], : scaled[1]], own)


def _resized(images: Tensor, size: list[int]) -> Tensor:
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
