"""What tests read of the folders of runs, and how they stop one in the middle."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from musclesense.training.module import SegmentationModule
from musclesense.training.run import train
from musclesense.training.watch.progress import RunBar

DRAWN = (
    "edition=simplified",
    *("synthesis=any_scanner", "synthesis.initial=8", "synthesis.per_epoch=6", "synthesis.growth=4"),
    *("synthesis.shard=4", "synthesis.workers=0"),
)
AVERAGED = ("averaging.decay=0.9", "checkpoints.keep_every=2")


class StopError(Exception):
    """What ends a run in the middle."""


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def done_of(folder: Path) -> dict[str, Any]:
    """What ``done.json`` says, but for the time it took and digests of files that hold times."""
    content = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    assert content.pop("seconds") > 0
    files = content.pop("files", {})
    return {**content, "files": {*files}, "cases": files.get("cases.csv")}


def losses_of(folder: Path) -> list[float]:
    return [float(row["train_loss"]) for row in rows_of(folder / "metrics.csv")]


def weights_of(folder: Path, name: str = "best") -> dict[str, Tensor]:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def metrics_of(folder: Path) -> list[dict[str, str]]:
    """The rows of ``metrics.csv``, but for the time they took."""
    rows = rows_of(folder / "metrics.csv")
    seconds = [float(row.pop("seconds")) for row in rows]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    return rows


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def assert_same_run(folder: Path, expected: Path) -> None:
    assert (folder / "cases.csv").read_bytes() == (expected / "cases.csv").read_bytes()
    assert metrics_of(folder) == metrics_of(expected)
    assert done_of(folder) == done_of(expected)
    for name in ("best", "last"):
        assert same(weights_of(folder, name), weights_of(expected, name)), name


def interrupt(patch: pytest.MonkeyPatch, where: type, hook: str, epoch: int, error: BaseException) -> None:
    """Raise ``error`` before a hook of a callback at an epoch."""
    original = getattr(where, hook)

    def hooked(self: Any, trainer: Any, *arguments: Any, **named: Any) -> Any:
        if trainer.current_epoch == epoch:
            raise error
        return original(self, trainer, *arguments, **named)

    patch.setattr(where, hook, hooked)


def train_until(config: Any, epoch: int, *, where: type = RunBar, hook: str = "on_train_epoch_end") -> None:
    """Train, and stop before a hook of a callback at an epoch, by default after training and before its checkpoints."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopError):
        interrupt(patch, where, hook, epoch, StopError())
        train(config)


def script(patch: pytest.MonkeyPatch, dice: Sequence[float]) -> dict[int, dict[str, Tensor]]:
    """Let the validation DSC be ``dice``, epoch by epoch; give the weights at the end of each epoch."""
    weights: dict[int, dict[str, Tensor]] = {}

    def scripted(self: SegmentationModule) -> None:
        self.val_dice.reset()
        self.log("val_dice", torch.tensor(dice[self.current_epoch]))
        weights[self.current_epoch] = {key: value.clone() for key, value in self.state_dict().items()}

    patch.setattr(SegmentationModule, "on_validation_epoch_end", scripted)
    return weights
