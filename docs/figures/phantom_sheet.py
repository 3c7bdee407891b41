"""Draw phantoms beside each other: ``python -m docs.figures.phantom_sheet OUT.png --preset demo --seed 1``."""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from musclesense.errors import InputError
from musclesense.phantom.cohorts.generate import scan_subject
from musclesense.phantom.cohorts.presets import PRESETS, Preset, find_preset
from musclesense.phantom.cohorts.subjects import Subject, list_subjects
from musclesense.phantom.scanner.acquisition import SimulatedScan
from musclesense.storage.atomic import atomic_path
from musclesense.vocabulary import Region

TITLES = {"fat": "fat", "water": "water", "te345_magnitude": "TE 3.45 ms", "te460_magnitude": "TE 4.60 ms"}
COLUMN_INCHES = 2.6
ANY_SCANNER = (6, 7)


def draw_groups(out: Path, preset: Preset, seed: int, region: Region) -> None:
    """Draw the middle slice of two subjects of each group, the mildest and the most severe, as a PNG file.

    Raises:
        InputError: No subject of the preset is scanned in this region.
    """
    by_group: dict[str, list[Subject]] = {}
    for subject in list_subjects(preset):
        if region in subject.visits[0].regions:
            by_group.setdefault(subject.group.name, []).append(subject)
    if not by_group:
        raise InputError(f"region {region.value} is not scanned in this preset; give another")
    # A group of one stands once.
    shown = [subject for members in by_group.values() for subject in dict.fromkeys((members[0], members[-1]))]
    rows = [(subject.group.name, _first(preset, subject, seed, region, middle_only=True)) for subject in shown]
    _draw(out, [(name, scan, scan.middle) for name, scan in rows])


def draw_levels(out: Path, preset: Preset, seed: int, region: Region, name: str) -> None:
    """Draw every slice of a subject's first acquisition of a region, from the hip down, as a PNG file.

    Raises:
        InputError: There is no such subject, or it is not scanned in this region.
    """
    subjects = {subject.name: subject for subject in list_subjects(preset) if region in subject.visits[0].regions}
    if not subjects:
        raise InputError(f"region {region.value} is not scanned in this preset; give another")
    if name not in subjects:
        raise InputError(f"subject {name!r} has no {region.value} in this preset; use one of {', '.join(subjects)}")
    scan = _first(preset, subjects[name], seed, region, middle_only=False)
    _draw(out, [(f"slice {number}", scan, number) for number in reversed(range(len(scan.mask)))])


def draw_any_scanner(out: Path, preset: Preset, seed: int) -> None:
    """Draw the slices of the first subjects of a preset for any scanner, with the outline of the mask."""
    shown = list_subjects(preset)[: ANY_SCANNER[0] * ANY_SCANNER[1]]
    figure, axes = plt.subplots(*ANY_SCANNER, figsize=(16, 1.4 * ANY_SCANNER[0]), layout="constrained")
    for axis, subject in zip(axes.flat, shown, strict=False):
        scan = next(scan_subject(preset, subject, seed)).scan
        image = next(iter(scan.images.values()))[0]
        axis.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.5))
        for value, colour in ((1, "tab:orange"), (2, "tab:cyan")):
            if (muscle := scan.mask[0] == value).any():
                axis.contour(muscle, [0.5], colors=colour, linewidths=0.5)
    for axis in axes.flat:
        axis.axis("off")
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=80)
    plt.close(figure)


def _first(preset: Preset, subject: Subject, seed: int, region: Region, *, middle_only: bool) -> SimulatedScan:
    sessions = scan_subject(preset, subject, seed, middle_only=middle_only)
    return next(session.scan for session in sessions if session.region is region)


def _draw(out: Path, rows: list[tuple[str, SimulatedScan, int]]) -> None:
    """Draw images, outline and true fat fraction of slices, one a row."""
    names = [name for name in TITLES if name in rows[0][1].images]
    height = COLUMN_INCHES * rows[0][1].mask.shape[1] / rows[0][1].mask.shape[2]
    columns = len(names) + 2
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(COLUMN_INCHES * columns, height * len(rows)), squeeze=False, layout="constrained"
    )
    for row, (label, scan, number) in zip(axes, rows, strict=True):
        images = [scan.images[name][number] for name in names]
        # The last of fat and water carries the outline.
        outlined = images[min(1, len(images) - 1)]
        for axis, image in zip(row, [*images, outlined], strict=False):
            axis.imshow(image, cmap="gray", vmin=0, vmax=np.percentile(image, 99.5))
        mask = scan.mask[number] > 0
        if mask.any():
            row[-2].contour(mask, [0.5], colors="tab:orange", linewidths=0.6)
        if scan.fat_fraction is not None:
            row[-1].imshow(scan.fat_fraction[number], cmap="magma", vmin=0, vmax=100)
            label += f"\n{scan.fat_fraction[number][mask].mean():.0f} %" if mask.any() else ""
        row[0].set_ylabel(label, fontsize=7)
    for axis, title in zip(axes[0], [*(TITLES[name] for name in names), "mask", "true fat fraction"], strict=True):
        axis.set_title(title, fontsize=7)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=100)
    plt.close(figure)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", default="demo", choices=PRESETS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--region", type=Region, choices=list(Region), help="thigh where it is not given")
    parser.add_argument("--levels", metavar="SUBJECT", help="every slice of one subject instead of groups")
    options = parser.parse_args()
    preset = find_preset(options.preset)
    region = options.region or Region.THIGH
    try:
        if preset.stack is None:
            if options.region or options.levels:
                raise InputError(f"preset {options.preset}: takes neither --region nor --levels; leave them out")
            draw_any_scanner(options.out, preset, options.seed)
        elif options.levels is None:
            draw_groups(options.out, preset, options.seed, region)
        else:
            draw_levels(options.out, preset, options.seed, region, options.levels)
    except InputError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
