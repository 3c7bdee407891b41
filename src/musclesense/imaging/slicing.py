"""What affines say: which axis of a volume its slices lie across, and whether two of them are the same."""

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import io_orientation
from numpy.typing import NDArray

AFFINE_TOLERANCE_MM, AFFINE_TOLERANCE_VOXELS = 1e-3, 0.1
"""Affines that place no corner further apart are the same: text files and other programs round."""
_SUPERIOR_INFERIOR = 2
_THICK = 1.5
"""Voxels so many times longer along one axis than along the others are slices."""
_MOST_DEGREES = 60.0
"""Slices that are tilted further are coronal or sagittal ones."""
_ALIKE = 0.1
"""Axes whose directions differ by less in their part along the body lie alike."""


def anatomical_axes(shape: tuple[int, ...], affine: NDArray[np.float64]) -> tuple[NDArray[np.float64], str | None]:
    """Give for each axis of a volume the nearest of right, anterior, superior (0 to 2), and 1 or -1 for its direction.

    Slices lie across the axis nearest to superior. Thick slices that are tilted by 45 to 60 degrees lie across the axis
    of their thickness, though another is nearer.

    Args:
        shape: Voxels along the axes.
        affine: 4 x 4, voxel indices to scanner millimetres (RAS+).

    Returns:
        The axes, (3, 2), and what is to be said of the choice: None where there is no doubt.

    >>> tilt = np.deg2rad(50)
    >>> affine = np.diag([1.0, 1.0, 8.0, 1.0])
    >>> affine[1:3, 1:3] = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]) * [1, 8]
    >>> axes, said = anatomical_axes((256, 256, 20), affine)
    >>> axes[:, 0].astype(int).tolist(), said
    ([0, 1, 2], 'slices are tilted by 50 degrees; cut along axis 3, of 8 mm')
    """
    zooms = voxel_sizes(affine)
    nearest: NDArray[np.float64] = io_orientation(affine)
    along = np.abs(affine[_SUPERIOR_INFERIOR, :3] / zooms)
    chosen = int(nearest[:, 0].tolist().index(_SUPERIOR_INFERIOR))
    thick = _thick_axis(shape, zooms)
    if thick is None:
        second = sorted(along)[-2]
        if along[chosen] - second < _ALIKE:
            return (
                nearest,
                f"two axes lie alike; cut along axis {chosen + 1}: turn the image if its slices lie otherwise",
            )
        return nearest, None
    if thick == chosen:
        return nearest, None
    tilt = float(np.rad2deg(np.arccos(min(along[thick], 1.0))))
    if tilt <= _MOST_DEGREES:
        return _slices_across(thick, affine, zooms), (
            f"slices are tilted by {tilt:.0f} degrees; cut along axis {thick + 1}, of {zooms[thick]:g} mm"
        )
    return nearest, (
        f"slices of {zooms[thick]:g} mm along axis {thick + 1} are not transverse; cut along axis {chosen + 1} instead"
    )


def _thick_axis(shape: tuple[int, ...], zooms: NDArray[np.float64]) -> int | None:
    """Give the axis along which voxels are much longer, or the one that has a single voxel."""
    single = [axis for axis in range(3) if shape[axis] == 1]
    if len(single) == 1:
        return single[0]
    longest = int(np.argmax(zooms))
    others = np.delete(zooms, longest)
    return longest if zooms[longest] >= _THICK * others.max() else None


def _slices_across(axis: int, affine: NDArray[np.float64], zooms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the axes of a volume whose slices lie across one of them: the other two as they lie nearest."""
    directions = affine[:3, :3] / zooms
    first, second = (other for other in range(3) if other != axis)
    straight = abs(directions[0, first]) + abs(directions[1, second])
    if straight < abs(directions[0, second]) + abs(directions[1, first]):
        first, second = second, first
    nearest = np.empty((3, 2))
    for own, along in ((first, 0), (second, 1), (axis, _SUPERIOR_INFERIOR)):
        nearest[own] = along, np.sign(directions[along, own]) or 1
    return nearest


def corners_apart(shape: tuple[int, ...], one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    """Give how far apart in mm two affines place a corner, 0 where this is but rounding."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(shape) - 1
    away = (two - one) @ corners.T
    mm, voxels = float(np.abs(away).max()), float(np.abs(np.linalg.solve(one, away)).max())
    return mm if mm > AFFINE_TOLERANCE_MM and voxels > AFFINE_TOLERANCE_VOXELS else 0.0
