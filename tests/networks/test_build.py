"""Networks that fit their specification."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch

from musclesense.errors import InputError
from musclesense.imaging.grid import Grid
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


@pytest.mark.parametrize(
    ("changed", "taken"),
    [
        ({"grid": Grid(1.25, 320, 640), "network": {"name": "unet", "width": 64, "depth": 3}}, True),
        ({"grid": Grid(0.5, 2048, 2048), "network": {"name": "unet", "width": 16, "depth": 2}}, True),
        ({"grid": Grid(0.5, 2048, 2048), "network": {"name": "unet", "width": 128, "depth": 1}}, False),
        (
            {"grid": Grid(0.5, 2048, 2048), "scales": (2.0,), "network": {"name": "unet", "width": 32, "depth": 1}},
            False,
        ),
        (
            {
                "grid": Grid(0.5, 2048, 2048),
                "network": {"name": "folded_unet", "width": 4, "depth": 1, "fold": 2, "detail": 128},
            },
            False,
        ),
    ],
)
def test_layers_that_fill_the_memory_are_refused(changed: dict[str, Any], taken: bool) -> None:
    spec = spec_of(**changed)
    with nullcontext() if taken else pytest.raises(InputError, match="numbers at once for an image of "):
        require_fit(build_network(spec), spec)
