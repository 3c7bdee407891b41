"""How hard a phantom cohort is, and how far its separated fat fractions can be trusted.

``python -m benchmarks.validity.phantom_difficulty COHORT.csv`` prints, over the labelled slices of a phantom: the
whole-muscle Dice of the naive rule "water > fat within the body", the error of the separated fat fraction in muscle,
and what subcutaneous fat reads. ``benchmarks.validity.separation`` tells more of the fat fractions.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.validity.observers import naive_rule
from musclesense.cohort.table import Acquisition, read_table
from musclesense.dixon.separation import fat_fraction
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.overlap import overlap

SEVERE_PERCENT = 35


def main() -> None:
    groups, rows = zip(*measure(Path(sys.argv[1])), strict=True)
    for name, chosen in (
        ("controls", [row for group, row in zip(groups, rows, strict=True) if group == "control"]),
        ("patients", [row for group, row in zip(groups, rows, strict=True) if group != "control"]),
        (f"severe (true fat fraction above {SEVERE_PERCENT} %)", [row for row in rows if row["true"] > SEVERE_PERCENT]),
    ):
        dice = [row["dice"] for row in chosen]
        least, low, middle, high, most = np.percentile(dice, (0, 5, 50, 95, 100))
        print(
            f"naive Dice, {name}: {len(dice)} slices, mean {np.mean(dice):.3f}, median {middle:.3f}, "
            f"5th to 95th percentile {low:.3f} to {high:.3f}, all {least:.3f} to {most:.3f}"
        )
    print(f"separated - true in muscle, median of slices: {np.median([row['error'] for row in rows]):+.2f} points")
    print(f"|separated - true| in muscle, median of slices: {np.median([row['absolute'] for row in rows]):.2f} points")
    print(f"voxels more than 40 points off, worst slice: {max(row['far'] for row in rows):.2%}")
    print(f"true fat above 85 % outside muscle reads: {np.median([row['fat_reads'] for row in rows]):.1f} %")


def measure(table: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Give the group and the measures of each acquisition."""
    for row in read_table(table).acquisitions:
        mask = labelled(row, row.mask) > 0
        fat, water, signal = (labelled(row, row.channels[name]) for name in ("fat", "water", "te460"))
        true, found = labelled(row, row.fat_fraction), fat_fraction(fat, water)
        body = signal > 0.2 * np.percentile(signal, 98)
        good = mask & (signal > 0.25 * np.percentile(signal, 98))
        difference = found[good] - true[good]
        measures = {
            "true": float(true[mask].mean()),
            "dice": overlap(mask, naive_rule(fat, water)).dice or 0.0,
            "error": float(np.median(difference)),
            "absolute": float(np.median(np.abs(difference))),
            "far": float(np.mean(np.abs(difference) > 40)),
            "fat_reads": float(np.median(found[body & ~mask & (true > 85)])),
        }
        yield row.group, measures


def labelled(row: Acquisition, path: Path | None) -> np.ndarray:
    assert path is not None and row.slice is not None
    volume = read_volume(path)
    return take_slice(volume.data, volume.geometry, row.slice).astype(np.float64)


if __name__ == "__main__":
    main()
