"""Scans in rows for a figure of a paper: fat, water, and the masks over water, as wide as a column."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from musclesense.evaluation.report.differences import save_figure
from musclesense.evaluation.report.lettering import drawable
from musclesense.evaluation.report.overlays import draw
from musclesense.evaluation.sheets import brightened, window_of
from musclesense.metrics.case import Case
from musclesense.segmentation.pictures import upright, upright_zooms
from musclesense.segmentation.result import Segmentation

ROWS = 8
COLUMN_INCHES = 3.35
"""Of one of two columns of a page: 85 mm."""
_TITLE_INCHES, _GAP = 0.16, 0.02
_IMAGES = ("fat", "water")


@dataclass(frozen=True, eq=False)
class Shown:
    """A row of a gallery: what it says, and its panels, RGB or grey, with the height by the width of a slice."""

    says: str
    panels: dict[str, NDArray[np.uint8]]
    aspect: float


def chosen(cases: Iterable[Case], *, worst_first: bool, rows: int = ROWS) -> dict[str, list[list[Case]]]:
    """Choose scans for the gallery of each region by their mean Dice, each with the cases of one slice.

    Args:
        cases: Scores.
        worst_first: The worst ones, the worst on top. Else from the best to the worst, in even steps.
        rows: How many at most.

    Returns:
        For each region scans in the order of the gallery. Of several slices of a scan the worst is shown.
    """
    found: dict[str, list[list[Case]]] = {}
    known = sorted((case for case in cases if case.dice is not None), key=lambda case: (case.region, case.line))
    for (region, _), own in groupby(known, key=lambda case: (case.region, case.line)):
        by_slice = [list(part) for _, part in groupby(sorted(own, key=lambda one: one.slice), lambda one: one.slice)]
        found.setdefault(region, []).append(min(by_slice, key=_dice))
    for region, scans in found.items():
        scans.sort(key=_dice, reverse=not worst_first)
        even = np.unique(np.linspace(0, len(scans) - 1, min(rows, len(scans))).round().astype(int))
        found[region] = scans[:rows] if worst_first else [scans[place] for place in even]
    return found


def shown(found: Segmentation, truth: NDArray[np.uint8], cases: Sequence[Case]) -> Shown:
    """Draw a slice of a scan: fat and water as they are there, and the masks over water, else over what is shown."""
    geometry, number = found.geometry, cases[0].slice
    classes, true, bodies = (upright(part, geometry)[number] for part in (found.classes, truth, found.scan.bodies))
    window = window_of(bodies, geometry)
    channels = found.scan.channels
    names = [name for name in _IMAGES if name in channels] or [found.scan.reference]
    panels = {name: brightened(upright(channels[name], geometry)[number][window]) for name in names}
    masks = draw(panels[names[-1]], true[window], classes[window])
    case, zooms = cases[0], upright_zooms(geometry)
    said = (case.subject, case.session, case.group, f"Dice {_dice(cases):.3f}")
    height, width = panels[names[0]].shape
    return Shown(", ".join(filter(None, said)), panels | {"masks": masks}, height * zooms[0] / (width * zooms[1]))


def save_gallery(path: Path, rows: Sequence[Shown]) -> list[Path]:
    """Write a gallery as PNG, SVG and PDF, under a name without its ending."""
    names = [name for name in rows[0].panels if all(name in row.panels for row in rows)]
    wide = (COLUMN_INCHES - _GAP * (len(names) - 1)) / len(names)
    heights = [_TITLE_INCHES + wide * row.aspect for row in rows]
    total = sum(heights) + _TITLE_INCHES
    figure = Figure(figsize=(COLUMN_INCHES, total), facecolor="white")

    def write(text: str, x: float, top: float, *, weight: str = "normal") -> None:
        parts, fonts = drawable(tuple(text.split(", ")))  # each is shortened alone: the group and Dice stay
        place = (x / COLUMN_INCHES, 1 - (top + 0.03) / total)
        figure.text(*place, ", ".join(parts), fontsize=6, va="top", family=fonts, parse_math=False, fontweight=weight)

    lefts = [number * (wide + _GAP) for number in range(len(names))]
    for name, left in zip(names, lefts, strict=True):
        write(name, left, 0, weight="bold")
    top = _TITLE_INCHES
    for row, height in zip(rows, heights, strict=True):
        write(row.says, 0, top)
        for name, left in zip(names, lefts, strict=True):
            low, tall = 1 - (top + height) / total, (height - _TITLE_INCHES) / total
            axes = figure.add_axes((left / COLUMN_INCHES, low, wide / COLUMN_INCHES, tall))
            axes.imshow(row.panels[name], cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="none")
            axes.set_axis_off()
        top += height
    return save_figure(figure, path)


def _dice(cases: Sequence[Case]) -> float:
    return fmean(case.dice for case in cases if case.dice is not None)
