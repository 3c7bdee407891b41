"""From prepared slices to probabilities, whatever computes them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musclesense.errors import ArgumentError
from musclesense.networks.spec import NetworkSpec
from musclesense.networks.test_time_augmentation import foreground

AUTO = "auto"


class Predictor(Protocol):
    """What turns slices on the grid into probabilities."""

    @property
    def spec(self) -> NetworkSpec:
        """What it takes and what it gives."""

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the probability of each foreground class.

        Args:
            images: (slices, channels, rows, columns), as `Frame.prepare` gives them.

        Returns:
            (slices, classes, rows, columns).
        """


class TorchPredictor:
    """A network of PyTorch, in 32 bit.

    Args:
        network: With its weights; it is moved to the device.
        device: ``auto`` (a GPU where there is one), or a device of PyTorch such as ``cpu`` or ``cuda:1``.

    Raises:
        InputError: There is no such device here.
    """

    def __init__(self, network: nn.Module, spec: NetworkSpec, device: str = AUTO) -> None:
        self._device = find_device(device)
        self.network = network.to(self._device).eval()
        self.spec = spec

    @torch.inference_mode()
    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the probability of each foreground class: (slices, classes, rows, columns)."""
        mirror = self.spec.labels.mirror if self.spec.flip else None
        given = torch.from_numpy(images).to(self._device)
        found = foreground(self._logits, given, scales=self.spec.scales, mirror=mirror)
        return found.cpu().numpy()

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits


class Ensemble:
    """The mean of one or more networks, which differ in their weights alone."""

    def __init__(self, members: Sequence[Predictor]) -> None:
        self._members = tuple(members)
        self.spec = members[0].spec

    def probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the mean probability of each foreground class: (slices, classes, rows, columns)."""
        total = self._members[0].probabilities(images)
        for member in self._members[1:]:
            total += member.probabilities(images)
        total /= len(self._members)
        return total


def find_device(name: str) -> torch.device:
    """Give the device of a name.

    Raises:
        InputError: There is none of that name here.
    """
    if name == AUTO:
        return torch.device(
            "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        )
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError("{device}: there is no such device here; give auto or cpu", device=str(name)) from error
    return device
