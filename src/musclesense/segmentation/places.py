"""Which part of the body each slice of a scan shows, and so the region of the scan and the side of a single limb."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.limbs import FoundLimbs
from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.place import FRAME, PLACES, Place, place_network
from musclesense.vocabulary import Channel, Limbs, Region

SURE, SURE_OF_SIDE = 0.6, 0.9
"""What is less likely is not known."""
_TOGETHER = 32
_LEG = (Place.FOOT, Place.CALF, Place.KNEE, Place.THIGH, Place.HIP, Place.ABDOMEN)
_STEP, _FURTHER, _BACK, _ELSEWHERE = 1.0, 0.3, 6.0, 4.0
"""Costs of another place than that of the slice before, as logarithms: the next one along a leg, each one further, back
along it, and to what is no leg."""
_LEAST = 0.01
_SIDED = (Place.CALF, Place.KNEE, Place.THIGH)


@dataclass(frozen=True, eq=False)
class FoundPlaces:
    """What the slices of a scan show.

    Attributes:
        places: Of each slice, in storage order.
        sure: How likely each slice shows each of `PLACES` by itself, (slices, places).
        left: How much each slice, where it shows a single limb, speaks for the left one, as log odds.
    """

    places: tuple[Place, ...]
    sure: NDArray[np.float32]
    left: NDArray[np.float32]

    @cached_property
    def main(self) -> tuple[Place, float]:
        """What most slices show, and how sure that is: the mean over these slices."""
        counts = Counter(self.places)
        place = max(counts, key=lambda one: (one is not Place.NOTHING, counts[one]))
        return place, self.sureness(place)

    def sureness(self, place: Place) -> float:
        """Give how sure the slices of a place are, on average; 0 where there are none."""
        own = [one is place for one in self.places]
        return float(self.sure[own, PLACES.index(place)].mean()) if any(own) else 0.0

    @property
    def region(self) -> Region | None:
        """The region, where it is one and that is sure."""
        place, sure = self.main
        return place.region if sure >= SURE else None

    def beyond(self, region: Region) -> dict[int, Place]:
        """Give the slices that show other places than a region, where most show the region."""
        if self.region is not region:
            return {}
        return {
            number: place
            for number, place in enumerate(self.places)
            if place.region is not region and place is not Place.NOTHING
        }

    def sided(self, found: FoundLimbs) -> FoundLimbs:
        """Tell the side of a single limb by its anatomy, where that is sure; its place must not speak for the other."""
        legs = [place in _SIDED for place in self.places]
        odds = float(self.left[legs].mean()) if any(legs) else 0.0
        sure = float(1 / (1 + np.exp(-abs(odds))))
        if sure < SURE_OF_SIDE:
            return found
        side = Limbs.LEFT if odds > 0 else Limbs.RIGHT
        if found.by_place:
            said = f"{found.why}, but of the {side} side by its anatomy ({sure:.0%} sure)"
            return found if found.limbs is side else replace(found, limbs=Limbs.ONE, why=said)
        said = f"{found.why.rpartition(',')[0]}, of this side by its anatomy ({sure:.0%} sure)"
        return replace(found, limbs=side, why=said)


def find_places(image: NDArray[Any], bodies: NDArray[np.bool_], geometry: Geometry) -> FoundPlaces:
    """Find what each slice of a magnitude image shows; slices beside each other show what follows along a leg.

    Args:
        image: Of ``geometry.shape``, any contrast.
        bodies: ``body_mask`` of its slices, likewise.
        geometry: Where the voxels lie.
    """
    prepared = []
    for number in range(slice_count(geometry)):
        part, body = (take_slice(volume, geometry, number) for volume in (image, bodies))
        prepared.append(FRAME.prepare(geometry, {Channel.IMAGE: part}, {Channel.IMAGE: body}).images)
    return judge(np.stack(prepared))


def judge(prepared: NDArray[np.float32]) -> FoundPlaces:
    """Say what consecutive slices show: (slices, 1, rows, columns), as `FRAME` prepares them."""
    starts = range(0, len(prepared), _TOGETHER)
    logits, left = zip(*(place_network()(prepared[at : at + _TOGETHER]) for at in starts), strict=True)
    likely = np.exp(np.concatenate(logits) - np.max(np.concatenate(logits), axis=1, keepdims=True))
    sure = likely / likely.sum(axis=1, keepdims=True)
    return FoundPlaces(_in_order(np.log(np.maximum(sure, _LEAST))), sure, np.concatenate(left))


def _in_order(scores: NDArray[np.float32]) -> tuple[Place, ...]:
    """Give the likeliest places of slices that follow each other up or down (Viterbi 1967)."""
    _, path = max(_path(scores, costs) for costs in (_COSTS, _COSTS.T))
    return tuple(PLACES[index] for index in path)


def _path(scores: NDArray[np.float32], costs: NDArray[np.float64]) -> tuple[float, list[int]]:
    total, came = scores[0].astype(np.float64), []
    for own in scores[1:]:
        ways = total[:, None] - costs
        came.append(ways.argmax(axis=0))
        total = ways.max(axis=0) + own
    path = [int(total.argmax())]
    for before in reversed(came):
        path.append(int(before[path[-1]]))
    return float(total.max()), path[::-1]


def _cost(one: Place, other: Place) -> float:
    if one is other:
        return 0.0
    if one not in _LEG or other not in _LEG:
        return _ELSEWHERE
    steps = _LEG.index(other) - _LEG.index(one)
    return _STEP + _FURTHER * (steps - 1) if steps > 0 else _BACK


_COSTS = np.array([[_cost(one, other) for other in PLACES] for one in PLACES])
