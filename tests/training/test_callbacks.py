"""What a network draws itself, and averaged weights."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from musclesense.training.callbacks import StepSeed, _Average


def test_each_step_of_each_process_draws_otherwise_and_always_the_same() -> None:
    def drawn(epoch: int, step: int, rank: int) -> float:
        strategy = SimpleNamespace(root_device=torch.device("cpu"))
        trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank, strategy=strategy)
        StepSeed(7).on_train_batch_start(trainer, None, None, step)  # type: ignore[arg-type]
        return float(torch.rand(1))

    steps = [(epoch, step, rank) for epoch in (0, 1) for step in (0, 1) for rank in (0, 1)]
    first = [drawn(*step) for step in steps]
    assert len({*first}) == len(steps)
    assert [drawn(*step) for step in steps] == first


def test_the_generator_of_a_gpu_is_seeded_along(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    strategy = SimpleNamespace(root_device=torch.device("cuda:1"))
    for step in (0, 1, 0):
        trainer = SimpleNamespace(current_epoch=0, global_rank=1, strategy=strategy)
        StepSeed(7).on_train_batch_start(trainer, None, None, step)  # type: ignore[arg-type]
    assert seeds[0] == seeds[2] != seeds[1]


def test_the_average_is_that_of_each_tensor_by_itself() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(4, 2))
    decay, expected = 0.9, copy.deepcopy(network)
    average = _Average(network, torch.device("cpu"), decay)
    shares = []
    for step in range(120):
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.add_(torch.randn_like(tensor) if tensor.is_floating_point() else 1)
        average.update_parameters(network)
        share = min((1 + step) / (10 + step), decay) if step else 0
        shares.append(share)
        for own, now in zip(expected.state_dict().values(), network.state_dict().values(), strict=True):
            own.copy_(own + (1 - share) * (now - own) if own.is_floating_point() else now)
    assert shares[1] < 0.2 and shares[-1] == decay
    for name, tensor in average.module.state_dict().items():
        torch.testing.assert_close(tensor, expected.state_dict()[name], rtol=1e-5, atol=1e-6)
    averaged: Any = average.module
    trained: Any = network
    assert not torch.allclose(averaged[0].weight, trained[0].weight)
    assert int(average.n_averaged) == 120


@pytest.mark.parametrize("steps", [0, 3])
def test_the_state_is_that_of_the_library(steps: int) -> None:
    """Lightning writes it into checkpoints and takes it apart by its names."""
    network = nn.Linear(2, 2)
    average = _Average(network, torch.device("cpu"), 0.9)
    for _ in range(steps):
        average.update_parameters(network)
    again = AveragedModel(network, use_buffers=True)
    again.load_state_dict(average.state_dict())
    assert int(again.n_averaged) == steps
