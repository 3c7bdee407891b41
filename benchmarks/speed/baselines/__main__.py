"""Our network and others', trained side by side on one fold.

``python -m benchmarks.speed.baselines [--minutes 5] [--out TABLE.csv]`` prints a row for each network: Dice on the test
set, seconds of preparation, of training and of each epoch, processor seconds, milliseconds a slice, memory, parameters
and lines of configuration.

Each trains on the training set of the same fold of the demo phantom, in a process of its own with two threads, for the
same minutes: a pilot of a few epochs tells how many fit, so that each learning-rate schedule runs to its end. Then it
segments the scans of the test set from their files to mask files, and all masks are scored by our evaluation.
Baselines that are not installed are named with the reason. Others' networks train in our loop, with the demo's
settings; nnU-Net plans, preprocesses, trains and predicts by its own code.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.speed.baselines.process_tree import memory_bytes
from benchmarks.speed.baselines.task import CONF, Task
from benchmarks.speed.peak import Peak
from musclesense.cohort import folds
from musclesense.cohort.images import read_labels
from musclesense.cohort.table import read_table
from musclesense.nnunet.export import export
from musclesense.nnunet.predictions import import_predictions
from musclesense.phantom.cohorts.generate import generate
from musclesense.storage.records import write_csv
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_run
from musclesense.vocabulary import Region

CHANNELS = ("fat", "water", "te345", "te575")
DATASET = "Dataset101_Demo"


@dataclass(frozen=True)
class Baseline:
    """One way to train.

    Attributes:
        name: As the table shows it.
        worker: Module beside this one that does it.
        overrides: Of our configuration.
        written: Files that a user writes or chooses for it.
    """

    name: str
    worker: str
    overrides: tuple[str, ...]
    written: tuple[str, ...]


def in_our_loop(name: str, model: str, *overrides: str, written: Sequence[str] = ()) -> Baseline:
    """Describe a network that trains in our loop with the demo's settings."""
    files = ("experiment/demo", f"model/{model}", *written)
    return Baseline(name, "ours", ("experiment=demo", f"model={model}", *overrides), files)


BASELINES = (
    in_our_loop("ours, demo", "unet_small"),
    in_our_loop("ours, 1.25 mm", "unet_16", "grid=isotropic", written=["grid/isotropic"]),
    in_our_loop("ours, fast, 1.25 mm", "unet_fast", "grid=isotropic", written=["grid/isotropic"]),
    in_our_loop("MONAI BasicUNet", "monai_basic_unet"),
    in_our_loop("MONAI DynUNet", "monai_dynunet"),
    in_our_loop("segmentation-models U-Net", "smp_unet"),
    Baseline("nnU-Net 2d", "nnunet", (), ()),
)

COLUMNS = (
    *("name", "dice", "dice_sd", "cases", "prepare_s", "train_s", "epochs", "seconds_an_epoch", "train_cpu_s"),
    *("ms_a_slice", "peak_mib", "parameters", "configuration_lines"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="of training, each (default 5)")
    parser.add_argument("--outer", type=int, default=0, help="outer fold: the test set (default 0)")
    parser.add_argument("--inner", type=int, default=0, help="inner fold: the validation set (default 0)")
    parser.add_argument("--threads", type=int, default=2, help="each (default 2)")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in BASELINES], help="some of them")
    parser.add_argument("--cohort", type=Path, metavar="TABLE", help="train on this (default: the demo phantom)")
    parser.add_argument("--work", type=Path, help="keep everything in this new folder (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="write the table as CSV, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary) / "baselines"
        table = options.cohort or generate(work / "phantom", preset="demo", seed=1, workers=os.cpu_count() or 1)
        dataset = prepare(table, work / "raw" / DATASET, options.outer)
        rows, skipped = [], []
        for baseline in BASELINES:
            if options.only and baseline.name not in options.only:
                continue
            result = run(baseline, work, table, dataset, options)
            if "skipped" in result:
                skipped.append(f"{baseline.name}: skipped, {result['skipped']}")
                print(skipped[-1], file=sys.stderr, flush=True)
            else:
                rows.append(result)
                print({key: result[key] for key in ("name", "dice", "train_s")}, file=sys.stderr, flush=True)
    print(f"{options.minutes:g} minutes each, {options.threads} threads, load {os.getloadavg()[0]:.1f} at the end\n")
    print(markdown(rows))
    print("\n".join(skipped))
    if options.out:
        write_csv(options.out, COLUMNS, rows)


def prepare(cohort: Path, dataset: Path, outer: int) -> Path:
    """Write the cohort as a data set for nnU-Net, which holds the test scans for all."""
    table = read_table(cohort)
    labels, column = read_labels(None)
    nested = folds.draw(table.acquisitions, table=table.digest, seed=0)
    export(
        table, dataset, channels=CHANNELS, labels=labels, column=column, regions={*Region}, folds=nested, outer=outer
    )
    return dataset


def run(baseline: Baseline, work: Path, table: Path, dataset: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Let one baseline train and predict in a process of its own; score its masks."""
    folder = work / re.sub(r"\W+", "_", baseline.name)
    folder.mkdir()
    task = Task(
        dataset=str(dataset.absolute()),
        table=str(table.absolute()),
        outer=options.outer,
        inner=options.inner,
        seconds=60 * options.minutes,
        threads=options.threads,
        overrides=baseline.overrides,
    )
    task.save(folder)
    threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with (folder / "log.txt").open("w") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.speed.baselines.{baseline.worker}", folder.absolute()],
            stdout=log,
            stderr=log,
            env=os.environ | threads,
        )
        with Peak(partial(memory_bytes, worker.pid), every=0.5) as peak:
            code = worker.wait()
    if code:
        said = [line for line in (folder / "log.txt").read_text().splitlines() if line.strip()]
        return {"skipped": f"it failed ({said[-1].strip() if said else f'exit code {code}'})"}
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    if "skipped" in result:
        return result
    scored = import_predictions(dataset, folder / "masks", folder / "study", inner=options.inner)
    dice = [case.dice for case in read_run(RunFolder(scored)).cases if case.dice is not None]
    written = [CONF / f"{name}.yaml" for name in baseline.written] or [dataset / "dataset.json"]
    return {
        "name": baseline.name,
        "dice": round(statistics.fmean(dice), 4),
        "dice_sd": round(statistics.stdev(dice), 4),
        "cases": len(dice),
        "peak_mib": round(peak.largest / 2**20),
        "configuration_lines": sum(map(lines, written)),
        **result,
    }


def lines(file: Path) -> int:
    """Count lines that are neither blank nor a comment."""
    return sum(1 for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#"))


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the results out as the table of docs/reports/2026-11-baselines.md."""
    head = (
        *("baseline", "Dice on test, mean (SD)", "prepare, s", "trained, s", "epochs", "s an epoch", "CPU s"),
        *("ms a slice", "peak memory, MiB", "parameters", "lines of configuration"),
    )
    body = [
        (
            row["name"],
            f"{row['dice']:.3f} ({row['dice_sd']:.3f})",
            f"{row['prepare_s']:.0f}",
            f"{row['train_s']:.0f}",
            str(row["epochs"]),
            f"{row['seconds_an_epoch']:.1f}",
            f"{row['train_cpu_s']:.0f}",
            f"{row['ms_a_slice']:.0f}",
            str(row["peak_mib"]),
            f"{row['parameters'] / 1e6:.1f} M",
            str(row["configuration_lines"]),
        )
        for row in rows
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body))


if __name__ == "__main__":
    main()
