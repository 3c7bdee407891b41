"""Every measure of one test case, in the voxels of the scan."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition
from musclesense.dixon.separation import fat_fraction
from musclesense.imaging.grid import slice_zooms, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, read_volume
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.metrics.overlap import hd95_mm, overlap, volume_ml

CASE_COLUMNS = (
    *("outer", "inner", "line", "subject", "session", "group", "region", "slice", "label", "dice", "hd95_mm"),
    *("volume_true_ml", "volume_predicted_ml", "fat_fraction_true_mask", "fat_fraction_predicted_mask"),
    *("tp", "fp", "fn"),
)


def case_rows(
    acquisition: Acquisition,
    number: int,
    geometry: Geometry,
    *,
    labels: LabelSet,
    classes: Collection[int],
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
) -> list[dict[str, Any]]:
    """Compare a prediction with the labels of one slice.

    A class that no case of the region has, such as a muscle of the calf in a thigh, has no row, lest its volumes of
    zero dilute means: what is predicted of it counts as wrong where it takes the place of another class.

    Args:
        acquisition: The scan; its fat fraction image, or fat and water, give the fat fractions.
        number: Of the slice.
        geometry: Where the voxels of the scan lie.
        labels: What the class indices mean.
        classes: Class indices that some case of the region has.
        truth: Class indices of the slice, as ``take_slice`` gives it.
        predicted: Class indices of the same shape.

    Returns:
        A row for each class, with the columns of `CASE_COLUMNS` but for the folds; undefined values are None.
    """
    fraction = _fat_fraction(acquisition, number)
    voxel_mm3 = float(np.prod(geometry.zooms))
    rows = []
    for index in sorted(classes):
        true, found = truth == index, predicted == index
        counts = overlap(true, found)
        rows.append(
            {
                "line": acquisition.line,
                "subject": acquisition.subject,
                "session": acquisition.session,
                "group": acquisition.group,
                "region": str(acquisition.region),
                "slice": number,
                "label": labels.names[index - 1],
                "dice": counts.dice,
                "hd95_mm": hd95_mm(true, found, slice_zooms(geometry)),
                "volume_true_ml": volume_ml(true, voxel_mm3),
                "volume_predicted_ml": volume_ml(found, voxel_mm3),
                "fat_fraction_true_mask": None if fraction is None else mean_fat_fraction(fraction, true),
                "fat_fraction_predicted_mask": None if fraction is None else mean_fat_fraction(fraction, found),
                "tp": counts.tp,
                "fp": counts.fp,
                "fn": counts.fn,
            }
        )
    return rows


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
