"""``python train.py experiment=any_scanner_fat``: one run on drawn slices, killed and gone on with."""

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from ..shared.waiting import wait_until

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]

LITTLE = (
    *(
        "experiment=any_scanner_fat",
        "study=any_scanner",
        "cohort.phantom.preset=smoke",
        "region=thigh",
        "model.width=2",
    ),
    *("grid.spacing_mm=6.4", "grid.rows=32", "grid.columns=64", "trainer.max_epochs=6", "checkpoints.keep_every=2"),
    *("synthesis.initial=8", "synthesis.per_epoch=8", "synthesis.growth=4", "synthesis.shard=2"),
)


def test_a_killed_run_goes_on_and_ends(tmp_path: Path, start: Start, train: Command) -> None:
    run = tmp_path / "runs" / "any_scanner" / "outer0_inner0"
    process = start(tmp_path, *LITTLE)
    wait_until((run / "checkpoints" / "last.ckpt").is_file, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (run / "done.json").is_file(), "killed before its end"
    before = (run / "metrics.csv").read_text()
    assert 2 <= len(before.splitlines()) < 7
    done = train(tmp_path, *LITTLE)
    assert done.returncode == 0, done.stderr
    assert "outer0_inner0  DSC " in done.stderr
    after = (run / "metrics.csv").read_text()
    assert after.startswith(before), "the epochs before were not trained again"
    rows = list(csv.DictReader(after.splitlines()))
    assert [int(row["epoch"]) for row in rows] == list(range(6))
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert float(rows[-1]["learning_rate"]) < 1e-6
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        *("best.ckpt", "last.ckpt"),
        *(f"epoch-000{epoch}.ckpt" for epoch in (1, 3, 5)),
    }
    assert json.loads((run / "done.json").read_text())["epochs"] == 6
    pool = [path.name for path in (tmp_path / "data" / "pool").glob("*/shard-*.npy")]
    assert len(pool) == 14, "as many as the last epoch needs, 8 + 5 x 4 slices"
    again = train(tmp_path, *LITTLE)
    assert again.returncode == 0 and "finished before" in again.stderr
