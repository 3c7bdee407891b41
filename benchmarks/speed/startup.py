"""From the command to the first training step: ``python -m benchmarks.speed.startup [OVERRIDES]``.

Starts ``train.py`` several times in processes of their own (``experiment=smoke`` without overrides), on a phantom and a
cache that are there already, and stops each at the end of its first step. Prints medians of seconds on the wall, and of
the processor's, which are steadier where other work runs beside.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PROJECT = Path(__file__).parents[2]
STARTS = 5
STAGES = ("imports", "plan, checks, cohort", "first step")


def main() -> None:
    overrides = [argument for argument in sys.argv[1:] if argument != "--once"] or ["experiment=smoke"]
    if "--once" in sys.argv:
        return once(float(os.environ["STARTED"]), overrides)
    with tempfile.TemporaryDirectory() as folder:
        places = [f"{name}={folder}/{name}" for name in ("runs", "data")]
        said = {override.partition("=")[0] for override in overrides}
        seconds = starts([place for place in places if place.partition("=")[0] not in said] + overrides)
    table = Table("", "wall", "processor")
    for stage, kinds in seconds.items():
        table.add_row(stage, *(f"{kind:.2f} s" for kind in kinds))
    Console().print(table)


def starts(overrides: list[str]) -> dict[str, tuple[float, float]]:
    """Start several times; give the median seconds of each stage and in all, on the wall and of the processor."""
    told = []
    for _ in range(STARTS + 1):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.speed.startup", "--once", *overrides],
            cwd=PROJECT,
            env=os.environ | {"STARTED": str(time.time())},
            stdout=subprocess.PIPE,
            check=True,
        )
        told.append(json.loads(done.stdout.splitlines()[-1]))
    for stages in told:
        stages["in all"] = [sum(kind) for kind in zip(*stages.values(), strict=True)]
    warm = told[1:]  # the first makes what is missing
    return {
        stage: (statistics.median(one[stage][0] for one in warm), statistics.median(one[stage][1] for one in warm))
        for stage in warm[0]
    }


def once(started: float, overrides: list[str]) -> None:
    """Start a training in this process, and end it at its first step."""
    stages = iter(STAGES)
    told: dict[str, tuple[float, float]] = {}
    before = (started, 0.0)

    def ends() -> None:
        nonlocal before
        now = (time.time(), time.process_time())
        told[next(stages)] = (now[0] - before[0], now[1] - before[1])
        before = now

    from musclesense.cli.studies import train as run_training
    from musclesense.training import run as run_module
    from musclesense.training.module import SegmentationModule

    ends()
    experiment: Any = run_module
    train, step = experiment.train, SegmentationModule.training_step

    def begins(config: Any) -> Any:
        ends()
        return train(config)

    def first(self: SegmentationModule, batch: Any) -> Any:
        step(self, batch).backward()  # type: ignore[no-untyped-call]
        ends()
        print(json.dumps(told), flush=True)
        os._exit(0)

    experiment.train, SegmentationModule.training_step = begins, first  # type: ignore[method-assign]
    sys.argv[1:] = overrides
    run_training()


if __name__ == "__main__":
    main()
