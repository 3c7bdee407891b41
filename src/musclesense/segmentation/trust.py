"""How far a mask can be trusted, by slice and limb: a score from 0 to 1, and below 0.5 it is likely wrong.

What the mask looks like is weighed by a logistic regression. Its weights, for each network of the package, lie in
``trust.json``. They were fitted on phantoms and spoilt images, whose true masks are known (`experiments.trust`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.grid import Placement, slice_zooms, take_slice
from musclesense.networks.card import digest_of_weights
from musclesense.networks.spec import NetworkSpec
from musclesense.segmentation.place import PLACES
from musclesense.storage.records import read_json, require_format
from musclesense.vocabulary import Limbs, Side

if TYPE_CHECKING:
    from musclesense.segmentation.measured import MeasuredMask

FORMAT = 1
WEIGHTS = Path(__file__).with_name("trust.json")
OTHER = "other"
"""The fit for networks that were not calibrated: that of all calibrated ones together."""
DOUBTED_BELOW = 0.5
FEATURES: Mapping[str, int] = {
    "soft_miss": -1,  # how far the Dice that the probabilities promise is from 1
    "unsure": -1,  # 4 p (1 - p) summed over the limb, in parts of the mask's area
    "unsure_border": -1,  # the same, its mean along the border of the mask
    "looks_apart": -1,  # standard deviation over looks and networks, summed, in parts of the area
    "outline": -1,  # length of the border beside the square root of the area
    "no_region": -1,  # how likely the slice shows neither calf nor thigh
    "size": 1,  # of the limb, in cm2
    "pieces": -1,  # share of the mask that is not in its largest piece
    "unlike_sides": -1,  # logarithm of the ratio of this area to that of the other limb
    "jump": -1,  # and to the mean of the slices beside it
    "at_edge": -1,  # how much of the mask lies at the edge of the image, beside the square root of the area
    "beyond_frame": -1,  # share of the limb beyond the networks' frame
}
"""What is known of the mask of a limb in a slice, and whether more of it speaks for the mask (1) or against it (-1)."""
_AS_THEY_ARE = np.isin([*FEATURES], ["pieces", "unlike_sides", "jump", "at_edge", "beyond_frame"])
Key = tuple[int, Side | Limbs]
Floats = NDArray[np.float32]
_PIXEL_MM = 2.5
_FARTHEST, _LEAST = 3.0, 0.01


class Looked(NamedTuple):
    """What networks found in a slice, on a coarse grid."""

    placement: Placement
    every: int  # so many-th pixel of the networks' grid is kept
    whole: Floats  # probability of all labels together
    apart: Floats  # its standard deviation over the looks

    @classmethod
    def coarse(cls, placement: Placement, probabilities: Floats, apart: Floats) -> Self:
        """Keep what a network found on its grid: (classes, rows, columns) and (rows, columns)."""
        every = max(1, round(_PIXEL_MM / max(placement.spacing_mm)))
        whole = probabilities[:, ::every, ::every].sum(axis=0).clip(0, 1)
        return cls(placement, every, whole, apart[::every, ::every].copy())


@dataclass(frozen=True, eq=False)
class Trust:
    """A fitted regression on features, those of many sizes as logarithms.

    Attributes:
        mean: Of each.
        deviation: Standard deviation of each.
        weights: Of the standardised features, none of a sign that `FEATURES` rules out.
        bias: Of all, so that a score below `DOUBTED_BELOW` is to be flagged.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make the fit that `to_config` gave."""
        mean, deviation, weights = (np.array(config[name], float) for name in ("mean", "deviation", "weights"))
        return cls(mean, deviation, weights, float(config["bias"]))

    def to_config(self) -> dict[str, Any]:
        """Give plain values."""
        return {name: np.round(value, 4).tolist() for name, value in vars(self).items()}

    def terms(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give standardised features, (rows, features)."""
        return np.clip((in_logarithms(features) - self.mean) / self.deviation, -_FARTHEST, _FARTHEST)

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score masks of these features, (rows, features)."""
        scores: NDArray[np.float64] = 1 / (1 + np.exp(-self.terms(features) @ self.weights - self.bias))
        return scores


def in_logarithms(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take the logarithms of the features of many sizes, (rows, features)."""
    return np.where(_AS_THEY_ARE, features, np.log(np.maximum(features, 0) + _LEAST))


@cache
def fits(file: Path = WEIGHTS) -> Mapping[tuple[str, bool], Trust]:
    """Read what `experiments.trust.calibrate` wrote.

    Returns:
        By the SHA-256 of a network's weights, or `OTHER`, and whether it looks at a slice more than once.

    Raises:
        InputError: It is of a newer release.
    """
    stored = read_json(file, remedy="install Musclesense anew")
    require_format(file, stored, newest=FORMAT)
    return {(own["sha256"], own["several_looks"]): Trust.from_config(own) for own in stored["fits"]}


