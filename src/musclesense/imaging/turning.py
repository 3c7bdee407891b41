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
    own, wanted = (nib.orientations.io_orientation(one.affine) for one in (volume.geometry, geometry))
    turn = nib.orientations.ornt_transform(own, wanted)
    i, j, k = (volume.geometry.shape[axis] for axis in np.argsort(turn[:, 0]))
    affine = volume.geometry.affine @ nib.orientations.inv_ornt_aff(turn, volume.geometry.shape)
    if geometry.difference(Geometry.from_affine((i, j, k), affine)) is not None:
        return volume
    return Volume(nib.orientations.apply_orientation(volume.data, turn), geometry)


def whole_labels(volume: Volume) -> Volume:
    """Round labels that a file with a scale factor holds a little off a whole number; others stay, to be refused."""
    values = finite_values(volume.data)
    if volume.data.dtype.kind != "f" or not values.size or values.size < volume.data.size:
        return volume
    whole = np.rint(volume.data)
    if np.abs(volume.data - whole).max() > max(WHOLE, 1e-5 * float(np.abs(values).max())):
        return volume
    return Volume(whole, volume.geometry)
