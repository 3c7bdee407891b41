"""Specifications and checkpoints of small networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.networks.build import build_network
from musclesense.networks.spec import NetworkSpec

GRID = {"spacing_mm": 2.5, "rows": 80, "columns": 160, "fit": "centre"}
BEFORE = Path(__file__).parents[1] / "fixtures" / "before"
"""What the release before formats had numbers wrote."""
PUBLISHED = Path(__file__).parents[2] / "experiments" / "any_scanner_fat" / "model.ckpt"
TRAINED = {"loss": {"name": "dice_cross_entropy", "dice_weight": 1.0}, "optimizer": {"name": "adamw"}, "schedule": None}


def spec_of(**changed: Any) -> NetworkSpec:
    """A small U-Net of one channel; a test names only what it is about."""
    usual: dict[str, Any] = {
        "channels": ("fat",),
        "placed_by": "fat",
        "labels": LabelSet.from_config({"muscle": []}),
        "grid": Grid(6.4, 32, 64),
        "regions": ("thigh",),
        "network": {"name": "unet", "width": 4, "depth": 3},
    }
    return NetworkSpec(**usual | changed)


def lay_bare(network: Any, weight: float, bias: float) -> None:
    """Let a U-Net of one stage and feature give ``weight`` times the sum of its images, if above 0, plus ``bias``."""
    first, normalised, _, second, *_ = network.encoder[0]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for convolution in (first, second):
            convolution.weight[:, :, 1, 1] = (1 + normalised.eps) ** 0.5
        for layer in (normalised, network.encoder[0][4]):
            layer.weight.fill_(1)
        network.head.weight[1], network.head.bias[1] = weight, bias


def checkpoint_of(spec: NetworkSpec, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a checkpoint of the present format holds."""
    return {
        "format": spec.format,
        "state_dict": {f"network.{name}": tensor for name, tensor in weights.items()},
        "hyper_parameters": {"spec": spec.to_config(), **TRAINED},
    }


def write_checkpoint(
    path: Path,
    *,
    channels: Sequence[str] = ("fat", "water"),
    placed_by: str = "fat",
    regions: Sequence[str] = ("thigh",),
    classes: Mapping[str, list[int]] | None = None,
    grid: Mapping[str, Any] = GRID,
    weight: float = 20.0,
    bias: float = -10.0,
) -> Path:
    """Write a network whose logit is ``weight`` times the sum of its normalised images, plus ``bias``."""
    spec = spec_of(
        channels=tuple(channels),
        placed_by=placed_by,
        labels=LabelSet.from_config(classes or {"muscle": []}),
        grid=Grid(**grid),
        regions=tuple(regions),
        network={"name": "unet", "width": 1, "depth": 1},
    )
    network = build_network(spec)
    lay_bare(network, weight, bias)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(checkpoint_of(spec, network.state_dict()), path)
    return path