def fit_of(weights: Sequence[Path], spec: NetworkSpec) -> tuple[Trust, bool]:
    """Choose the fit for networks, and say whether it was made for them."""
    files = {*weights}
    several = spec.flip or len(spec.scales) > 1 or len(weights) > 1
    own = fits().get((digest_of_weights(files.pop()), several)) if len(files) == 1 else None
    return own or fits()[OTHER, several], own is not None


def judge(found: "MeasuredMask", looked: Sequence[Looked], threshold: float, fit: Trust) -> dict[Key, float]:
    """Score the mask of each limb in each slice that shows a body."""
    features = describe(found, looked, threshold)
    scores = fit.scores(np.array(list(features.values()))) if features else ()
    return {key: float(one) for key, one in zip(features, scores, strict=True)}


def describe(found: "MeasuredMask", looked: Sequence[Looked], threshold: float) -> dict[Key, list[float]]:
    """Give the `FEATURES` of the mask of each limb in each slice that shows a body."""
    parts = {}
    for number, one in enumerate(looked):
        for limb, part in _parts_of(found, number, one, threshold).items():
            parts[number, limb] = part
    return {key: _features(parts, *key) for key in parts}


def limbs_seen(found: "MeasuredMask", number: int, looked: Looked, threshold: float) -> dict[Side | Limbs, "Seen"]:
    """Give the limbs of a slice that show a body, on the coarse grid."""

    def part(volume: NDArray[Any]) -> NDArray[Any]:
        return looked.placement.nearest(take_slice(volume, found.geometry, number), looked.every)

    bodies, image = part(found.scan.bodies), part(found.scan.channels[found.scan.reference])
    halves = {limb: part(half) for limb, half in found.halves.items()}
    return {
        limb: Seen(bodies & own, own & (looked.whole >= threshold), looked.whole * own, looked.apart * own, image)
        for limb, own in halves.items()
        if (bodies & own).any()
    }


def _parts_of(
    found: "MeasuredMask", number: int, looked: Looked, threshold: float
) -> dict[Side | Limbs, dict[str, float]]:
    """Give what is seen of each limb in a slice by itself: the area of its mask in cm2, and `FEATURES`."""
    zooms, classes = slice_zooms(found.geometry), take_slice(found.classes, found.geometry, number)
    pixel = float(np.prod(looked.placement.spacing_mm)) * looked.every**2 / 100
    places = zip(PLACES, found.scan.places.sure[number], strict=True)
    off = 1 - float(sum(sure for place, sure in places if place.region))
    parts = {}
    for limb, seen in limbs_seen(found, number, looked, threshold).items():
        half = take_slice(found.halves[limb], found.geometry, number)
        beyond = (
            0 if found.beyond is None else np.count_nonzero(take_slice(found.beyond, found.geometry, number) & half)
        )
        area, body = int(seen.mask.sum()) * pixel, int(seen.body.sum()) * pixel
        outside = beyond * float(np.prod(zooms)) / 100
        edge = _at_edges((classes > 0) & half) * float(np.mean(zooms)) / 10
        parts[limb] = {
            **seen.values(),
            "area": area,
            "at_edge": edge / max(area, 1.0) ** 0.5,
            "no_region": off,
            "beyond_frame": outside / (body + outside),
            "size": body,
        }
    return parts


def _at_edges(mask: NDArray[np.bool_]) -> int:
    return sum(int(side.sum()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


class Seen(NamedTuple):
    """A limb on the coarse grid."""

    body: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    whole: Floats
    apart: Floats
    image: NDArray[Any]

    def values(self) -> dict[str, float]:
        """Give what the mask looks like by itself."""
        area = int(self.mask.sum())
        unsure = 4 * self.whole * (1 - self.whole)
        border = self.mask ^ ndimage.binary_erosion(self.mask)
        pieces = np.bincount(ndimage.label(self.mask)[0][self.mask]) if area else np.zeros(1, int)
        return {
            "soft_miss": 1 - float(2 * self.whole[self.mask].sum() / max(float(self.whole.sum()) + area, 1.0)),
            "unsure": float(unsure.sum()) / max(area, 1),
            "unsure_border": float(unsure[border].mean()) if area else 1.0,
            "looks_apart": float(self.apart.sum()) / max(area, 1),
            "pieces": 1 - int(pieces.max()) / max(area, 1),
            "outline": int(border.sum()) / max(area, 1) ** 0.5,
        }


def _features(parts: Mapping[Key, Mapping[str, float]], number: int, limb: Side | Limbs) -> list[float]:
    """Add what comparing with the other limb and with the slices beside it tells."""
    own = parts[number, limb]
    others = [part["area"] for (at, side), part in parts.items() if at == number and side != limb]
    beside = [parts[at, limb]["area"] for at in (number - 1, number + 1) if (at, limb) in parts]
    values = {**own, "unlike_sides": _unlike(own["area"], others), "jump": _unlike(own["area"], beside)}
    return [values[name] for name in FEATURES]


def _unlike(area: float, others: list[float]) -> float:
    """Say how far an area is from the mean of others, as a logarithm; 0 where there are none."""
    return float(min(abs(np.log((area + 1) / (np.mean(others) + 1))), 3.0)) if others else 0.0
