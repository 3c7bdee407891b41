"""Masks drawn on scans: the best, the median and the worst case of each region."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from musclesense.imaging.contours import contour
from musclesense.metrics.case import Case
from musclesense.storage.paths import is_file
from musclesense.studies.overlays import read_index, read_overlay
from musclesense.studies.study import Run, Study

SHOWN_WIDTH = 640
CONTOUR_WIDTH = 2
"""Pixels; a page shows the picture at about half its width, where contours are then one pixel wide."""

TRUTH, PREDICTION, BOTH = (255, 176, 32), (64, 196, 255), (255, 255, 255)
"""Colours of the contours: of the truth, of the prediction, and where they run together."""


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """One labelled slice with the contours of truth and prediction."""

    rank: str  # ``best``, ``median`` or ``worst`` of its region, by Dice averaged over labels
    case: Case  # whose slice it is (the first of its labels)
    dice: float  # averaged over the labels that have one
    voxels_true: int  # of the true masks of all its labels
    pixels: NDArray[np.uint8]  # RGB, the grid enlarged by a whole number to ``SHOWN_WIDTH`` or more

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"overlay_{self.case.region}_{self.rank}"

    def png(self) -> bytes:
        """Encode the picture; the same pixels give the same bytes."""
        buffer = io.BytesIO()
        imsave(buffer, self.pixels, format="png", pil_kwargs={"optimize": True})
        return buffer.getvalue()


def overlays(study: Study, region: str) -> list[Overlay]:
    """Draw the best, the median and the worst case of a region among those whose images were kept."""
    kept = [(dice, run, cases) for run in study.runs for dice, cases in kept_slices(run) if cases[0].region == region]
    kept.sort(key=lambda entry: -entry[0])
    if not kept:
        return []
    drawn = []
    for rank, position in (("best", 0), ("median", len(kept) // 2), ("worst", -1)):
        dice, run, cases = kept[position]
        case, voxels = cases[0], sum(one.voxels_true for one in cases)
        slice_ = read_overlay(run.folder, case.line, case.slice)
        pixels = draw(slice_.image, slice_.truth, slice_.prediction)
        drawn.append(Overlay(rank=rank, case=case, dice=dice, voxels_true=voxels, pixels=pixels))
    return drawn


def draw(image: NDArray[np.uint8], truth: NDArray[np.uint8], prediction: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the contours of two label maps on a grey image, all of shape (H, W), after enlarging them."""
    times = -(-SHOWN_WIDTH // image.shape[1])
    grey, true, predicted = (
        np.kron(plane, np.ones((times, times), dtype=np.uint8)) for plane in (image, truth, prediction)
    )
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    in_truth, in_prediction = contour(true, CONTOUR_WIDTH), contour(predicted, CONTOUR_WIDTH)
    pixels[in_truth] = TRUTH
    pixels[in_prediction] = PREDICTION
    pixels[in_truth & in_prediction] = BOTH
    return pixels


def kept_slices(run: Run) -> Iterable[tuple[float, list[Case]]]:
    """Give mean Dice and cases of each slice that the run kept the images of."""
    slices: dict[tuple[int, int], list[Case]] = {}
    for case in run.cases:
        if case.dice is not None:
            slices.setdefault((case.line, case.slice), []).append(case)
    if not slices or not is_file(run.folder.overlays):
        return
    for line, number in read_index(run.folder):
        if cases := slices.get((line, number)):
            yield fmean(case.dice for case in cases if case.dice is not None), cases
