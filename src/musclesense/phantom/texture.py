"""Smooth random fields on periodic lattices, so that a texture stays with its tissue between slices and sessions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
PLANE_SPACING_MM = 20.0


def lattice(rng: np.random.Generator, *, size: int = 128, planes: int = 8, sigma: float = 2.5) -> Floats:
    """Draw a periodic field of shape (planes, size, size) with mean 0, variance 1 and blobs of ``sigma`` nodes."""
    noise = rng.standard_normal((planes, size, size), dtype=np.float32)
    field = ndimage.gaussian_filter(noise, (0.7, sigma, sigma), mode="wrap")
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)


def sample(field: Floats, level_mm: float, u: NDArray[Any], v: NDArray[Any]) -> Floats:
    """Read a lattice at nodes (u, v), bilinear and periodic, between the two planes next to ``level_mm``."""
    planes, size, _ = field.shape
    plane = level_mm / PLANE_SPACING_MM
    below, weight = int(np.floor(plane)), np.float32(plane - np.floor(plane))
    flat = ((1 - weight) * field[below % planes] + weight * field[(below + 1) % planes]).ravel()
    column, row = np.floor(u), np.floor(v)
    a, b = (u - column).astype(np.float32), (v - row).astype(np.float32)
    i, j = column.astype(np.intp) % size, row.astype(np.intp) % size
    right, down = (i + 1) % size, (j + 1) % size
    top = (1 - a) * flat[j * size + i] + a * flat[j * size + right]
    bottom = (1 - a) * flat[down * size + i] + a * flat[down * size + right]
    return np.asarray((1 - b) * top + b * bottom, dtype=np.float32)


def ridges(field: Floats, width: float) -> Floats:
    """Turn a field of variance 1 into thin branching lines (1 on the line): where it crosses zero."""
    return np.asarray(np.exp(-np.square(field / width)), dtype=np.float32)
