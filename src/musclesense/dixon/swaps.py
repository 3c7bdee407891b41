"""Fat and water exchanged: limbs that look inside out, with water below the skin and fat within.

Fat lies below the skin of healthy and of diseased limbs. Muscle that is all fat looks like it, and thin fat is seen
with muscle; so a limb is judged by how much fattier its rim is than its core, never by how much fat there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musclesense.dixon.field import rim_and_core
from musclesense.imaging.body import body_mask
from musclesense.imaging.grid import slice_axis, slice_count, take_slice
from musclesense.imaging.limbs import find_limbs, part_limbs
from musclesense.imaging.nifti import Geometry
from musclesense.messages import log

SWAPPED = "fat and water look exchanged, with water below the skin and fat within,"

# Fewer voxels are no limb.
_LEAST_VOXELS = 400
# A limb is inside out below the first excess of the rim, and surely below the second.
_INSIDE_OUT, _SURELY = -0.05, -0.1
# Skin, which is water, lowers the mean of the rim by up to this much, but not its median.
_SKIN = 0.1


@dataclass(frozen=True)
class Swaps:
    """How much fattier the rims of limbs are than their cores, as fat fractions from 0 to 1.

    Attributes:
        excess: By limb, and by the number of the slice.
    """

    excess: Mapping[str, Mapping[int, float]]

    @property
    def whole(self) -> bool:
        """Whether all limbs are inside out, as where the one image was taken for the other."""
        means = [np.mean([*found.values()]) for found in self.excess.values()]
        return bool(means) and bool(max(means) < _SURELY)

    @property
    def where(self) -> str:
        """The limbs that are inside out, with their slices unless it is all of them; empty where none is."""
        said = []
        for limb, found in self.excess.items():
            out = [number for number, excess in found.items() if excess < _INSIDE_OUT]
            slices = "" if len(out) == len(found) else f" (slice {', '.join(map(str, out))})"
            said += [f"the {limb} limb{slices}"] if out else []
        return " and ".join(said)

    def warn(self, name: str) -> None:
        """Name the limbs that are inside out, if there are any."""
        if self.where:
            log.warning(f"{name}: {SWAPPED} in {self.where}; look at the images, and do not use what is swapped")


class FewSlices(NamedTuple):
    """Slices of a volume, enough to judge its limbs by."""

    numbers: list[int]
    images: NDArray[np.float32]  # of the volume's axes


def few_slices(image: NDArray[Any], geometry: Geometry, *, most: int = 9) -> FewSlices:
    """Take slices of a volume, evenly spread."""
    count = slice_count(geometry)
    numbers = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
    return FewSlices(numbers, np.take(image, numbers, slice_axis(geometry)).astype(np.float32))


def find_swaps(fat: FewSlices, water: FewSlices, geometry: Geometry) -> Swaps:
    """Look for limbs that are inside out.

    Args:
        fat: From `few_slices`, in the unit of ``water``.
        water: Likewise, the same slices.
        geometry: Of the whole volumes.
    """
    total = fat.images + water.images
    i, j, k = total.shape
    geometry = geometry.moved((i, j, k), geometry.affine)
    bodies = np.zeros(total.shape, dtype=bool)
    for index in range(slice_count(geometry)):
        take_slice(bodies, geometry, index)[:] = body_mask(take_slice(total, geometry, index))
    found = find_limbs(total, bodies, geometry)
    excess: dict[str, dict[int, float]] = {}
    for limb, half in part_limbs(found, found.limbs, bodies, geometry).items():
        for index, number in enumerate(fat.numbers):
            voxels = take_slice(bodies & half, geometry, index)
            if voxels.sum() >= _LEAST_VOXELS:
                images = (take_slice(image, geometry, index) for image in (fat.images, total))
                excess.setdefault(str(limb), {})[number] = _rim_excess(voxels, *images)
    return Swaps(excess)


def _rim_excess(limb: NDArray[np.bool_], fat: NDArray[np.float32], total: NDArray[np.float32]) -> float:
    """Give how much fattier the rim of a limb is than its core, by means and medians; 0 where there is no rim."""
    parts = rim_and_core(limb, limb & (total > 0))
    if not all(part.any() for part in parts):
        return 0.0
    means = [float(fat[part].sum() / total[part].sum()) for part in parts]
    medians = [float(np.median(fat[part] / total[part])) for part in parts]
    mean, median = means[0] - means[1], medians[0] - medians[1]
    return min(mean + _SKIN, max(mean, median))


def look_for_swaps(fat: NDArray[Any], water: NDArray[Any], geometry: Geometry) -> Swaps:
    """Look for limbs that are inside out in whole volumes."""
    return find_swaps(few_slices(fat, geometry), few_slices(water, geometry), geometry)
