"""Scores of one test case, in the voxels of the scan."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.cache import SliceCache
from musclesense.cohort.table import Acquisition
from musclesense.imaging.dixon import fat_fraction
from musclesense.imaging.grid import slice_zooms, take_slice
from musclesense.imaging.labels import decide
from musclesense.imaging.nifti import read_volume
from musclesense.imaging.preprocessing import reference_channel
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.metrics.overlap import hd95_mm, overlap, volume_ml
from musclesense.training.module import SegmentationModule

CASE_COLUMNS = (
    *("outer", "inner", "line", "subject", "session", "group", "region", "slice", "label", "dice", "hd95_mm"),
    *("volume_true_ml", "volume_predicted_ml", "fat_fraction_true_mask", "fat_fraction_predicted_mask"),
    *("tp", "fp", "fn"),
)


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """One case of D2.

    Attributes:
        position: In the cache.
        rows: One for each class that the region has, with the columns of `CASE_COLUMNS` but for the folds; undefined
            values are None.
        image: (rows, columns) uint8, the first channel windowed for display.
        truth: (rows, columns) uint8 class indices on the grid.
        prediction: (rows, columns) uint8 class indices on the grid.
    """

    position: int
    rows: list[dict[str, Any]]
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    prediction: NDArray[np.uint8]


def score(
    cache: SliceCache,
    position: int,
    probabilities: NDArray[np.float32],
    module: SegmentationModule,
    column: str = "mask",
) -> ScoredCase:
    """Bring probabilities (classes, rows, columns) back to the scan and compare them with its labels.

    A class that no case of the region has, such as a muscle of the calf in a thigh, has no row, lest its volumes of
    zero dilute means: what is predicted of it counts as wrong where it takes the place of another class.
    """
    case = cache.cases[position]
    acquisition = case.acquisition
    file = acquisition.labels(column)
    assert file is not None  # no case without one
    mask = read_volume(file)
    reference = read_volume(acquisition.channels[reference_channel(cache.channels)])
    placement = module.grid.place(mask.geometry, take_slice(reference.data, mask.geometry, case.slice))
    truth = module.labels.encode(take_slice(mask.data, mask.geometry, case.slice))
    predicted = decide(placement.to_scanner(probabilities), module.threshold)
    fraction = _fat_fraction(acquisition, case.slice)
    voxel_mm3 = float(np.prod(mask.geometry.zooms))
    rows = []
    for index in sorted(cache.classes_of[acquisition.region]):
        true, found = truth == index, predicted == index
        counts = overlap(true, found)
        rows.append(
            {
                "line": acquisition.line,
                "subject": acquisition.subject,
                "session": acquisition.session,
                "group": acquisition.group,
                "region": str(acquisition.region),
                "slice": case.slice,
                "label": module.labels.names[index - 1],
                "dice": counts.dice,
                "hd95_mm": hd95_mm(true, found, slice_zooms(mask.geometry)),
                "volume_true_ml": volume_ml(true, voxel_mm3),
                "volume_predicted_ml": volume_ml(found, voxel_mm3),
                "fat_fraction_true_mask": None if fraction is None else mean_fat_fraction(fraction, true),
                "fat_fraction_predicted_mask": None if fraction is None else mean_fat_fraction(fraction, found),
                "tp": counts.tp,
                "fp": counts.fp,
                "fn": counts.fn,
            }
        )
    return ScoredCase(
        position=position,
        rows=rows,
        image=_display(np.asarray(cache.images[position, 0], dtype=np.float32)),
        truth=np.array(cache.classes[position]),
        prediction=decide(probabilities, module.threshold),
    )


def _fat_fraction(acquisition: Acquisition, number: int) -> NDArray[np.float32] | None:
    """Give the fat fraction of a slice in percent: the table's, else from fat and water, else None."""
    if acquisition.fat_fraction is not None:
        volume = read_volume(acquisition.fat_fraction)
        return take_slice(volume.data, volume.geometry, number).astype(np.float32)
    if "fat" in acquisition.channels and "water" in acquisition.channels:
        fat, water = (read_volume(acquisition.channels[name]) for name in ("fat", "water"))
        parts = (take_slice(volume.data, volume.geometry, number).astype(np.float32) for volume in (fat, water))
        return fat_fraction(*parts)
    return None


def _display(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, (1, 99.5))
    return np.asarray(np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)
