"""The same voxels in another order of axes: as another program stores them."""

import nibabel as nib
import numpy as np

from musclesense.imaging.nifti import Geometry, Volume, finite_values

WHOLE = 1e-3
"""How far a label may lie from a whole number: files that hold a scale factor round."""


def turned(volume: Volume, geometry: Geometry) -> Volume:
    """Give a volume with the axes of a geometry, swapped and flipped where its voxels are the same ones.

    Where they are not, it stays as it is, and `Geometry.difference` says why.

    >>> image = Volume(np.arange(24).reshape(2, 3, 4), Geometry.from_affine((2, 3, 4), np.diag([-1.0, -1.0, 5.0, 1.0])))
    >>> flip = np.array([[1.0, 0, 0, -1], [0, -1, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]])
    >>> mask = Volume(image.data[::-1], Geometry.from_affine((2, 3, 4), flip))
    >>> bool((turned(mask, image.geometry).data == image.data).all())
    True
    """
    if geometry.difference(volume.geometry) is None:
        return volume
    other = _with_axes_of(geometry, volume)
    return volume if geometry.difference(other.geometry) else Volume(other.data, geometry)


def laid(volume: Volume, geometry: Geometry) -> Volume:
    """Give labels in the voxels of a geometry, `turned`, where they were stored for a part of them, or for more.

    3D Slicer stores the part of an image that a segmentation fills. Labels that lie beyond the geometry are not cut
    off: such a volume stays as it is, as one that has other voxels, and `Geometry.difference` says why.

    >>> whole = Geometry.from_affine((4, 4, 2), np.eye(4))
    >>> place = np.array([[1.0, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> part = Volume(np.ones((2, 1, 2)), Geometry.from_affine((2, 1, 2), place))
    >>> laid(part, whole).data[:, :, 0].astype(int).tolist()
    [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    """
    same = turned(volume, geometry)
    if geometry.difference(same.geometry) is None:
        return same
    other = _with_axes_of(geometry, volume)
    start = np.rint(np.linalg.solve(geometry.affine, other.geometry.affine[:, 3])[:3]).astype(int)
    shift = np.eye(4)
    shift[:3, 3] = start
    place = Geometry.from_affine(other.geometry.shape, geometry.affine @ shift)
    here = [slice(max(first, 0), max(first + n, 0)) for first, n in zip(start, other.data.shape, strict=True)]
    there = tuple(
        slice(max(-first, 0), max(length - first, 0)) for first, length in zip(start, geometry.shape, strict=True)
    )
    if place.difference(other.geometry) or np.count_nonzero(other.data[there]) != np.count_nonzero(other.data):
        return volume
    data = np.zeros(geometry.shape, other.data.dtype)
    data[tuple(here)] = other.data[there]
    return Volume(data, geometry)


def _with_axes_of(geometry: Geometry, volume: Volume) -> Volume:
    """Give a volume with its axes swapped and flipped to the order of those of a geometry."""
    own, wanted = (nib.orientations.io_orientation(one.affine) for one in (volume.geometry, geometry))
    turn = nib.orientations.ornt_transform(own, wanted)
    i, j, k = (volume.geometry.shape[axis] for axis in np.argsort(turn[:, 0]))
    affine = volume.geometry.affine @ nib.orientations.inv_ornt_aff(turn, volume.geometry.shape)
    return Volume(nib.orientations.apply_orientation(volume.data, turn), Geometry.from_affine((i, j, k), affine))


def whole_labels(volume: Volume) -> Volume:
    """Round labels that a file with a scale factor holds a little off a whole number; others stay, to be refused."""
    values = finite_values(volume.data)
    if volume.data.dtype.kind != "f" or not values.size or values.size < volume.data.size:
        return volume
    whole = np.rint(volume.data)
    if np.abs(volume.data - whole).max() > max(WHOLE, 1e-5 * float(np.abs(values).max())):
        return volume
    return Volume(whole, volume.geometry)
