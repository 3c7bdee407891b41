"""All that is to be measured on a GPU, one command after the other: ``python -m benchmarks.speed.on_gpu OUT``.

Tests that need a GPU, then the training loop beside bare steps, then the paper's 25 runs with several at once. ``OUT``
gets what each command said, and ``seconds.csv``: its exit code and its time. What is done is skipped when the same
command is given again, and a sweep goes on where it was stopped.
"""

import argparse
import csv
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PHANTOM = "cohort.phantom.preset=paper cohort.phantom.slices=mid"
STEP = f"-m benchmarks.speed.training_step {PHANTOM} logger=none checkpoints.every_seconds=20"
COMMANDS = {
    "tests": "-m pytest -q tests/training/test_gpu.py",
    "step_default": f"{STEP} trainer.max_epochs=12",
    "step_fast": f"{STEP} experiment=fast trainer.max_epochs=12",
    "step_small": f"{STEP} experiment=demo trainer.max_epochs=12",
    "sweep": (
        f"train.py -m outer=0..4 inner=0..4 experiment=paper {PHANTOM} logger=none checkpoints.every_seconds=20 "
        "study=sweep_on_gpu hydra/launcher=joblib hydra.launcher.n_jobs={jobs}"
    ),
}
"""What is run, by name, each with Python."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and run what is left; give 1 where a command failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=4, help="runs of the sweep at once on the GPU (default: 4)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "seconds.csv"
    rows = {row[0]: row for row in csv.reader(table.read_text().splitlines()[1:])} if table.exists() else {}
    for name, command in COMMANDS.items():
        if name not in rows or rows[name][1] != "0":
            words = shlex.split(command.format(jobs=options.jobs))
            rows[name] = [name, *map(str, timed(words, options.out / f"{name}.txt"))]
            with table.open("w", newline="") as file:
                csv.writer(file).writerows([["name", "exit_code", "seconds"], *rows.values()])
        print(*rows[name], flush=True)
    return int(any(code != "0" for _, code, _ in rows.values()))


def timed(words: Sequence[str], log: Path) -> tuple[int, float]:
    """Run a command of Python's, and give its exit code and its seconds."""
    started = time.monotonic()
    with log.open("w") as said:
        code = subprocess.call([sys.executable, *words], stdout=said, stderr=subprocess.STDOUT)
    return code, round(time.monotonic() - started, 1)


if __name__ == "__main__":
    sys.exit(main())
