"""Random changes of how bright training slices are, each image of a slice by itself, after it is normalised.

Source: brightness, contrast and gamma as in nnU-Net (Isensee et al., Nature Methods 2021;18:203-211); but brightness
scales what lies above air, as a receiver's gain does. The bias field as in MONAI's ``RandBiasField``: the exponential
of a polynomial.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

_ORDER = 3
_TERMS = [(down, across) for down in range(_ORDER + 1) for across in range(_ORDER + 1) if 0 < down + across <= _ORDER]
FACTORS = ("brightness", "contrast", "gamma")
AS_IT_IS = (*(1.0 for _ in FACTORS), *(0.0 for _ in _TERMS))
"""The numbers for an image that leave it as it is: factors, then coefficients of the bias field."""


def vary(images: Tensor, air: Tensor, changes: Tensor) -> Tensor:
    """Change the intensities of a batch on the device it lies on.

    Args:
        images: (batch, channels, rows, columns) float.
        air: (batch, channels), what air is in each image: it stays so under brightness and bias field.
        changes: (batch, channels * len(AS_IT_IS)), from `Augmentation.draw_intensity`, or none: (batch, 0).

    Returns:
        Images of the same shape.
    """
    if not changes.shape[1]:
        return images
    drawn = changes.to(images.device, images.dtype).reshape(*images.shape[:2], -1)
    brightness, contrast, gamma = drawn[..., : len(FACTORS), None, None].unbind(2)
    fields = drawn[..., len(FACTORS) :] @ _polynomials(images.shape[2], images.shape[3], images.device, images.dtype)
    level = air.to(images.device, images.dtype)[:, :, None, None]
    images = (images - level) * fields.exp().view(images.shape).mul(brightness) + level
    plane = (2, 3)
    low, high, mean = images.amin(plane, True), images.amax(plane, True), images.mean(plane, True)
    images = ((images - mean) * contrast + mean).clamp(low, high)
    extent = (high - low).clamp_min(torch.finfo(images.dtype).tiny)
    bent = ((images - low) / extent).pow(gamma)
    # As nnU-Net does, gamma leaves mean and standard deviation as they are.
    mean, before, after = images.mean(plane, True), images.std(plane, keepdim=True), bent.std(plane, keepdim=True)
    varied: Tensor = (bent - bent.mean(plane, True)) * (before / after.clamp_min(torch.finfo(images.dtype).eps)) + mean
    return varied


@lru_cache(maxsize=4)
def _polynomials(rows: int, columns: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Give the products of Legendre polynomials along rows and columns, (terms, rows * columns)."""
    down, across = (np.polynomial.legendre.legvander(np.linspace(-1, 1, size), _ORDER) for size in (rows, columns))
    planes = [np.outer(down[:, i], across[:, j]).ravel() for i, j in _TERMS]
    return torch.tensor(np.array(planes), dtype=dtype, device=device)
