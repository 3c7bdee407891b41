"""Images whose air is NaN, as masking and divisions by 0 leave it."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.body import body_mask
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.nifti import Geometry, Volume
from musclesense.imaging.reader import ImageLike, image_name, read_image
from musclesense.messages import log

# The outline that is found lies up to two voxels outside a sharp edge.
_SKIN_VOXELS = 3


def read_body_image(image: ImageLike, argument: str) -> Volume:
    """Read an image that shows a body, as `read_image` does, with `nan_as_air`."""
    return nan_as_air(read_image(image, argument), image_name(image, argument))


def nan_as_air(volume: Volume, name: str, magnitude: NDArray[Any] | None = None) -> Volume:
    """Put 0 in place of NaN outside the body, with a warning; where it lies inside, all stays, to be refused.

    Args:
        volume: An image.
        name: Its name, for the warning.
        magnitude: Of the same voxels, which shows the body; by default the image itself does.
    """
    missing = np.isnan(volume.data)
    if not missing.any() or missing.all():
        return volume
    shown = np.where(missing, 0, volume.data)
    body = shown if magnitude is None else np.nan_to_num(magnitude, nan=0)
    if (missing & inner_body(body, volume.geometry)).any():
        return volume
    say_air(name, int(missing.sum()))
    return Volume(shown, volume.geometry)


def inner_body(magnitude: NDArray[Any], geometry: Geometry) -> NDArray[np.bool_]:
    """Find the voxels that lie surely inside the body, of the shape of ``magnitude``.

    >>> disc = np.pad(np.full((20, 20, 1), 9.0), ((8, 8), (8, 8), (0, 0)))
    >>> inside = inner_body(disc, Geometry.from_affine((36, 36, 1), np.eye(4)))
    >>> bool(inside[18, 18, 0]), bool(inside[2, 2, 0])
    (True, False)
    """
    inside = np.zeros(magnitude.shape, dtype=bool)
    for number in range(slice_count(geometry)):
        depth = ndimage.distance_transform_edt(body_mask(take_slice(magnitude, geometry, number)))
        take_slice(inside, geometry, number)[:] = depth > min(_SKIN_VOXELS, depth.max() / 3)
    return inside


@cache
def say_air(name: str, count: int) -> None:
    """Warn that voxels are taken for air; once, however often an image is read."""
    log.warning(f"{name}: {count} voxels outside the body are NaN; taken as air")
