"""ONNX models of the project's own networks: they are valid, and are made of right weights alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from musclesense.imaging.labels import LabelSet
from musclesense.networks.build import build_network
from musclesense.networks.onnx import UnsuitedError, multiple_of, onnx_model
from musclesense.networks.spec import NetworkSpec

from ..shared.networks import spec_of

UNET = {"name": "unet", "width": 3, "depth": 3}
FOLDED = {"name": "folded_unet", "width": 3, "depth": 2, "fold": 2, "detail": 4}
OF_LOGITS = {"name": "folded_unet", "width": 3, "depth": 2, "fold": 2}
SIDES = LabelSet.from_config({"left": [1], "right": [2]})


def network_of(network: dict[str, Any], **changed: Any) -> tuple[NetworkSpec, nn.Module]:
    """A network whose batch normalisation has seen something, and which tells pixels apart."""
    torch.manual_seed(0)
    spec = spec_of(network=network, channels=("fat", "water"), labels=SIDES, **changed)
    made = build_network(spec).eval()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.2, 3)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    *_, last = (layer for layer in made.modules() if isinstance(layer, nn.Conv2d))
    last.weight.data *= 20  # or all probabilities were alike
    return spec, made


def weights_of(network: nn.Module) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("network", [UNET, FOLDED, OF_LOGITS, UNET | {"depth": 1}])
def test_a_model_is_valid(network: dict[str, Any]) -> None:
    import onnx

    spec, made = network_of(network)
    model = onnx.load_from_string(onnx_model(spec, weights_of(made)))
    onnx.checker.check_model(model, full_check=True)
    assert [one.version for one in model.opset_import] == [18]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    (taken,), (given) = inferred.graph.input, inferred.graph.output[0]
    sizes = [[side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim] for one in (taken, given)]
    assert sizes == [["slices", 2, "rows", "columns"], ["slices", 3, "rows", "columns"]]
    assert {*(node.op_type for node in model.graph.node)} >= {"Conv", "Relu", "Softmax"}


@pytest.mark.parametrize(("network", "expected"), [(UNET, 4), (FOLDED, 4), (FOLDED | {"fold": 3}, 6)])
def test_what_rows_and_columns_are_multiples_of(network: dict[str, Any], expected: int) -> None:
    assert multiple_of(network) == expected


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    return lambda weights: weights.update({name: change(weights[name])})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: weights.pop("head.bias"),
        lambda weights: weights.update(other=np.zeros(3, np.float32)),
        changed("head.weight", lambda value: value[:-1]),
        changed("head.bias", lambda value: value.astype(np.complex64)),
        changed("head.bias", lambda value: value.astype(np.int64)),
        changed("encoder.0.0.weight", lambda value: value * np.float32(np.nan)),
        changed("encoder.1.1.running_var", lambda value: value - 10),
        changed("upsampling.0.weight", lambda value: value[..., :1]),
    ],
)
def test_weights_that_are_not_of_the_network_make_no_model(spoil: Callable[[dict[str, Any]], None]) -> None:
    spec, made = network_of(UNET)
    weights = weights_of(made)
    assert onnx_model(spec, weights)
    spoil(weights)
    with pytest.raises(UnsuitedError):
        onnx_model(spec, weights)


@pytest.mark.parametrize(
    "network",
    [
        {"name": "monai_basic_unet"},
        {"_target_": "torch.nn.Conv2d"},
        {"name": "unet", "width": 3},
        UNET | {"detail": 4},
        UNET | {"width": 3.0},
        UNET | {"width": True},
        UNET | {"depth": 0},
        UNET | {"depth": 4},
        UNET | {"depth": 10**9},
        FOLDED | {"fold": 0},
        {"name": ["unet"], "width": 3, "depth": 3},
    ],
)
def test_other_networks_have_no_model(network: dict[str, Any]) -> None:
    _, made = network_of(UNET)
    with pytest.raises(UnsuitedError):
        onnx_model(spec_of(network=network, channels=("fat", "water"), labels=SIDES), weights_of(made))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_weights_of_any_precision_are_taken(kind: Any) -> None:
    spec, made = network_of(UNET)
    whole = weights_of(made)
    weights = {name: value.astype(kind) if value.dtype.kind == "f" else value for name, value in whole.items()}
    assert len(onnx_model(spec, weights)) == len(onnx_model(spec, whole))
