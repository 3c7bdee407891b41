"""From prepared slices to probabilities, whatever computes them.

Test-time augmentation is the mean of what a network finds in an image, in its mirror image and at other sizes.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from musclesense.networks.spec import NetworkSpec

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


class Predictor(Protocol):
    """What turns slices on the grid into probabilities."""

    @property
    def spec(self) -> NetworkSpec:
        """What it takes and what it gives."""

    @property
    def runtime(self) -> Mapping[str, str]:
        """The library that computes, and its version."""

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the probability of each foreground class.

        Args:
            images: (slices, channels, rows, columns), as `Frame.prepare` gives them.

        Returns:
            (slices, classes, rows, columns).
        """


class Ensemble:
    """The mean of one or more networks, which differ in their weights alone."""

    def __init__(self, members: Sequence[Predictor]) -> None:
        self.members = tuple(members)
        self.spec = members[0].spec
        self.runtime = members[0].runtime

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the mean probability of each foreground class: (slices, classes, rows, columns)."""
        total = self.members[0].probabilities(images)
        for member in self.members[1:]:
            total += member.probabilities(images)
        total /= len(self.members)
        return total
