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
    between = (1 - weight) * field[below % planes] + weight * field[(below + 1) % planes]
    # Repeated beyond its end, the plane needs no wrapping of neighbours; two nodes, since rounding may give `size`.
    stride = size + 2
    flat = np.pad(between, (0, 2), mode="wrap").ravel()
    (i, a), (j, b) = _wrapped(u, size), _wrapped(v, size)
    at = j * stride + i
    left, right = flat.take(at), flat.take(at + 1)
    left += a * (right - left)
    at += stride
    below_left, right = flat.take(at), flat.take(at + 1)
    below_left += a * (right - below_left)
    return np.asarray(left + b * (below_left - left), dtype=np.float32)


def ridges(field: Floats, width: float) -> Floats:
    """Turn a field of variance 1 into thin branching lines (1 on the line): where it crosses zero."""
    return np.asarray(np.exp(-np.square(field / width)), dtype=np.float32)


def _wrapped(at: NDArray[Any], size: int) -> tuple[NDArray[np.intp], Floats]:
    """Split positions on a circle of ``size`` nodes into the node before them and the way past it."""
    turns = np.asarray(at, dtype=np.float32) * np.float32(1 / size)
    turns = (turns - np.floor(turns)) * np.float32(size)
    node = turns.astype(np.intp)
    return node, turns - node.astype(np.float32)
