"""What speaks against an image being what it is given for: its values, and what lies around the muscle."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.grid import right_to_left, slice_axis, slice_count, slice_zooms, take_slice
from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.trust import Looked, Seen, limbs_seen
from musclesense.vocabulary import Limbs, Side

if TYPE_CHECKING:
    from musclesense.segmentation.measured import MeasuredMask

_NEGATIVE, _BELOW_AIR = 0.02, 0.1
"""So many voxels lie so far below 0, in parts of the brightest: noise and interpolation leave others there."""
_LEAPS, _FAR, _FLAT = 0.06, 0.5, 0.25
"""So many neighbouring voxels, none of them 0, differ by so much of the range: phases leap from end to end. Where the
next neighbours differ by less than the last, it may be the border of a muscle in fat."""
_FEW_VALUES, _SLICES, _LEAST_VOXELS = 16, 9, 1000
_WRAPS, _WHOLE, _MASKED, _BETWEEN = 0.003, 0.9, 0.1, 0.1
"""Where so many voxels are 0, air is masked. Then hardly any neighbours differ by the whole range, but in a phase, of
which at least so many voxels lie in the middle half: black muscle beside white fat differs by as much."""
_BRIGHT, _BRIGHTER, _AIR, _AROUND, _LEAST_PIXELS = 0.4, 0.8, 0.05, 80, 60
"""Fat around a muscle is brighter than it in a fat image, be it of fat itself; this percentile of it is looked at.
What is darker than so much of muscle is air."""
_ALIKE, _DEEPER, _FULL = 0.25, 1.5, 0.9
"""Of the median, how far the 10th and 90th percentile of a body are apart; how much deeper than wide a body is; and
how much of the image it fills: an ellipse fills 0.79 of its box."""


def odd_values(image: NDArray[Any], geometry: Geometry) -> Iterator[str]:
    """Say how the values of an image are unlike those of a magnitude.

    >>> geometry = Geometry.from_affine((40, 40, 1), np.eye(4))
    >>> phase = np.random.default_rng(0).uniform(0, 4095, geometry.shape)
    >>> [said.partition(",")[0] for said in odd_values(phase, geometry)]
    ['neighbouring voxels leap from end to end of the range']
    """
    slices = np.moveaxis(image, slice_axis(geometry), 0)
    slices = slices[:: max(1, len(slices) // _SLICES)].astype(np.float32)
    sample = slices[:, ::2, ::2]
    low, bright, high = np.percentile(sample, (0.5, 99, 99.5))
    if (negative := float(np.mean(sample < -_BELOW_AIR * bright))) > _NEGATIVE:
        yield f"{100 * negative:.0f} % of voxels are far below 0, as in CT and phase images; give a magnitude image"
    few = len(np.unique(sample)) <= _FEW_VALUES and (slices == slices.round()).all()
    if few and (len(values := np.unique(slices)) == 2 or np.ptp(values) < 2 * _FEW_VALUES):
        yield f"holds {len(values)} values alone, as a mask does; give the image"
    one, other = slices[:, 1:], slices[:, :-1]
    there, steps = (one != 0) & (other != 0), np.abs(one - other)
    if np.count_nonzero(there) <= _LEAST_VOXELS:
        return
    if _wraps(slices, steps[there]) or _leaps(steps, there, float(high - low)) > _LEAPS:
        yield "neighbouring voxels leap from end to end of the range, as in phase images and noise; give a magnitude"


def _wraps(slices: NDArray[np.float32], steps: NDArray[np.float32]) -> bool:
    """Say whether an image whose air is masked leaps from end to end, and has values in between, too."""
    size, middle = np.ptp(slices), (slices.max() + slices.min()) / 2
    between = np.abs(slices[slices != 0] - middle) < size / 4
    masked, leaps = np.mean(slices == 0) > _MASKED, np.mean(steps > _WHOLE * size) > _WRAPS
    return bool(masked and leaps and between.mean() > _BETWEEN)


def _leaps(steps: NDArray[np.float32], there: NDArray[np.bool_], size: float) -> float:
    """Give the share of neighbours that are far apart, and at least one of which is unlike its other neighbour, too."""
    rough = steps[:, 1:-1] > _FAR * size
    rough &= (steps[:, :-2] > _FLAT * size) | (steps[:, 2:] > _FLAT * size)
    inside = there[:, :-2] & there[:, 1:-1] & there[:, 2:]
    return float(rough[inside].mean()) if inside.any() else 0.0


def odd_bodies(image: NDArray[Any], bodies: NDArray[np.bool_], geometry: Geometry) -> Iterator[str]:
    """Say how bodies are unlike limbs in a magnitude: without air around, all of a brightness, or deeper than wide."""
    if not bodies.any():
        return
    if bodies.mean() > _FULL:
        yield "no air is seen around the body, as in phase and fat fraction images; give a magnitude"
    low, median, high = np.percentile(image[bodies][::7], (10, 50, 90))
    if high - low < _ALIKE * median:
        yield "muscle and fat are about as bright, as in CT; look at the masks"
    slices = (take_slice(bodies, geometry, number) for number in range(slice_count(geometry)))
    deeper = float(np.median([_depth(body, geometry) for body in slices if body.any()]))
    if deeper > _DEEPER:
        yield f"the body is {deeper:.1f} times as deep as wide, as in a turned image; look at its orientation"


def _depth(body: NDArray[np.bool_], geometry: Geometry) -> float:
    """Give how deep the body of a native slice is, in parts of its width; 0 where the image cuts it at the sides."""
    sizes = np.multiply([np.ptp(at) + 1 for at in np.nonzero(body)], slice_zooms(geometry))
    across, _ = right_to_left(geometry)
    if np.take(body, (0, -1), across).any():
        return 0.0
    return float(sizes[1 - across] / sizes[across])


def like_water(found: "MeasuredMask", looked: Sequence[Looked], threshold: float) -> list[Side | Limbs]:
    """Name the limbs whose muscle is brighter than all around it in most slices, which it is in no fat image."""
    darker: dict[Side | Limbs, list[bool]] = {}
    for number, one in enumerate(looked):
        for limb, seen in limbs_seen(found, number, one, threshold).items():
            if seen.mask.sum() >= _LEAST_PIXELS:
                darker.setdefault(limb, []).append(_around(seen) < _BRIGHTER)
    return [limb for limb, own in darker.items() if np.mean(own) > 0.5]


def _around(seen: Seen) -> float:
    """Give how bright the limb is around a mask, in parts of the mask's median."""
    near, far = (ndimage.binary_dilation(seen.mask, iterations=pixels) for pixels in (2, 5))
    own = float(np.median(seen.image[seen.mask]))
    around = seen.image[far & ~near & (seen.image > _AIR * own)]
    if len(around) < _LEAST_PIXELS or own < _BRIGHT * np.percentile(seen.image[seen.body], 98):
        return np.inf
    return float(np.percentile(around, _AROUND) / own)
