"""What a cohort costs as it grows: ``python -m benchmarks.speed.cohort_size --picture docs/img/cohort_size.png``.

Cohorts of 100, 1,000 and 10,000 acquisitions are the demo phantom again and again, each time as further subjects, by
hard links to its files: what is read from a disk lies in the system's memory here after the first time. For each, in
processes of their own: reading the table and checking every file (``check``), making folds and cache (``build``), from
the command to the first training step with both in place (``start``), and training steps for memory (``train``).
Memory is what a process holds of its own (Linux's ``RssAnon``), looked at every few milliseconds: pages of the mapped
cache are the system's, which takes them back when others need them.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
from lightning import Callback
from rich.console import Console
from rich.table import Table

from benchmarks.speed.peak import Peak
from benchmarks.speed.startup import PROJECT, starts
from musclesense.cohort.table import Acquisition, read_table, write_table
from musclesense.phantom.cohorts.generate import generate
from musclesense.storage.records import write_csv
from musclesense.training import inputs
from musclesense.training.composition import compose
from musclesense.training.machine.devices import reserved
from musclesense.training.machine.hardware import choose
from musclesense.training.session import set_up
from musclesense.training.settings import Settings

STEPS = 100
LOOK_EVERY_SECONDS = 0.01
COLUMNS = ("acquisitions", "check_s", "build_s", "build_mb", "cache_mb", "start_s", "start_processor_s", "train_mb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--picture", type=Path, help="PNG to draw the curves in; the table goes beside it")
    parser.add_argument("--stage", choices=("build", "train"), help=argparse.SUPPRESS)
    options, overrides = parser.parse_known_args()
    if options.stage:
        return stage(options.stage, overrides)
    if overrides:
        parser.error(f"{overrides[0]}: no such option")
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(Path(folder), size) for size in sorted(options.sizes)]
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*(f"{row[name]:.4g}" if name != "acquisitions" else f"{row[name]:.0f}" for name in COLUMNS))
    Console().print(table)
    if options.picture:
        write_csv(options.picture.with_suffix(".csv"), COLUMNS, rows)
        draw(rows).savefig(options.picture, dpi=120)


def measure(folder: Path, size: int) -> dict[str, float]:
    """Measure every stage with a cohort of so many acquisitions, below a folder."""
    phantom = folder / "phantom"
    if not phantom.is_dir():
        generate(phantom, preset="demo", seed=1, workers=os.cpu_count() or 1, slices="mid")
    own = folder / f"cohort-{size}"
    own.mkdir()
    enlarge(read_table(phantom / "cohort.csv").acquisitions, own, size)
    places = [f"cohort.path={own / 'cohort.csv'}", f"data={own / 'data'}", f"runs={own / 'runs'}"]
    longest = [f"trainer.max_epochs={STEPS}", f"early_stopping.patience={STEPS}"]  # of a step at least, each
    overrides = [*places, "experiment=demo", "logger=none", *longest]
    build, train = (told("benchmarks.speed.cohort_size", "--stage", name, *overrides) for name in ("build", "train"))
    start = starts(overrides)
    caches = (own / "data" / "cache").rglob("*.npy")
    return {
        "acquisitions": size,
        **build,
        "cache_mb": sum(file.stat().st_size for file in caches) / 1e6,
        "start_s": start["in all"][0],
        "start_processor_s": start["in all"][1],
        **train,
    }


def enlarge(acquisitions: Sequence[Acquisition], folder: Path, size: int) -> None:
    """Write a table of so many acquisitions: those given, again and again, as further subjects."""
    rows = []
    for number in range(size):
        copy, which = divmod(number, len(acquisitions))
        acquisition = acquisitions[which]
        files = {**acquisition.channels, "mask": acquisition.mask}
        links = {name: folder / f"{number:05}_{name}.nii.gz" for name in files}
        for name, file in files.items():
            os.link(file, links[name])  # type: ignore[arg-type]
        mask = links.pop("mask")
        subject = f"{acquisition.subject}-{copy}"
        rows.append(
            dataclasses.replace(
                acquisition, subject=subject, channels=links, mask=mask, compartments=None, fat_fraction=None
            )
        )
    write_table(folder / "cohort.csv", rows)


def told(module: str, *arguments: str) -> dict[str, float]:
    """Give what a stage tells in its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
    )
    content: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return content


def stage(name: str, overrides: list[str]) -> None:
    """Do one stage in this process, and tell of it."""
    settings = compose(*overrides)
    if name == "train":
        return train(settings)
    with Peak(own_bytes, every=LOOK_EVERY_SECONDS) as memory:
        started = time.perf_counter()
        inputs.check(settings)
        checked = time.perf_counter()
        inputs.prepare(settings)
        ended = time.perf_counter()
    print(json.dumps({"check_s": checked - started, "build_s": ended - checked, "build_mb": memory.largest / 1e6}))


def train(settings: Settings) -> None:
    """Train for some steps, whole epochs among them where they are short, and tell the memory of the process."""
    with (
        reserved("1", choose(settings.config.trainer).accelerator) as own,
        Peak(own_bytes, every=LOOK_EVERY_SECONDS) as memory,
    ):
        session = set_up(settings, inputs.prepare(settings), own, None)
        cast(Any, session.trainer).callbacks.append(Ends(memory))
        session.fit()


class Ends(Callback):
    """Ends the process after `STEPS` steps."""

    def __init__(self, memory: Peak) -> None:
        self._memory = memory

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == STEPS:
            print(json.dumps({"train_mb": self._memory.largest / 1e6}), flush=True)
            os._exit(0)


def own_bytes() -> int:
    """Give the memory that this process holds of its own now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def draw(rows: Sequence[dict[str, float]]) -> Any:
    """Draw seconds and memory against the number of acquisitions."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    sizes = [row["acquisitions"] for row in rows]
    seconds = {
        "check_s": "check every file, once",
        "build_s": "make folds and cache, once",
        "start_s": "each start: command to first step",
    }
    megabytes = {
        "cache_mb": "cache on disk",
        "build_mb": "memory: making the cache",
        "train_mb": "memory: training",
    }
    for axes, unit, lines in ((left, "seconds", seconds), (right, "MB", megabytes)):
        for name, label in lines.items():
            axes.plot(sizes, [row[name] for row in rows], marker="o", label=label)
        axes.set(xscale="log", yscale="log", xlabel="acquisitions", ylabel=unit)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
