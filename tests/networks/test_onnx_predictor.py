"""ONNX Runtime finds what PyTorch finds, with every kind of test-time augmentation."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from musclesense.imaging.grid import Grid
from musclesense.networks import onnx_predictor as module
from musclesense.networks.bundle import read_networks, write_bundle
from musclesense.networks.card import CARD, WEIGHTS
from musclesense.networks.onnx import UnsuitedError, multiple_of
from musclesense.networks.onnx_predictor import OnnxPredictor, read_onnx
from musclesense.networks.predictor import Predictor
from musclesense.networks.shipped import shipped
from musclesense.networks.spec import Effort, NetworkSpec
from musclesense.networks.torch_predictor import TorchPredictor

from .test_onnx import FOLDED, OF_LOGITS, UNET, network_of, weights_of

PARITY = 1e-4
"""The largest difference in probability that is taken."""


def both(spec: NetworkSpec, network: torch.nn.Module) -> tuple[Predictor, Predictor]:
    return OnnxPredictor(spec, weights_of(network)), TorchPredictor(network, spec, "cpu")


def agree(spec: NetworkSpec, network: torch.nn.Module, slices: int = 2) -> None:
    own, other = both(spec, network)
    shape = (slices, len(spec.channels), spec.grid.rows, spec.grid.columns)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found, expected = own.probabilities(images), other.probabilities(images)
    assert found.shape == expected.shape and found.dtype == np.float32
    assert expected.std() > 0.01
    assert np.abs(found - expected).max() < PARITY


@settings(deadline=None, max_examples=25)
@given(
    network=st.sampled_from([UNET, FOLDED, OF_LOGITS, FOLDED | {"fold": 3, "depth": 1}]),
    sides=st.tuples(st.integers(4, 20), st.integers(4, 20)),
    scales=st.lists(st.floats(0.5, 2), max_size=2),
    flip=st.booleans(),
    slices=st.integers(1, 3),
)
def test_probabilities_are_those_of_pytorch(
    network: dict[str, Any], sides: tuple[int, int], scales: list[float], flip: bool, slices: int
) -> None:
    fit = multiple_of(network)
    own = scales if 64 % fit == 0 else []
    grid = Grid(6.4, fit * sides[0], fit * sides[1])
    agree(*network_of(network, grid=grid, scales=(*own, 1.0), flip=flip), slices)


@pytest.mark.parametrize(("rows", "columns"), [(33, 64), (32, 61), (7, 9)])
def test_frames_that_do_not_fit_are_made_up_as_the_network_does(rows: int, columns: int) -> None:
    grid = Grid(6.4, rows, columns)
    agree(*network_of(UNET, grid=grid, scales=(1.0, 1.3), flip=True))
    with pytest.raises(UnsuitedError):
        agree(*network_of(FOLDED, grid=grid))


@pytest.mark.parametrize("effort", Effort)
@pytest.mark.parametrize("name", shipped())
def test_each_network_of_the_package_finds_what_pytorch_finds(name: str, effort: Effort) -> None:
    networks, trained = read_onnx(shipped()[name], effort), read_networks(shipped()[name])
    assert networks is not None and len(networks) == len(trained)
    spec = trained[0].spec.at(effort)
    rows, columns = np.mgrid[: spec.grid.rows, : spec.grid.columns]
    disc = np.hypot(rows - spec.grid.rows / 2, columns - spec.grid.columns / 4) < spec.grid.rows / 3
    noise = np.random.default_rng(0).normal(size=(1, len(spec.channels), *disc.shape))
    images = (disc + 0.2 * noise).astype(np.float32)
    for own, other in zip(networks, trained, strict=True):
        expected = TorchPredictor(other.network, spec, "cpu").probabilities(images)
        assert np.abs(own.probabilities(images) - expected).max() < PARITY
        assert own.spec == spec and set(own.runtime) == {"onnxruntime"}


@given(st.integers(1, 60), st.integers(1, 60))
def test_images_are_resized_as_pytorch_does(now: int, then: int) -> None:
    image = np.random.default_rng(0).normal(size=(1, 2, now, 5)).astype(np.float32)
    expected = functional.interpolate(
        torch.from_numpy(image), size=[then, 9], mode="bilinear", align_corners=False, antialias=True
    )
    np.testing.assert_allclose(module._resized(image, (then, 9)), expected.numpy(), atol=1e-4)


def test_bundles_of_several_networks_are_read(tmp_path: Path) -> None:
    spec, first = network_of(UNET)
    states = [first.state_dict(), {name: tensor / 2 for name, tensor in first.state_dict().items()}]
    write_bundle(tmp_path / "two", spec, states, {})
    networks = read_onnx(tmp_path / "two")
    assert networks is not None and len(networks) == 2
    images = np.ones((1, 2, spec.grid.rows, spec.grid.columns), np.float32)
    one, other = (network.probabilities(images) for network in networks)
    assert not np.allclose(one, other, atol=1e-3)


def test_what_is_no_network_of_ours_or_is_damaged_is_left_to_pytorch(tmp_path: Path) -> None:
    spec, network = network_of(UNET)
    for name, card in {
        "weights": {"weights_sha256": "0"},
        "network": {"spec": spec.to_config() | {"network": {"_target_": "my.Net"}}},
        "number": {"networks": 2},
    }.items():
        write_bundle(tmp_path / name, spec, [network.state_dict()], {})
        assert read_onnx(tmp_path / name)
        content = json.loads((tmp_path / name / CARD).read_text())
        (tmp_path / name / CARD).write_text(json.dumps(content | card))
        assert read_onnx(tmp_path / name) is None
    (tmp_path / "number" / WEIGHTS).unlink()
    assert read_onnx(tmp_path / "number") is None
    write_bundle(tmp_path / "bf16", spec, [{n: t.bfloat16() for n, t in network.state_dict().items()}], {})
    assert read_onnx(tmp_path / "bf16") is None


def test_threads_are_as_many_as_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert module._threads() == 3
    for said in ("", "0", "many", "4,3"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert 1 <= module._threads() <= (os.cpu_count() or 1)


def test_pytorch_is_not_imported() -> None:
    code = (
        "import sys; from musclesense.networks.onnx_predictor import read_onnx; "
        "from musclesense.networks.shipped import shipped; "
        "assert all(read_onnx(folder) for folder in shipped().values()); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
