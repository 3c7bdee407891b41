"""Networks side by side on one cohort that none of them was trained on.

``python experiments/unet_fast/compare.py TABLE REFERENCE.ckpt OTHER.ckpt ... [--out FILE.csv]`` scores every labelled
slice of the table in scanner space and prints, for each checkpoint: mean DSC, the difference to the reference slice by
slice with its 95 % interval (bootstrap over subjects, 10,000 draws), and milliseconds for a slice on this machine, the
networks taking turns. All segment the muscle as a whole, from the same grid.
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

from musclesense.cohort.cache import SliceCache, cache_folder, open_or_build
from musclesense.cohort.table import read_table
from musclesense.files import write_csv
from musclesense.training.module import SegmentationModule
from musclesense.training.scoring import score

DRAWS = 10_000
TURNS, SLICES_A_TURN = 20, 4
AT_ONCE = 8


def main() -> None:
    """Read the command line, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where caches are kept")
    parser.add_argument("--out", type=Path, help="table of the figures")
    options = parser.parse_args()
    modules = [SegmentationModule.load(checkpoint) for checkpoint in options.checkpoints]
    first = modules[0]
    if first.labels.n_classes != 1 or any(
        getattr(module, name) != getattr(first, name) for module in modules for name in ("grid", "labels", "regions")
    ):
        raise SystemExit("give networks of one class, and of the same grid, labels and regions")
    acquisitions = [row for row in read_table(options.table).acquisitions if row.region in first.regions]
    folder = cache_folder(options.data / "cache", acquisitions, grid=first.grid, labels=first.labels)
    cache = open_or_build(folder, acquisitions, grid=first.grid, labels=first.labels)
    subjects = [case.acquisition.subject for case in cache.cases]
    milliseconds = time_of(modules)
    rows, reference = [], None
    for checkpoint, module, taken in zip(options.checkpoints, modules, milliseconds, strict=True):
        dice = dice_of(module, cache)
        reference = dice if reference is None else reference
        low, high = interval(dice - reference, subjects)
        rows.append(
            {
                "network": str(checkpoint),
                "parameters": sum(parameter.numel() for parameter in module.network.parameters()),
                "ms_a_slice": f"{taken:.1f}",
                "dice": f"{dice.mean():.4f}",
                "difference": f"{(dice - reference).mean():+.4f}",
                "low": f"{low:+.4f}",
                "high": f"{high:+.4f}",
            }
        )
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(f"{len(subjects)} slices of {len({*subjects})} subjects, {torch.get_num_threads()} threads", table)
    if options.out:
        write_csv(options.out, tuple(rows[0]), rows)


@torch.inference_mode()
def dice_of(module: SegmentationModule, cache: SliceCache) -> NDArray[np.float64]:
    """Give the DSC of each case, by the rule that scores D2."""
    channels = [cache.channels.index(name) for name in module.channels]
    found = []
    for first in range(0, len(cache.cases), AT_ONCE):
        images = np.asarray(cache.images[first : first + AT_ONCE, channels], dtype=np.float32)
        for position, likely in enumerate(module.probabilities(torch.from_numpy(images)).numpy(), start=first):
            found.append(score(cache, position, likely, module).rows[0]["dice"])
    return np.array(found)


def interval(differences: NDArray[np.float64], subjects: Sequence[str]) -> tuple[float, float]:
    """Give the 95 % interval of a mean over slices: subjects are drawn again with all of their slices."""
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
            images = torch.randn(1, len(module.channels), module.grid.rows, module.grid.columns)
            module.probabilities(images)
            started = time.perf_counter()
            for _ in range(SLICES_A_TURN):
                module.probabilities(images)
            own.append((time.perf_counter() - started) * 1000 / SLICES_A_TURN)
    return [statistics.median(own) for own in taken]


if __name__ == "__main__":
    main()
