"""Networks that fit their specification."""

from typing import Any

import pytest
import torch

from musclesense.errors import InputError
from musclesense.networks.build import build_network, require_fit

from ..shared.networks import spec_of


def test_weights_lie_beside_each_other_in_memory() -> None:
    network: Any = build_network(spec_of())
    weight = network.encoder[1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


class _OneLayerUnderTwoNames(torch.nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(channels, classes, 1)
        self.again = torch.nn.Sequential(self.convolution, torch.nn.BatchNorm2d(classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.again(images)
        return logits


def test_layers_under_two_names_are_one() -> None:
    """As MONAI's DynUNet registers its own."""
    spec = spec_of(channels=("fat", "water"))
    network = _OneLayerUnderTwoNames(2, 2)
    require_fit(network, spec)
    assert all(tensor.device.type == "cpu" for tensor in network.state_dict().values())
    with pytest.raises(InputError, match=r"model: gives \(1, 3, "):
        require_fit(_OneLayerUnderTwoNames(2, 3), spec)
