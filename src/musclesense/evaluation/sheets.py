"""Contact sheets of a segmented scan: outlines of the mask and of the reference on its slices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.evaluation.report.overlays import draw
from musclesense.imaging.boxes import Box, box_around
from musclesense.imaging.contact_sheet import Captions, contact_sheet
from musclesense.imaging.grid import slices_with
from musclesense.imaging.nifti import Geometry
from musclesense.metrics.case import Case
from musclesense.segmentation.pictures import MARGIN_MM, upright, upright_zooms
from musclesense.segmentation.result import Segmentation
from musclesense.storage.atomic import atomic_path

A_SHEET, COLUMNS = 12, 3
FEW = 18
"""Of more slices than these, every second is drawn."""


def write_sheets(
    folder: Path, name: str, found: Segmentation, truth: NDArray[np.uint8] | None, cases: Sequence[Case]
) -> list[Path]:
    """Draw the scored slices of a scan, or where none is scored those that show the body.

    Args:
        folder: For ``NAME-1.png`` and so on.
        name: Of the files.
        found: The mask, drawn in blue.
        truth: The reference, class indices in the voxels of ``found``, drawn in amber; where both run, white.
        cases: Its scores, for the titles.
    """
    by_slice: dict[int, list[float]] = {}
    for case in cases:
        by_slice.setdefault(case.slice, []).extend([] if case.dice is None else [case.dice])
    numbers = [*by_slice] or slices_with(found.scan.bodies, found.geometry)
    numbers = numbers if len(numbers) <= FEW else numbers[::2]
    said = {number: f"  Dice {np.mean(dice):.3f}" for number, dice in by_slice.items() if dice}
    panels = _panels(found, truth, numbers)
    written = []
    for first in range(0, len(numbers), A_SHEET):
        part = slice(first, first + A_SHEET)
        captions = [Captions(f"slice {number}{said.get(number, '')}") for number in numbers[part]]
        written.append(folder / f"{name}-{first // A_SHEET + 1}.png")
        with atomic_path(written[-1]) as draft:
            contact_sheet(panels[part], captions, COLUMNS).save(draft, "PNG")
    return written


def _panels(found: Segmentation, truth: NDArray[np.uint8] | None, numbers: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Draw the part of each slice in which a body lies in one of them, upright, as bright as the root of the signal."""
    geometry = found.geometry
    reference = np.zeros_like(found.classes) if truth is None else truth
    image, classes, true, bodies = (
        upright(volume, geometry)[numbers]
        for volume in (found.scan.channels[found.scan.reference], found.classes, reference, found.scan.bodies)
    )
    window = window_of(np.logical_or.reduce(bodies), geometry)
    drawn = [
        draw(brightened(grey[window]), known[window], predicted[window])
        for grey, predicted, known in zip(image, classes, true, strict=True)
    ]
    return drawn


def window_of(body: NDArray[np.bool_], geometry: Geometry) -> Box:
    """Give the part of an upright slice in which a body lies, with a margin; all of it where there is none."""
    down, along = (round(MARGIN_MM / zoom) for zoom in upright_zooms(geometry))
    return box_around(body if body.any() else ~body, (down, along))


def brightened(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Give an image as grey values, as bright as the root of the signal."""
    signal = np.maximum(image, 0)
    bright = max(float(np.percentile(signal, 99.5)), 1e-6)
    return np.asarray(255 * np.sqrt(np.clip(signal / bright, 0, 1)), dtype=np.uint8)
