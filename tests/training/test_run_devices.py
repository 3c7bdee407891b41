"""One run on several devices."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.shared.runs import done_of, rows_of
from torch import Tensor

from musclesense.training import run
from musclesense.training.machine.devices import train_in_step
from musclesense.training.module import SegmentationModule
from musclesense.training.session import set_up
from musclesense.training.settings import Settings


def _noted(rank: int, config: Settings, notes: Path) -> None:
    """Train as one of two processes, and write down what it saw."""
    seen: dict[str, list[Any]] = {"trained": [], "validated": [], "statistics": []}
    training_step, validation_step = SegmentationModule.training_step, SegmentationModule.validation_step

    def training(self: SegmentationModule, batch: Any) -> Tensor:
        loss = training_step(self, batch)
        seen["trained"].append([self.current_epoch, batch.case.tolist(), float(loss.detach())])
        return loss

    def validating(self: SegmentationModule, batch: Any) -> None:
        if batch.case[0] not in seen["validated"]:
            seen["validated"] += batch.case.tolist()
        seen["statistics"].append([self.current_epoch, float(sum(b.double().sum() for b in self.network.buffers()))])
        validation_step(self, batch)

    SegmentationModule.training_step = training  # type: ignore[method-assign]
    SegmentationModule.validation_step = validating  # type: ignore[method-assign]
    run._as_rank(rank, config, (0, 1))
    (notes / f"{rank}.json").write_text(json.dumps(seen), encoding="utf-8")


def test_two_devices_train_judge_and_test_together(configured, finished, slices, tmp_path):
    """Two processes on the CPU, as with two GPUs."""
    two = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2")
    config = configured(*two, "averaging.decay=0.9")
    folder = config.run.path
    train_in_step(_noted, (config, tmp_path), devices=2, look=lambda: None)
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1))

    alone = set_up(configured("averaging.decay=0.9", "study=alone"), slices, (0,), None)
    train_cases, validation_cases = alone.datamodule.train_cases, alone.datamodule.validation_cases
    assert sorted(one["validated"] + other["validated"]) == validation_cases, "each case is judged once"
    assert one["statistics"] and {tuple(pair) for pair in one["statistics"]} == {tuple(p) for p in other["statistics"]}
    rows = rows_of(folder / "metrics.csv")
    for row in rows:
        steps = [step for step in one["trained"] + other["trained"] if step[0] == int(row["epoch"])]
        cases = [case for step in steps for case in step[1]]
        assert {*cases} == {*train_cases} and len(cases) == len(train_cases) + len(train_cases) % 2
        assert max(len(step[1]) for step in steps) == 2  # of batches of 4
        expected = np.average([step[2] for step in steps], weights=[len(step[1]) for step in steps])
        assert float(row["train_loss"]) == pytest.approx(expected, rel=1e-5)
    last = SegmentationModule.load(folder / "checkpoints" / "last.ckpt")
    (judged,) = alone.trainer.validate(last, datamodule=alone.datamodule, verbose=False)
    assert float(rows[-1]["val_dice"]) == pytest.approx(judged["val_dice"], abs=1e-6)
    lines = [row["line"] for row in rows_of(folder / "cases.csv")]
    assert lines == [row["line"] for row in rows_of(finished / "cases.csv")], "each case is tested once, in order"
    done = done_of(folder)
    assert (done["devices"], done["epochs"], len(rows)) == (2, 2, 2)
    assert done["scores"]["dice"] == pytest.approx(
        np.mean([float(row["dice"]) for row in rows_of(folder / "cases.csv")])
    )
