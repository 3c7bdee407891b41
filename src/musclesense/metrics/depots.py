"""The fat of a limb outside its muscles: beneath the skin, and between the muscles."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from musclesense.imaging.boxes import box_around, grown

_FATTY_PERCENT = 50.0
_DARK = 0.25
"""Cortical bone and air are darker than this part of the usual signal of fat."""
_SKIN_MM = 3.0
"""Half the thickness of what is too thin for a muscle: skin, superficial veins."""
_LEAST_PART = 0.01
"""Of the largest piece of lean tissue; smaller ones, such as lymph nodes, do not reach the fascia."""
_BRIDGE_MM = 1.5
"""Half the width of a gap in cortical bone."""
_CORTEX_MM = 3.0
"""Marrow is fat in a ring that is dark so near, ..."""
_RING, _ROUND, _BESIDE_MUSCLE = 0.7, 0.35, 0.2
"""... in this part of the ring; that is round: a disc that fits into it has this part of its area; ... and that has
muscle beside it in less than this part of the ring."""


class Depots(NamedTuple):
    """Fat of a limb in a slice, of the slice's shape."""

    subcutaneous: NDArray[np.bool_]
    intermuscular: NDArray[np.bool_]


def fat_depots(
    fat_fraction_percent: NDArray[np.floating],
    signal: NDArray[np.floating],
    body: NDArray[np.bool_],
    muscle: NDArray[np.bool_],
    zooms: tuple[float, float],
) -> Depots | None:
    """Part the fat of one limb in a slice by the envelope of its muscles, which stands for the deep fascia.

    Fat is tissue of more than 50 % fat. The envelope is the convex hull of the mask and of lean tissue that is thicker
    than skin. Subcutaneous fat lies outside it; intermuscular fat lies inside it, outside the mask. The marrow of bones
    is neither: it is round, and cortical bone, which is dark, lies around it. Fat within the muscles of the mask is
    their fat fraction.

    Where the fascia stands off from the muscles, and where a limb is hollow, a part of the fat is counted on the wrong
    side of it.

    Source: an envelope that lies tightly around all muscles, as one of the two definitions that Chaudry et al. (2021),
    MAGMA 34, 285-298, doi:10.1007/s10334-020-00878-w, compare; how the envelope and marrow are found is our own.

    Args:
        fat_fraction_percent: 100 F / (F + W), a 2-D slice.
        signal: F + W.
        body: Where the limb lies, filled.
        muscle: The mask of its muscles.
        zooms: Voxel size in mm along the two axes.

    Returns:
        Both depots, or None where the limb shows neither muscle nor lean tissue.
    """
    limb = body | muscle
    if not limb.any():
        return None
    box = box_around(limb)
    fraction, inside, mask = fat_fraction_percent[box], body[box], muscle[box]
    bright = inside & (signal[box] > _DARK * _usual_signal(fraction, signal[box], inside))
    with np.errstate(invalid="ignore"):
        fatty = bright & (fraction > _FATTY_PERCENT)
    envelope = _envelope(_large(_thick(bright & ~fatty, zooms) | mask), inside)
    if envelope is None:
        return None
    fat = fatty & ~mask
    fat &= ~_marrow(fat, inside & ~bright, mask, zooms)
    depots = Depots(np.zeros(body.shape, bool), np.zeros(body.shape, bool))
    depots.subcutaneous[box], depots.intermuscular[box] = fat & ~envelope, fat & envelope
    return depots


def _usual_signal(fraction: NDArray[np.floating], signal: NDArray[np.floating], body: NDArray[np.bool_]) -> float:
    """Give the median of fat, or of the body where it shows none."""
    with np.errstate(invalid="ignore"):
        fat = signal[body & (fraction > _FATTY_PERCENT)]
    shown = fat if fat.size else signal[body]
    return float(np.median(shown)) if shown.size else 0.0


def _thick(tissue: NDArray[np.bool_], zooms: tuple[float, float]) -> NDArray[np.bool_]:
    """Leave out what is thin: an opening by a disc."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(tissue, 1, mode="edge"), sampling=zooms)
    core = depth[1:-1, 1:-1] > _SKIN_MM
    if not core.any():
        return core
    opened: NDArray[np.bool_] = ndimage.distance_transform_edt(~core, sampling=zooms) <= _SKIN_MM
    return opened & tissue


def _large(tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    pieces, count = ndimage.label(tissue)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept: NDArray[np.bool_] = ((sizes > 0) & (sizes >= _LEAST_PART * sizes.max()))[pieces]
    return kept


def _envelope(tissue: NDArray[np.bool_], body: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Give the part of the body inside the convex hull of tissue, None where there is no hull."""
    points = np.argwhere(tissue ^ ndimage.binary_erosion(tissue))
    try:
        facets = ConvexHull(points).equations
    except (QhullError, ValueError):  # no three points that are not in a line
        return None
    envelope = np.zeros(body.shape, dtype=bool)
    (top, left), (bottom, right) = points.min(axis=0), points.max(axis=0)
    rows, columns = np.ogrid[top : bottom + 1, left : right + 1]
    inside = np.ones((bottom - top + 1, right - left + 1), dtype=bool)
    for along_rows, along_columns, offset in facets:
        inside &= along_rows * rows + along_columns * columns + offset <= 1e-6
    envelope[top : bottom + 1, left : right + 1] = inside & body[top : bottom + 1, left : right + 1]
    return envelope


def _marrow(
    fat: NDArray[np.bool_], dark: NDArray[np.bool_], muscle: NDArray[np.bool_], zooms: tuple[float, float]
) -> NDArray[np.bool_]:
    """Find the pieces of fat that cortical bone encloses; a narrow bridge to other fat is cut."""
    cores, count = ndimage.label(ndimage.distance_transform_edt(fat, sampling=zooms) > _BRIDGE_MM)
    near_dark = ndimage.distance_transform_edt(~dark, sampling=zooms) <= _CORTEX_MM
    marrow = np.zeros_like(fat)
    reach = int(_BRIDGE_MM / zooms[0]) + 2, int(_BRIDGE_MM / zooms[1]) + 2
    for number, place in enumerate(ndimage.find_objects(cores, count), start=1):
        around = grown(place, reach, fat.shape)
        core = cores[around] == number
        piece = fat[around] & (ndimage.distance_transform_edt(~core, sampling=zooms) <= _BRIDGE_MM)
        ring = ndimage.binary_dilation(piece) & ~piece
        if not ring.any() or near_dark[around][ring].mean() < _RING or muscle[around][ring].mean() > _BESIDE_MUSCLE:
            continue
        radius = ndimage.distance_transform_edt(np.pad(piece, 1), sampling=zooms).max()
        if np.pi * radius**2 >= _ROUND * np.count_nonzero(piece) * zooms[0] * zooms[1]:
            marrow[around] |= piece
    return marrow
