"""A run that was interrupted ends as if it had never been."""

import errno
import itertools
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from tests.shared.runs import (
    AVERAGED,
    DRAWN,
    StopError,
    assert_same_run,
    done_of,
    rows_of,
    same,
    script,
    train_until,
    weights_of,
)
from torch import Tensor, nn

from musclesense.errors import DiskError
from musclesense.training import session
from musclesense.training.run import train
from musclesense.training.watch.progress import RunBar


@pytest.mark.parametrize(
    ("where", "hook"),
    [
        (RunBar, "on_train_epoch_end"),  # before the checkpoints of the epoch
        (ModelCheckpoint, "_save_none_monitor_checkpoint"),  # between best and last
        (RunBar, "on_train_start"),  # before the first
    ],
)
def test_an_interrupted_run_ends_as_if_it_had_never_stopped(configured, finished, where, hook):
    config = configured("study=whole")
    train_until(config, 0 if hook == "on_train_start" else 2, where=where, hook=hook)
    assert not (config.run.path / "done.json").exists()
    train(config)
    assert_same_run(config.run.path, finished)


@pytest.mark.parametrize("averaged", [(), AVERAGED])
def test_states_far_apart_lose_epochs_and_nothing_else(configured, finished, monkeypatch, averaged):
    asked = ("checkpoints.every_seconds=1e6", *averaged)
    stopped, whole = configured("study=stopped", *asked), configured("study=whole", *averaged)
    train_until(stopped, 3)
    written = {
        name: torch.load(stopped.run.path / "checkpoints" / f"{name}.ckpt")["epoch"] for name in ("best", "last")
    }
    assert written == {"best": 0, "last": 0}
    begun = _epochs_begun(monkeypatch)
    train(stopped)
    assert begun[0] == 1
    if averaged:
        train(whole)
    assert_same_run(stopped.run.path, whole.run.path if averaged else finished)


def _epochs_begun(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    begun: list[int] = []
    original = RunBar.on_train_epoch_end

    def noted(self: Any, trainer: Any, *more: Any) -> None:
        begun.append(trainer.current_epoch)
        original(self, trainer, *more)

    monkeypatch.setattr(RunBar, "on_train_epoch_end", noted)
    return begun


@pytest.mark.parametrize(("damaged", "first"), [("last", 2), ("best", 0)])
def test_a_run_with_a_damaged_checkpoint_ends_as_if_it_had_never_been(
    configured, finished, monkeypatch, capsys, damaged, first
):
    config = configured("study=whole")
    train_until(config, 3)
    path = config.run.path / "checkpoints" / f"{damaged}.ckpt"
    path.write_bytes(path.read_bytes()[:-1000])
    epochs: list[int] = []
    original = RunBar.on_train_epoch_end
    monkeypatch.setattr(
        RunBar,
        "on_train_epoch_end",
        lambda self, trainer, module: (epochs.append(trainer.current_epoch), original(self, trainer, module)),
    )
    train(config)
    assert epochs == list(range(first, 4))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith(str(path))]
    assert line.endswith(
        "the run goes on from previous.ckpt" if damaged == "last" else "the run is trained from the beginning"
    )
    assert_same_run(config.run.path, finished)


