"""What a network draws itself."""

from types import SimpleNamespace

import pytest
import torch

from musclesense.training.callbacks import StepSeed


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
