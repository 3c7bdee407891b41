"""What a trained network is: the images it takes, how they are laid before it, and what its numbers mean."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from musclesense.errors import InputError
from musclesense.imaging.frame import NORMALISATIONS, Z_SCORE, Frame
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.vocabulary import CHANNELS, Region

_SMALLEST_SCALE, _LARGEST_SCALE, _MOST_SCALES = 0.5, 2.0, 32
_FARTHEST_MM, _LEAST_WEIGHT = 100.0, 0.01
WIDEST, DEEPEST, MOST_FOLDED = 1024, 10, 8
"""Features of the finest stage, stages, and pixels along a folded square that a U-Net may have."""
MOST_FEATURES = 2**28
"""Of a layer for one image, each of 4 bytes; several layers are in memory at once."""


class Effort(StrEnum):
    """How often a network looks at a slice: test-time augmentation."""

    FAST = "fast"  # once
    DEFAULT = "default"  # as the network was trained to be used


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """All that is needed, beside the weights, to use a network on another scan.

    Raises:
        InputError: A value that no network can have.

    >>> spec = NetworkSpec(
    ...     channels=("fat",),
    ...     placed_by="fat",
    ...     labels=LabelSet.from_config({"muscle": []}),
    ...     grid=Grid(),
    ...     regions=(Region.THIGH,),
    ...     network={"name": "unet", "width": 16, "depth": 5},
    ... )
    >>> NetworkSpec.from_config(spec.to_config()) == spec
    True
    """

    channels: tuple[str, ...]  # images that the network takes, in order
    placed_by: str  # the image whose body places slices on the grid; it need not be one of ``channels``
    labels: LabelSet  # what is segmented
    grid: Grid  # the frame on which the network works
    regions: tuple[str, ...]  # regions that were trained on
    network: Mapping[str, Any]  # ``name`` of `registry.NETWORK`, or ``_target_`` of a class of one's own, and arguments
    threshold: float = 0.5  # foreground probability from which a pixel is segmented
    flip: bool = False  # test-time augmentation: give the mean over each image and its mirror image
    scales: tuple[float, ...] = (1.0,)  # the same over sizes of the image, relative to that on the grid
    across_mm: float = 0.0
    """Probabilities are weighed with those of the slices beside, by a bell curve of this standard deviation, and pieces
    apart from limbs are dropped. Training does neither: its networks have 0; a bundle may have another value."""
    normalisation: str = Z_SCORE  # of each image on the grid, one of `NORMALISATIONS`

    def __post_init__(self) -> None:
        channels, regions = self.channels, self.regions
        if not channels or len({*channels}) < len(channels) or not {*channels} <= {*CHANNELS}:
            raise InputError(f"channels={list(channels)}: give some of {', '.join(CHANNELS)}, each once")
        if self.placed_by not in CHANNELS:
            raise InputError(f"placed_by={self.placed_by}: give one of {', '.join(CHANNELS)}")
        if not regions or len({*regions}) < len(regions) or not {*regions} <= {*Region}:
            raise InputError(f"region.regions={list(regions)}: give {' or '.join(Region)}, or both")
        if not 0 < self.threshold < 1:
            raise InputError(f"inference.threshold={self.threshold}: give a probability between 0 and 1")
        if not isinstance(self.flip, bool):
            raise InputError(f"inference.flip={self.flip}: give true or false")
        known = all(_SMALLEST_SCALE <= scale <= _LARGEST_SCALE for scale in self.scales)
        if not known or not 1 <= len(self.scales) <= _MOST_SCALES:
            limits = f"{_SMALLEST_SCALE:g} to {_LARGEST_SCALE:g}"
            raise InputError(f"inference.scales={list(self.scales)}: give 1 to {_MOST_SCALES}, each from {limits}")

        if not 0 <= self.across_mm <= _FARTHEST_MM:
            raise InputError(f"across_mm={self.across_mm}: give 0 to {_FARTHEST_MM:g} mm")
        if self.normalisation not in NORMALISATIONS:
            raise InputError(f"normalisation={self.normalisation}: give {' or '.join(NORMALISATIONS)}")

    def at(self, effort: Effort) -> Self:
        """Give the same network with as much test-time augmentation as is asked for."""
        return replace(self, flip=False, scales=(1.0,)) if effort == Effort.FAST else self

    def weight_across(self, distance_mm: float) -> float:
        """Give how much a slice beside another counts for it, whose own weight is 1; what is hardly any is none.

        It is that of a bell curve of the distance of their middles.
        """
        weight = math.exp(-0.5 * (distance_mm / self.across_mm) ** 2) if self.across_mm else 0.0
        return weight if weight >= _LEAST_WEIGHT else 0.0

    @property
    def frame(self) -> Frame:
        """How slices are laid before the network."""
        return Frame(self.grid, self.channels, self.placed_by, self.normalisation)

    @property
    def format(self) -> int:
        """The format of files that hold it: 3 where those who read 2 would normalise otherwise."""
        return 2 if self.normalisation == Z_SCORE else 3

    @property
    def images(self) -> tuple[str, ...]:
        """The images that must be given: the channels, and the one by which slices are placed."""
        return tuple(dict.fromkeys((*self.channels, self.placed_by)))

    @property
    def pixels(self) -> int:
        """Pixels of an image at the largest size at which the network sees it."""
        return round(self.grid.rows * self.grid.columns * max(self.scales) ** 2)

    @property
    def classes(self) -> int:
        """Numbers that the network gives for a pixel: background and the foreground classes."""
        return self.labels.n_classes + 1

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Make the specification that ``to_config`` gave; what is absent has its default."""
        optional = ("threshold", "flip", "across_mm", "normalisation")
        given = {name: config[name] for name in optional if name in config}
        return cls(
            channels=tuple(config["channels"]),
            placed_by=config["placed_by"],
            labels=LabelSet.from_config(config["labels"]),
            grid=Grid(**config["grid"]),
            regions=tuple(config["regions"]),
            network=dict(config["network"]),
            scales=tuple(config.get("scales", cls.scales)),
            **given,
        )

    def to_config(self) -> dict[str, Any]:
        """Give plain values, which any record can hold."""
        return {
            "channels": list(map(str, self.channels)),
            "placed_by": str(self.placed_by),
            "labels": self.labels.to_config(),
            "grid": self.grid.to_config(),
            "regions": list(map(str, self.regions)),
            "network": dict(self.network),
            "threshold": self.threshold,
            "flip": self.flip,
            "scales": list(self.scales),
            "across_mm": self.across_mm,
            "normalisation": self.normalisation,
        }
