"""Where the body lies in a slice, and what air looks like around it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_BODY_SMOOTHING_PIXELS = 1.5
_BINS = 256
_SMALLEST_REGION = 0.1
_SPUR = 0.1


def body_mask(image: NDArray[Any]) -> NDArray[np.bool_]:
    """Find the body in a 2-D magnitude image: Otsu's threshold, filled, without small regions.

    Returns:
        The shape of ``image``; all False where the image is constant.
    """
    # Square roots bring muscle nearer to bright fat, so that the threshold falls between muscle and air.
    smooth = np.sqrt(np.maximum(ndimage.gaussian_filter(image.astype(np.float32), _BODY_SMOOTHING_PIXELS), 0))
    if smooth.min() == smooth.max():
        return np.zeros(image.shape, dtype=bool)
    body = fill(smooth > _otsu(smooth))
    regions, count = ndimage.label(body)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept: NDArray[np.bool_] = ((sizes >= _SMALLEST_REGION * sizes.max()) & (sizes > 0))[regions]
    return kept


def background_level(image: NDArray[Any], body: NDArray[np.bool_] | None = None) -> float:
    """Give the median of a 2-D image outside its body, or its minimum where the body fills it."""
    outside = image[~(body_mask(image) if body is None else body)]
    return float(np.median(outside) if outside.size else image.min())


def body_centre(body: NDArray[np.bool_]) -> tuple[float, float]:
    """Give the middle of a body along both axes, or that of the image where there is none."""
    if not body.any():
        return (body.shape[0] - 1) / 2, (body.shape[1] - 1) / 2
    return _middle(body.sum(axis=1)), _middle(body.sum(axis=0))


def _otsu(image: NDArray[np.float32]) -> float:
    """Give the threshold that parts the histogram of an image into the two classes that lie farthest apart.

    Source: Otsu 1979, doi:10.1109/TSMC.1979.4310076. Not scikit-image's, which gives the same number and takes longer
    to import than to work.
    """
    counted, edges = np.histogram(image, _BINS)
    counts, centres = counted.astype(np.float32), (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / below
    mean_above = np.cumsum((counts * centres)[::-1])[::-1] / above
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(centres[between.argmax()])


def _middle(profile: NDArray[Any]) -> float:
    """Give the middle between the ends of a profile of body pixels, leaving out thin spurs."""
    wide = np.flatnonzero(profile > _SPUR * profile.max())
    return float(wide[0] + wide[-1]) / 2


def fill(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill what the border of the image cannot reach (labelling does it far faster than binary_fill_holes)."""
    outside, count = ndimage.label(~mask)
    edge = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    reached = np.zeros(count + 1, dtype=bool)
    reached[edge] = True
    reached[0] = False
    filled: NDArray[np.bool_] = ~reached[outside]
    return filled
