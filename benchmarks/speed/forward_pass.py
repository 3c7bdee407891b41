"""What a slice takes in trained networks: ``python -m benchmarks.speed.forward_pass RUN ...``.

Prints parameters of each run's network, and milliseconds of a forward pass of one slice on this machine in 32 bit, the
networks taking turns. `musclesense compare` says how their scores differ.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from musclesense.evaluation.report.written import Table
from musclesense.studies.layout import RunFolder
from musclesense.training.module import SegmentationModule

TURNS, SLICES_A_TURN = 20, 4


def main() -> None:
    """Read the command line, time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    runs = parser.parse_args().runs
    modules = [SegmentationModule.load(RunFolder(run).checkpoints.best) for run in runs]
    sizes = [sum(parameter.numel() for parameter in module.network.parameters()) for module in modules]
    rows = zip(
        (run.parent.name for run in runs), map(str, sizes), (f"{own:.1f}" for own in time_of(modules)), strict=True
    )
    print(f"{torch.get_num_threads()} threads")
    print(Table("", ("network", "parameters", "ms a slice"), tuple(rows)).text)


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
