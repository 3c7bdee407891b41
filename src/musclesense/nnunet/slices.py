"""One slice of a scan as a volume of its own, and slices laid back into the scan."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.grid import slice_axis, take_slice
from musclesense.imaging.nifti import Geometry, Volume, read_volume

_THICKER = 1.01


def slice_geometry(geometry: Geometry, number: int) -> Geometry:
    """Say where one slice lies: a volume of a single slice along its last axis, the others in storage order.

    nnU-Net cuts its 2-D images across the axis of the coarsest spacing. So a slice that is thinner than its pixels is
    given a little more than their size as thickness. No voxel moves: the centre of the slice stays.
    """
    across = slice_axis(geometry)
    in_plane = [axis for axis in range(3) if axis != across]
    affine = geometry.affine[:, [*in_plane, across, 3]].copy()
    affine[:3, 3] = geometry.affine[:3, 3] + number * geometry.affine[:3, across]
    largest = max(geometry.zooms[axis] for axis in in_plane)
    if geometry.zooms[across] < _THICKER * largest:
        affine[:3, 2] *= _THICKER * largest / geometry.zooms[across]
    return geometry.moved((geometry.shape[in_plane[0]], geometry.shape[in_plane[1]], 1), affine)


def single_slice(volume: Volume, number: int) -> Volume:
    """Cut one slice out of a volume; see `slice_geometry`."""
    geometry = slice_geometry(volume.geometry, number)
    return Volume(take_slice(volume.data, volume.geometry, number)[..., None], geometry)


def lay_back(files: Mapping[int, Path], shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Volume:
    """Lay slices back into the scan that they came from; zero is elsewhere.

    ``files`` are what `single_slice` gave, by slice number. ``shape`` and ``affine`` are the scan's.

    Raises:
        InputError: A file cannot be read, does not lie where the slice does, or has voxels of another type.
    """
    data: NDArray[Any] | None = None
    geometry: Geometry | None = None
    for number, file in files.items():
        slice_ = read_volume(file)
        geometry = geometry or slice_.geometry.moved(shape, affine)
        require_place(file, slice_, slice_geometry(geometry, number))
        data = np.zeros(shape, slice_.data.dtype) if data is None else data
        if slice_.data.dtype != data.dtype:
            raise InputError(
                f"{file}: voxels of type {slice_.data.dtype}, in other slices {data.dtype}; give the file of that slice"
            )
        take_slice(data, geometry, number)[:] = slice_.data[..., 0]
    assert data is not None and geometry is not None  # no scan without a labelled slice
    return Volume(data, geometry)


def require_classes(file: Path, data: NDArray[Any], n_classes: int) -> None:
    """Refuse labels read from ``file`` that are not background, 0, and class indices up to ``n_classes``."""
    if not np.isin(data, range(n_classes + 1)).all():
        raise InputError(f"{file}: holds other labels than 0 to {n_classes}; give nnU-Net's own masks")


def require_place(file: Path, volume: Volume, expected: Geometry) -> None:
    """Refuse a volume read from ``file`` that lies elsewhere, and say how it differs."""
    if difference := expected.difference(volume.geometry):
        raise InputError(f"{file}: {difference}, of the scan that was exported; give the file of that slice")
