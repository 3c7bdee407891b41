"""Draw phantoms beside each other: ``python -m musclesense.phantom.contact_sheet OUT.png --preset demo --seed 1``."""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from musclesense.cohort.table import Region
from musclesense.files import atomic_path
from musclesense.imaging.dixon import separate
from musclesense.phantom.generate import Subject, list_subjects, scan_subject
from musclesense.phantom.presets import PRESETS, Preset, find_preset

TITLES = ("fat", "water", "TE 3.45 ms", "mask on water", "true fat fraction")


def draw_contact_sheet(out: Path, preset: Preset, seed: int, region: Region) -> None:
    """Draw the middle slice of two subjects of each group, the mildest and the most severe, as a PNG file."""
    by_group: dict[str, list[Subject]] = {}
    for subject in list_subjects(preset):
        by_group.setdefault(subject.group, []).append(subject)
    shown = [subject for members in by_group.values() for subject in (members[0], members[-1])]
    figure, axes = plt.subplots(
        len(shown), len(TITLES), figsize=(2.4 * len(TITLES), 1.26 * len(shown)), squeeze=False, layout="constrained"
    )
    for row, subject in zip(axes, shown, strict=True):
        scan = next(scan for _, place, scan, _ in scan_subject(preset, subject, seed) if place is region)
        middle = preset.slices // 2
        # One slice: (3, rows, columns, 1) is all that the separation asks for.
        separation = separate(scan.echoes[:, middle, :, :, None])
        fat, water = separation.fat[..., 0], separation.water[..., 0]
        brightest = np.percentile(np.abs(scan.echoes[1, middle]), 99.5)
        for axis, image in zip(row, (fat, water, np.abs(scan.echoes[0, middle]), water), strict=False):
            axis.imshow(image, cmap="gray", vmin=0, vmax=brightest)
        row[3].contour(scan.mask[middle], [0.5], colors="tab:orange", linewidths=0.6)
        row[4].imshow(scan.fat_fraction[middle], cmap="magma", vmin=0, vmax=100)
        inside = scan.mask[middle] > 0
        row[0].set_ylabel(f"{subject.group}\n{scan.fat_fraction[middle][inside].mean():.0f} %", fontsize=7)
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=7)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=72)
    plt.close(figure)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=draw_contact_sheet.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", default="demo", choices=PRESETS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--region", type=Region, default=Region.THIGH, choices=list(Region))
    options = parser.parse_args()
    draw_contact_sheet(options.out, find_preset(options.preset), options.seed, options.region)


if __name__ == "__main__":
    main()
