"""Which part of the body slices show, by a small network of its own: calf, thigh, what lies beside them, or neither."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.frame import Frame
from musclesense.imaging.grid import Grid
from musclesense.storage.atomic import atomic_path
from musclesense.vocabulary import Channel, Region


class Place(StrEnum):
    """A part of the body, those of a leg from below; ``nothing`` is an image without any of them."""

    FOOT = "foot"
    CALF = "calf"
    KNEE = "knee"
    THIGH = "thigh"
    HIP = "hip"
    ABDOMEN = "abdomen"
    HEAD = "head"
    ARM = "arm"
    NOTHING = "nothing"

    @property
    def region(self) -> Region | None:
        """The region that it is."""
        return {Place.CALF: Region.CALF, Place.THIGH: Region.THIGH}.get(self)

    @property
    def is_known(self) -> bool:
        """Whether it is a part of a body."""
        return self is not Place.NOTHING

    @property
    def said(self) -> str:
        """It in a sentence."""
        return _SAID.get(self, f"the {self}")


_SAID = {Place.ABDOMEN: "an abdomen or a chest", Place.ARM: "an arm", Place.NOTHING: "no part of a body that is known"}
FORMAT = 2
WEIGHTS = Path(__file__).with_name("place.safetensors")
PLACES = tuple(Place)
_ABOUT = {"format": str(FORMAT), "places": " ".join(PLACES)}
FRAME = Frame(Grid(spacing_mm=2.5, rows=80, columns=160), (Channel.IMAGE,), Channel.IMAGE)
"""How slices are laid before the network."""
STRIDES = (2, 2, 1, 2, 1, 2, 1)
"""Of the convolutions, each of 3 x 3 pixels and followed by a rectifier."""
_LEAST_RANGE = 1e-6
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PlaceNetwork:
    """Tells what a slice shows, and of a single limb the side. NumPy computes it: PyTorch takes long to import.

    Attributes:
        weights: ``0.weight``, ``0.bias``, ... of the convolutions, ``head.weight`` and ``head.bias`` of the last layer.
    """

    weights: Mapping[str, Floats]

    def __call__(self, images: Floats) -> tuple[Floats, Floats]:
        """Give logits of places, (batch, places), and that of a left limb, (batch,), alike in a mirror.

        Args:
            images: (batch, 1, rows, columns), as `FRAME` prepares them.
        """
        one, other = self._one_way(images), self._one_way(images[..., ::-1])
        places: Floats = (one + other)[:, :-1] / np.float32(2)
        left: Floats = one[:, -1] - other[:, -1]
        return places, left

    def _one_way(self, images: Floats) -> Floats:
        # From 0 to 1: a small limb stands out of much air, so its standard deviations are many.
        low, high = images.min((-2, -1), keepdims=True), images.max((-2, -1), keepdims=True)
        found = (images - low) / np.maximum(high - low, _LEAST_RANGE)
        for number, stride in enumerate(STRIDES):
            padded = np.pad(found, ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::stride, ::stride]
            made = np.tensordot(windows, self.weights[f"{number}.weight"], ((1, 4, 5), (1, 2, 3)))
            found = np.maximum(np.moveaxis(made + self.weights[f"{number}.bias"], -1, 1), 0)
        pooled = np.concatenate([found.mean((-2, -1)), found.max((-2, -1))], axis=1)
        heads: Floats = pooled @ self.weights["head.weight"].T + self.weights["head.bias"]
        return heads

    def write(self, file: Path) -> None:
        """Write weights in half precision, with what they tell apart."""
        from safetensors.numpy import save_file

        with atomic_path(file) as draft:
            save_file({name: value.astype(np.float16) for name, value in self.weights.items()}, draft, _ABOUT)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            InputError: It is of another release.
        """
        from safetensors import safe_open

        with safe_open(file, "np") as stored:
            if stored.metadata() != _ABOUT:
                raise InputError(f"{file}: is not of format {FORMAT}, as this Musclesense is; install it anew")
            return cls({name: stored.get_tensor(name).astype(np.float32) for name in stored.keys()})  # noqa: SIM118


@cache
def place_network() -> PlaceNetwork:
    """Give the network of the package."""
    return PlaceNetwork.read(WEIGHTS)
