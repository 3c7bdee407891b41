"""What lies about the limbs and gives signal: the table and its mattress, pads, a cloth or coil on top."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.phantom.texture import Floats

TABLE, PAD, CLOTH = 0.35, 0.2, 0.15
"""How often each is seen; what gives no signal is not."""


def surroundings(rng: np.random.Generator, air: NDArray[np.bool_], voxel_mm: float) -> Floats:
    """Draw the signal of things in ``air``, where nothing of the body lies: (rows, columns), rows towards posterior.

    It is relative to that of fat tissue, and 0 within the body.
    """
    things = np.zeros(air.shape, np.float32)
    for chance, thing in ((TABLE, _table), (PAD, _pad), (CLOTH, _cloth)):
        own = rng.spawn(1)[0]
        if rng.random() < chance:
            things = np.maximum(things, thing(own, air, voxel_mm))
    return np.asarray(things * air, np.float32)


def _table(rng: np.random.Generator, air: NDArray[np.bool_], voxel_mm: float) -> Floats:
    """Draw a mattress, faint foam between brighter covers: flat below the limbs, or hollow, and they sink into it."""
    y, x = _places(air.shape, voxel_mm)
    body = np.flatnonzero(~air.all(axis=1))
    lowest = (body.max() + 1) * voxel_mm if body.size else air.shape[0] * voxel_mm
    hollow = 0.0 if rng.random() < 0.5 else 1 / rng.uniform(250, 700)
    # As far below the surface of the mattress, in mm.
    below = y - np.float32(lowest + rng.uniform(0, 12)) + np.float32(hollow / 2) * np.square(x - x.mean())
    thick = rng.uniform(8, 60)
    things = np.where((below > 0) & (below < thick), np.float32(rng.uniform(0, 0.12)), np.float32(0))
    for at in (0.0, thick):
        half, bright = rng.uniform(0.4, 2.0), np.float32(rng.uniform(0.05, 0.7))
        things = np.where(np.abs(below - np.float32(at)) < half, bright, things)
    return np.asarray(things, np.float32)


def _pad(rng: np.random.Generator, air: NDArray[np.bool_], voxel_mm: float) -> Floats:
    """Draw a cushion anywhere: an ellipse, faint within, with a brighter cover."""
    y, x = _places(air.shape, voxel_mm)
    across, down = rng.uniform(0, x.max()), rng.uniform(0, y.max())
    half = rng.uniform(12, 60, 2).astype(np.float32)
    away = np.hypot((x - np.float32(across)) / half[0], (y - np.float32(down)) / half[1])
    inside, cover = np.float32(rng.uniform(0, 0.25)), np.float32(rng.uniform(0, 0.6))
    rim = np.float32(rng.uniform(1.0, 4.0)) / half.mean()
    return np.where(away < 1, np.where(away > 1 - rim, cover, inside), np.float32(0)).astype(np.float32)


def _cloth(rng: np.random.Generator, air: NDArray[np.bool_], voxel_mm: float) -> Floats:
    """Draw a cloth, or the housing of a coil, that follows the front of the limbs at some distance."""
    if air.all():
        return np.zeros(air.shape, np.float32)
    away = ndimage.distance_transform_edt(air, sampling=voxel_mm)
    line = np.abs(away - rng.uniform(2, 25)) < rng.uniform(0.5, 1.5)
    front = np.arange(air.shape[0])[:, None] < np.nonzero(~air)[0].mean()
    return np.where(line & front, np.float32(rng.uniform(0.05, 0.5)), np.float32(0)).astype(np.float32)


def _places(shape: tuple[int, ...], voxel_mm: float) -> tuple[Floats, Floats]:
    """Give the middles of voxels along rows, (rows, 1), and columns, (columns,), in mm."""
    y, x = ((np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(voxel_mm) for size in shape)
    return y[:, None], x
