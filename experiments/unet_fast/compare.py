"""Networks side by side on the test cases that they share: ``compare.py REFERENCE_RUN OTHER_RUN ... [--out FILE.csv]``.

Reads ``cases.csv`` of runs of one fold of one cohort and prints, for each: mean DSC, the difference to the reference
case by case with its 95 % interval (bootstrap over subjects, 10,000 draws), and milliseconds for a slice on
this machine in 32 bit, the networks taking turns. Meant for a cohort on which no figure is reported, since networks are
chosen by it.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from musclesense.storage.records import write_csv
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_run
from musclesense.training.module import SegmentationModule

DRAWS = 10_000
TURNS, SLICES_A_TURN = 20, 4

Case = tuple[str, int, int, str]
"""Subject, line of the table, slice and label."""


def main() -> None:
    """Read the command line, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, the reference first")
    parser.add_argument("--out", type=Path, help="table of the figures")
    options = parser.parse_args()
    scores = [dice_of(run) for run in options.runs]
    cases = list(scores[0])
    for run, own in zip(options.runs, scores, strict=True):
        if own.keys() != scores[0].keys():
            raise SystemExit(f"{run}: other test cases than those of {options.runs[0]}; give runs of one fold")
    modules = [SegmentationModule.load(RunFolder(run).checkpoints.best) for run in options.runs]
    rows = []
    for run, own, module, milliseconds in zip(options.runs, scores, modules, time_of(modules), strict=True):
        differences = np.array([own[case] - scores[0][case] for case in cases])
        low, high = interval(differences, [subject for subject, *_ in cases])
        rows.append(
            {
                "network": run.parent.name,
                "parameters": sum(parameter.numel() for parameter in module.network.parameters()),
                "ms_a_slice": f"{milliseconds:.1f}",
                "dice": f"{np.mean([*own.values()]):.4f}",
                "difference": f"{differences.mean():+.4f}",
                "low": f"{low:+.4f}",
                "high": f"{high:+.4f}",
            }
        )
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(f"{len(cases)} test cases, {torch.get_num_threads()} threads", table)
    if options.out:
        write_csv(options.out, tuple(rows[0]), rows)


def dice_of(run: Path) -> dict[Case, float]:
    """Give the DSC of each test case of a run that has one."""
    cases = read_run(RunFolder(run)).cases
    return {(case.subject, case.line, case.slice, case.label): case.dice for case in cases if case.dice is not None}


def interval(differences: NDArray[np.float64], subjects: Sequence[str]) -> tuple[float, float]:
    """Give the 95 % interval of a mean over cases: subjects are drawn again with all of their cases."""
    _, whose = np.unique(subjects, return_inverse=True)
    sums, counts = np.bincount(whose, weights=differences), np.bincount(whose)
    drawn = np.random.default_rng(0).integers(len(sums), size=(DRAWS, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


@torch.inference_mode()
def time_of(modules: Sequence[SegmentationModule]) -> list[float]:
    """Give the median milliseconds of a forward pass of one slice, in 32 bit; the networks take turns."""
    taken: list[list[float]] = [[] for _ in modules]
    for _ in range(TURNS):
        for module, own in zip(modules, taken, strict=True):
            images = torch.randn(1, len(module.spec.channels), module.spec.grid.rows, module.spec.grid.columns)
            module.probabilities(images)
            started = time.perf_counter()
            for _ in range(SLICES_A_TURN):
                module.probabilities(images)
            own.append((time.perf_counter() - started) * 1000 / SLICES_A_TURN)
    return [statistics.median(own) for own in taken]


if __name__ == "__main__":
    main()