def test_a_disk_that_fills_up_while_a_checkpoint_is_written_costs_no_epoch(configured, finished, monkeypatch):
    config = configured("study=whole")
    original = Path.write_bytes

    def full(self: Path, content: Any) -> int:
        if self.name == "last.ckpt" and (config.run.path / "checkpoints" / "previous.ckpt").is_file():
            original(self, bytes(content[:1000]))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(self, content)

    with monkeypatch.context() as patch, pytest.raises(DiskError, match=r"last\.ckpt.*No space left"):
        patch.setattr(Path, "write_bytes", full)
        train(config)
    kept = config.run.path / "checkpoints"
    assert {path.name for path in kept.iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert torch.load(kept / "last.ckpt", weights_only=True)["epoch"] == 1
    train(config)
    assert_same_run(config.run.path, finished)


def test_a_run_goes_on_with_workers_that_read_ahead(configured, finished):
    train_until(configured("study=whole"), 2)
    config = configured("study=whole", "loader.workers=1")
    train(config)
    assert_same_run(config.run.path, finished)


def test_a_run_that_draws_and_averages_goes_on_as_if_it_had_never_stopped(configured, tmp_path, drawn):
    whole = configured(*DRAWN, *AVERAGED, f"data={tmp_path}")
    resumed = configured(*DRAWN, *AVERAGED, f"data={tmp_path / 'again'}", f"runs={tmp_path / 'resumed'}")
    train(whole)
    train_until(resumed, 2)
    train(resumed)
    assert_same_run(resumed.run.path, whole.run.path)


def test_seconds_go_on_where_the_run_was_interrupted(configured, monkeypatch):
    clock = itertools.count(1000, 10)
    monkeypatch.setattr("musclesense.training.record.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    config = configured()
    train_until(config, 2)
    train(config)
    seconds = [float(row["seconds"]) for row in rows_of(config.run.path / "metrics.csv")]
    assert seconds == [10, 20, 30, 40]


class Dropping(nn.Module):
    """A network that draws random numbers itself."""

    def __init__(self, *, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(in_channels, out_channels, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def test_any_network_can_be_trained_and_resumed_though_it_drops_at_random(configured, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere", types.SimpleNamespace(Dropping=Dropping))
    network = ("~model.width", "~model.depth", "model._target_=elsewhere.Dropping", "trainer.max_epochs=3")
    whole, resumed = configured(*network), configured(*network, f"runs={tmp_path / 'again'}")
    train(whole)
    train_until(resumed, 1)
    torch.manual_seed(123)
    train(resumed)
    assert_same_run(resumed.run.path, whole.run.path)


def test_best_epoch_is_remembered_where_the_study_was_moved(configured, tmp_path, monkeypatch):
    weights = script(monkeypatch, [0.2, 0.6, 0.1, 0.3])
    train_until(configured("study=moved"), 2)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    config = configured("study=moved", f"runs={tmp_path / 'elsewhere'}")
    train(config)
    assert done_of(config.run.path)["best_epoch"] == 1
    assert same(weights_of(config.run.path), weights[1])
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("dice", "patience", "epochs"), [([0.5, 0.4, 0.3], 2, 3), ([0.5, 0.4], 1, 2), ([0.1, 0.2, 0.3, 0.4], 2, 4)]
)
def test_a_run_that_ended_before_its_test_is_only_tested(configured, monkeypatch, dice, patience, epochs):
    """After early stopping had fired, or after the last epoch: the script knows no further one."""
    weights = script(monkeypatch, dice)
    config = configured(f"early_stopping.patience={patience}")
    with monkeypatch.context() as patch, pytest.raises(StopError):
        patch.setattr(session, "test_fold", _interrupted)
        train(config)
    assert (config.run.path / "checkpoints" / "last.ckpt").is_file()
    train(config)
    done = done_of(config.run.path)
    assert (done["epochs"], done["best_epoch"]) == (epochs, int(np.argmax(dice)))
    assert len(rows_of(config.run.path / "metrics.csv")) == epochs
    assert same(weights_of(config.run.path), weights[int(np.argmax(dice))])


def _interrupted(*_: Any) -> None:
    raise StopError


def test_patience_is_remembered_over_an_interruption(configured, monkeypatch):
    weights = script(monkeypatch, [0.5, 0.4, 0.3, 0.2])
    config = configured("early_stopping.patience=3", "trainer.max_epochs=8")
    train_until(config, 2)
    weights.clear()
    train(config)
    assert set(weights) == {2, 3}, "goes on from the last epoch, though the first was the best"
    assert done_of(config.run.path)["epochs"] == 4
