"""Scores of one test case, in the voxels of the scan."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.cache import SliceCache
from musclesense.imaging.air import read_body_image
from musclesense.imaging.grid import take_slice
from musclesense.imaging.labels import decide
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.case import Case, score_slice
from musclesense.networks.spec import NetworkSpec
from musclesense.studies.overlays import KeptSlice


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """One test case.

    Attributes:
        position: In the cache.
        scores: One for each class that the region has.
        overlay: Its pictures; the image is that of the first channel.
    """

    position: int
    scores: tuple[Case, ...]
    overlay: KeptSlice


def score(
    cache: SliceCache,
    position: int,
    probabilities: NDArray[np.float32],
    spec: NetworkSpec,
    *,
    outer: int,
    inner: int,
    column: str = "mask",
) -> ScoredCase:
    """Bring probabilities (classes, rows, columns) back to the scan and compare them with its labels."""
    case = cache.cases[position]
    acquisition = case.acquisition
    file = acquisition.labels(column)
    assert file is not None  # no case without one
    mask = read_volume(file)
    image = read_body_image(acquisition.channels[cache.placed_by], cache.placed_by)
    placement = spec.grid.place(image.geometry, take_slice(image.data, image.geometry, case.slice))
    scores = score_slice(
        acquisition,
        case.slice,
        mask.geometry,
        outer=outer,
        inner=inner,
        labels=spec.labels,
        classes=cache.classes_of[acquisition.region],
        truth=spec.labels.encode(take_slice(mask.data, mask.geometry, case.slice)),
        predicted=decide(placement.to_scanner(probabilities), spec.threshold),
    )
    overlay = KeptSlice(
        acquisition.line,
        case.slice,
        image=_display(np.asarray(cache.images[position, 0], dtype=np.float32)),
        truth=np.array(cache.classes[position]),
        prediction=decide(probabilities, spec.threshold),
    )
    return ScoredCase(position, scores, overlay)


def _display(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, (1, 99.5))
    return np.asarray(np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)
