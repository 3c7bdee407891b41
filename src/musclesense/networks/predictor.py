"""From prepared slices to probabilities, whatever computes them.

Test-time augmentation is the mean of what a network finds in an image, in its mirror image and at other sizes.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musclesense.networks.spec import NetworkSpec

Array = NDArray[np.float32]
AUTO = "auto"
STRIDE = 64
"""The project's networks pad frames themselves; others' take multiples of a power of two, and all take this one's."""

_GPUS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
"""What the drivers of NVIDIA, of its boards, of AMD and of Windows below Linux make."""


def on_processor(device: str) -> bool:
    """Tell whether a device is the processor. PyTorch, which takes a second to import, is asked if there may be a GPU.

    Raises:
        InputError: There is no such device.
    """
    if device == "cpu" or (device == AUTO and sys.platform == "linux" and not any(Path(one).exists() for one in _GPUS)):
        return True
    from musclesense.networks.torch_predictor import find_device

    return find_device(device).type == "cpu"


class Found(NamedTuple):
    """What networks find in slices."""

    probabilities: Array  # (slices, classes, rows, columns), the mean over all looks
    apart: Array  # (slices, rows, columns): standard deviation of all classes together over the looks


class Predictor(ABC):
    """What turns slices on the grid into probabilities.

    Attributes:
        spec: What it takes and what it gives.
        runtime: The library that computes, and its version.
    """

    spec: NetworkSpec
    runtime: Mapping[str, str]

    @abstractmethod
    def looks(self, images: Array) -> Iterator[Array]:
        """Give what is found by each look: by each network, at each size, in the image and its mirror image.

        Args:
            images: (slices, channels, rows, columns), as `Frame.prepare` gives them.

        Returns:
            The probability of each foreground class, (slices, classes, rows, columns).
        """

    def probabilities(self, images: Array) -> Array:
        """Give the mean over all `looks`."""
        return self.find(images).probabilities

    def find(self, images: Array) -> Found:
        """Give the mean over all `looks`, and how far they are apart."""
        looks = self.looks(images)
        total = next(looks).copy()
        whole = [total.sum(axis=1)]
        for one in looks:
            total += one
            whole.append(one.sum(axis=1))
        total /= len(whole)
        return Found(total, np.std(whole, axis=0))


class Ensemble(Predictor):
    """One or more networks, which differ in their weights alone."""

    def __init__(self, members: Sequence[Predictor]) -> None:
        self.members = tuple(members)
        self.spec = members[0].spec
        self.runtime = members[0].runtime

    def looks(self, images: Array) -> Iterator[Array]:
        """Give what each of the networks finds."""
        return chain.from_iterable(member.looks(images) for member in self.members)
