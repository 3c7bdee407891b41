"""Which weights of a run are validated, tested and kept."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.shared.runs import AVERAGED, done_of, same, script, weights_of
from torch import Tensor

from musclesense.networks.torch_predictor import TorchPredictor
from musclesense.training.callbacks import StepSeed
from musclesense.training.module import SegmentationModule
from musclesense.training.run import train


def note_tested(patch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Note the weights by which each test case is segmented, by their names in the module that trains."""
    noted: list[dict[str, Tensor]] = []
    original = TorchPredictor.probabilities

    def probabilities(self: TorchPredictor, images: NDArray[np.float32]) -> NDArray[np.float32]:
        noted.append({f"network.{name}": tensor.clone() for name, tensor in self.network.state_dict().items()})
        return original(self, images)

    patch.setattr(TorchPredictor, "probabilities", probabilities)
    return noted


def test_averaged_weights_are_those_validated_kept_and_tested(configured, monkeypatch):
    validated: dict[int, dict[str, Tensor]] = {}
    trained: dict[int, dict[str, Tensor]] = {}
    tested = note_tested(monkeypatch)
    validation_step = SegmentationModule.validation_step

    def copy(module: SegmentationModule) -> dict[str, Tensor]:
        return {key: value.clone() for key, value in module.state_dict().items()}

    def validating(self: SegmentationModule, batch: Any) -> None:
        validated[self.current_epoch] = copy(self)
        validation_step(self, batch)

    monkeypatch.setattr(SegmentationModule, "validation_step", validating)
    monkeypatch.setattr(
        StepSeed, "on_validation_start", lambda self, _, module: trained.update({module.current_epoch: copy(module)})
    )
    config = configured(*AVERAGED, "trainer.max_epochs=5")
    train(config)
    folder = config.run.path
    best = done_of(folder)["best_epoch"]
    assert same(weights_of(folder), validated[best])
    assert same(tested[0], validated[best])
    assert same(weights_of(folder, "last"), validated[4])
    assert all(not same(validated[epoch], trained[epoch]) for epoch in range(5))
    assert any(not torch.equal(validated[4][key], trained[4][key]) for key in trained[4] if "running_var" in key)
    assert {path.name for path in (folder / "checkpoints").glob("epoch-*")} == {"epoch-0001.ckpt", "epoch-0003.ckpt"}
    for epoch in (1, 3):
        path = folder / "checkpoints" / f"epoch-{epoch:04}.ckpt"
        assert same(SegmentationModule.load(path).state_dict(), validated[epoch])
        assert path.stat().st_size < (folder / "checkpoints" / "last.ckpt").stat().st_size / 3


def test_kept_epochs_without_averaging_are_the_weights_as_trained(configured, monkeypatch):
    weights = script(monkeypatch, [0.2, 0.6, 0.1])
    config = configured("checkpoints.keep_every=1", "trainer.max_epochs=3")
    train(config)
    for epoch, expected in weights.items():
        assert same(weights_of(config.run.path, f"epoch-{epoch:04}"), expected)


def test_best_checkpoint_is_the_best_epoch(configured, monkeypatch):
    weights = script(monkeypatch, [0.2, 0.6, 0.6, 0.3])
    config = configured()
    tested = note_tested(monkeypatch)
    train(config)
    folder = config.run.path
    assert done_of(folder)["best_epoch"] == 1
    assert same(weights_of(folder), weights[1])
    assert same(weights_of(folder, "last"), weights[3])
    assert not same(weights[1], weights[3])
    assert same(tested[0], weights[1]), "tested with another epoch than the best"
