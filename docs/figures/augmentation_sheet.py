"""Draw augmented samples: ``python -m docs.figures.augmentation_sheet OUT.png data/phantom-demo-1/cohort.csv``."""

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from musclesense.cohort import cache
from musclesense.cohort.table import read_table
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.storage.atomic import atomic_path
from musclesense.storage.records import read_yaml
from musclesense.training.augmentation import NO_CHANGE, Augmentation, transform
from musclesense.training.intensity import vary

ROWS, COLUMNS = 4, 6
WHOLE_MUSCLE = LabelSet.from_config({"muscle": []})


def draw_contact_sheet(out: Path, slices: cache.SliceCache, augmentation: Augmentation) -> None:
    """Draw cases from all over a cohort, each unchanged and then as five epochs would show it, masks outlined."""
    chosen = np.linspace(0, len(slices.cases) - 1, ROWS).round().astype(int)
    images = torch.from_numpy(slices.images[chosen, :1].astype(np.float32))
    classes = torch.from_numpy(slices.classes[chosen])
    air = torch.from_numpy(slices.air[chosen, :1])
    figure = Figure(figsize=(2.4 * COLUMNS, 1.5 * ROWS), layout="constrained")
    axes = figure.subplots(ROWS, COLUMNS)
    for column in range(COLUMNS):
        changes = augmentation.draw(len(slices.cases), seed=0, epoch=column)[chosen]
        intensity = augmentation.draw_intensity(len(slices.cases), 1, seed=0, epoch=column)[chosen]
        if column == 0:
            changes, intensity = np.tile(np.array(NO_CHANGE, np.float32), (ROWS, 1)), intensity[:, :0]
        drawn = torch.from_numpy(changes)
        moved, moved_classes = transform(images, classes, air=air, changes=drawn, mirror=WHOLE_MUSCLE.mirror)
        moved = vary(moved, air, torch.from_numpy(intensity))
        for row, (down, right, scale, vertical, horizontal) in enumerate(changes[:, : len(NO_CHANGE)]):
            axis, case = axes[row, column], slices.cases[chosen[row]].acquisition
            low, high = float(images[row].min()), float(images[row].quantile(0.995))
            axis.imshow(moved[row, 0].numpy(), cmap="gray", vmin=low, vmax=high)
            if moved_classes[row].any():
                axis.contour(moved_classes[row].numpy(), [0.5], colors="tab:orange", linewidths=0.6)
            flips = " ↕" * bool(vertical < 0) + " ↔" * bool(horizontal < 0)
            shown = f"down {down:+.0%}, right {right:+.0%}, x {scale:.2f}{flips}" if column else "as it is"
            axis.set_title(shown, fontsize=6)
            axis.set(xticks=[], yticks=[])
            if column == 0:
                axis.set_ylabel(f"{case.subject}\n{case.group} {case.region}", fontsize=7)
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=90)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=draw_contact_sheet.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("cohort", type=Path, help="cohort table")
    parser.add_argument("--augmentation", type=Path, default=Path("conf/augmentation/paper.yaml"))
    parser.add_argument("--cache", type=Path, default=Path("data/cache"), help="folder of slice caches")
    options = parser.parse_args()
    ranges = read_yaml(options.augmentation, remedy="give a file of conf/augmentation")
    acquisitions, grid = read_table(options.cohort).acquisitions, Grid()
    digests = cache.digests_of_images(options.cache, acquisitions, column="mask")
    folder = cache.cache_folder(options.cache, acquisitions, digests, grid=grid, labels=WHOLE_MUSCLE)
    slices = cache.open_or_build(folder, acquisitions, grid=grid, labels=WHOLE_MUSCLE)
    draw_contact_sheet(options.out, slices, Augmentation(**ranges))


if __name__ == "__main__":
    main()
