"""What images show, as digests: equal whatever the file's name, compression or type of number."""

import hashlib
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation

from musclesense.imaging.nifti import Volume, read_volume


def voxel_digest(volume: Volume) -> str:
    """Give a digest of the voxels alone, in the order of scanner axes (RAS+).

    It is that of a copy, a hard link, another compression, another type of equal numbers and another order of the axes.

    Args:
        volume: As `read_volume` gives it. Values count as float32 has them.

    Returns:
        Hexadecimal digits of a SHA-256.
    """
    turned = apply_orientation(volume.data, volume.geometry.orientation)
    found = hashlib.sha256(repr(turned.shape).encode())
    for plane in turned:  # one by one: large volumes are read several at once
        values = np.ascontiguousarray(plane, dtype="<f4") + np.float32(0)  # zero has one sign then
        values[np.isnan(values)] = np.nan
        found.update(values.data)
    return found.hexdigest()


def image_digest(path: Path) -> str:
    """Give the `voxel_digest` of an image file and, behind a full stop, a digest of where its voxels lie.

    Raises:
        InputError: The file cannot be read.
    """
    volume = read_volume(path)
    where = volume.geometry.affine.astype("<f4") + np.float32(0)  # as headers hold it
    place = hashlib.sha256(repr(volume.geometry.shape).encode() + where.tobytes()).hexdigest()[:16]
    return f"{voxel_digest(volume)}.{place}"


def voxels_of(digest: str) -> str:
    """Give the `voxel_digest` in an `image_digest`."""
    return digest.partition(".")[0]
