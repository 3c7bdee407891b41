"""The fat fraction of a muscle: what a mask is drawn for."""

import numpy as np
from numpy.typing import NDArray


def mean_fat_fraction(fat_fraction_percent: NDArray[np.floating], mask: NDArray[np.bool_]) -> float | None:
    """Give the mean fat fraction inside a mask.

    Voxels that are not finite (no signal, so no fraction) are left out.

    >>> mean_fat_fraction(np.array([10.0, 20.0, 90.0]), np.array([True, True, False]))
    15.0

    Args:
        fat_fraction_percent: 100 F / (F + W) in each voxel, any shape.
        mask: Of the same shape.

    Returns:
        Percent, or None where the mask holds no finite voxel.
    """
    if mask.dtype != np.bool_:
        raise ValueError(f"mask must be boolean, got {mask.dtype}")
    if fat_fraction_percent.shape != mask.shape:
        raise ValueError(f"mask must have shape {fat_fraction_percent.shape}, got {mask.shape}")
    inside = fat_fraction_percent[mask]
    inside = inside[np.isfinite(inside)]
    return float(inside.mean(dtype=np.float64)) if inside.size else None
