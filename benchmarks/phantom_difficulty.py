"""How hard a phantom cohort is, and how far its separated fat fractions can be trusted.

``python -m benchmarks.phantom_difficulty COHORT.csv`` prints, over the labelled slices of a phantom: the whole-muscle
Dice of the naive rule "water > fat within the body", the error of the separated fat fraction in muscle, and what
subcutaneous fat reads.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from musclesense.cohort.table import Acquisition, read_table
from musclesense.imaging.dixon import fat_fraction, separate
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.overlap import overlap
from musclesense.phantom.anatomy import Tissue
from musclesense.phantom.signal import FLIP_DEGREES, Drawing, Scanner, slice_signal

SEVERE_PERCENT = 35


def main() -> None:
    rows = list(measure(Path(sys.argv[1])))
    for name, chosen in (
        ("controls", [row for row in rows if row["group"] == "control"]),
        ("patients", [row for row in rows if row["group"] != "control"]),
        (f"severe (true fat fraction above {SEVERE_PERCENT} %)", [row for row in rows if row["true"] > SEVERE_PERCENT]),
    ):
        dice = [row["dice"] for row in chosen]
        print(f"naive Dice, {name}: {len(dice)} slices, {min(dice):.3f} to {max(dice):.3f}, mean {np.mean(dice):.3f}")
    print(f"separated - true in muscle, median of slices: {np.median([row['error'] for row in rows]):+.2f} points")
    print(f"|separated - true| in muscle, median of slices: {np.median([row['absolute'] for row in rows]):.2f} points")
    print(f"voxels more than 40 points off, worst slice: {max(row['far'] for row in rows):.2%}")
    print(f"true fat above 85 % outside muscle reads: {np.median([row['fat_reads'] for row in rows]):.1f} %")
    without_noise()


def without_noise() -> None:
    """Print what the separation reads of muscle of known fat fraction in a ring of subcutaneous fat, without noise."""
    y, x = np.mgrid[-60:60, -120:120]
    radius = np.hypot(x, y)
    tissue = np.where(radius < 35, Tissue.MUSCLE, np.where(radius < 50, Tissue.SUBCUTANEOUS_FAT, Tissue.AIR))
    ones = np.ones(tissue.shape, np.float32)
    print("separated - true without noise, percentage points:")
    for flip in (FLIP_DEGREES, 25.0):
        scanner = replace(Scanner.sample(np.random.default_rng(0)), flip_degrees=flip)
        errors = []
        for percent in (5, 10, 20, 35, 50, 65, 80, 90):
            compartment = np.zeros(tissue.shape, np.uint8)
            drawing = Drawing(
                tissue=tissue.astype(np.uint8),
                muscle_fat=ones * np.float32(percent / 100),
                density=ones,
                compartment=compartment,
            )
            signal = slice_signal(drawing, scanner, oversampling=2, level=0.0, aspect=0.5)
            read = separate(signal.echoes[..., None]).fat_fraction[..., 0][radius[::2, ::2] < 30]
            errors.append(f"{percent} %: {np.median(read) - percent:+.1f}")
        print(f"  flip angle {flip:g} degrees: {', '.join(errors)}")


def measure(table: Path) -> Iterator[dict[str, float | str]]:
    for row in read_table(table).acquisitions:
        mask = labelled(row, row.mask) > 0
        fat, water, signal = (labelled(row, row.channels[name]) for name in ("fat", "water", "te460"))
        true, found = labelled(row, row.fat_fraction), fat_fraction(fat, water)
        body = signal > 0.2 * np.percentile(signal, 98)
        good = mask & (signal > 0.25 * np.percentile(signal, 98))
        difference = found[good] - true[good]
        yield {
            "group": row.group,
            "true": float(true[mask].mean()),
            "dice": overlap(mask, (water > fat) & body).dice or 0.0,
            "error": float(np.median(difference)),
            "absolute": float(np.median(np.abs(difference))),
            "far": float(np.mean(np.abs(difference) > 40)),
            "fat_reads": float(np.median(found[body & ~mask & (true > 85)])),
        }


def labelled(row: Acquisition, path: Path | None) -> np.ndarray:
    assert path is not None and row.slice is not None
    volume = read_volume(path)
    return take_slice(volume.data, volume.geometry, row.slice).astype(np.float64)


if __name__ == "__main__":
    main()
