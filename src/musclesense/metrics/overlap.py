"""How well a predicted mask fits the true one: Dice, surface distance and volume."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Overlap:
    """Voxels of a truth and a prediction, counted.

    >>> Overlap(tp=3, fp=1, fn=2).dice
    0.6666666666666666
    """

    tp: int  # in both
    fp: int  # in the prediction only
    fn: int  # in the truth only

    @property
    def dice(self) -> float | None:
        """The Dice score coefficient, 0 to 1, or None where truth and prediction are both empty.

        Source: Dice (1945), Ecology 26(3), 297-302.
        """
        voxels = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / voxels if voxels else None

    @property
    def recall(self) -> float | None:
        """The part of the truth that is found, or None where the truth is empty."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else None

    @property
    def precision(self) -> float | None:
        """The part of what is found that is true, or None where nothing is found."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else None


def overlap(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Overlap:
    """Count the voxels in which two masks of the same shape agree and differ.

    >>> overlap(np.array([True, True, False]), np.array([True, False, True]))
    Overlap(tp=1, fp=1, fn=1)
    """
    _check_pair(truth, prediction)
    tp = int(np.count_nonzero(truth & prediction))
    return Overlap(tp, int(np.count_nonzero(prediction)) - tp, int(np.count_nonzero(truth)) - tp)


def oracle_dice(truth: NDArray[np.bool_], probability: NDArray[np.floating[Any]]) -> float | None:
    """Give the best Dice of all thresholds 0, 0.01, ... 1: chosen with the truth at hand, so it is no score.

    Args:
        truth: Mask.
        probability: Of the same shape; below 0 or no number where no threshold predicts anything.

    Returns:
        None where the truth is empty, since the best of all then predicts nothing.

    >>> oracle_dice(np.array([True, True, False]), np.array([0.9, 0.3, 0.2], np.float32))
    1.0
    """
    if not truth.any():
        return None
    thresholds = np.linspace(0, 1, 101, dtype=np.float32)
    passed = np.searchsorted(thresholds, np.nan_to_num(probability, nan=-1), side="right")  # so many it reaches
    found, true = (np.bincount(own, minlength=102)[:0:-1].cumsum() for own in (passed.ravel(), passed[truth]))
    return float((2 * true / (found + np.count_nonzero(truth))).max())


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far the boundaries of two masks lie apart.

    The boundary of a mask is its voxels that share a face with a voxel outside it (or with the edge of the image).
    Each boundary voxel has a distance from its centre to the nearest centre of the other boundary. In a slice all of
    this is in its plane; nothing is seen of the slices beside it.

    >>> square = np.zeros((9, 9), bool)
    >>> square[2:6, 2:6] = True
    >>> apart = SurfaceDistances.between(square, np.roll(square, 2, axis=1), spacing=(1.5, 1.5))
    >>> apart.hd95_mm, apart.average_mm
    (3.0, 1.5)
    """

    from_truth: NDArray[np.float64]  # of each boundary voxel of the truth, mm
    from_prediction: NDArray[np.float64]  # of each boundary voxel of the prediction, mm

    @classmethod
    def between(
        cls, truth: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing: Sequence[float]
    ) -> "SurfaceDistances | None":
        """Measure the distances of two masks.

        Args:
            truth: Mask of two or three axes; axes of a single voxel do not count.
            prediction: Mask of the same shape.
            spacing: Voxel size in mm along each axis.

        Returns:
            The distances, or None where either mask is empty.
        """
        _check_pair(truth, prediction)
        if len(spacing) != truth.ndim or min(spacing) <= 0:
            raise ValueError(f"spacing must be {truth.ndim} positive sizes, got {tuple(spacing)}")
        if not truth.any() or not prediction.any():
            return None
        (box,) = ndimage.find_objects((truth | prediction).astype(np.uint8))
        # Along an axis of one voxel every voxel would touch the edge: a slice has a boundary in its plane only.
        flat = tuple(axis for axis, length in enumerate(truth.shape) if length == 1 and truth.size > 1)
        sampling = [size for axis, size in enumerate(spacing) if axis not in flat]
        edges = [_boundary(mask[box].squeeze(flat)) for mask in (truth, prediction)]
        return cls(
            *(ndimage.distance_transform_edt(~there, sampling=sampling)[here] for here, there in (edges, edges[::-1]))
        )

    @property
    def hd95_mm(self) -> float:
        """The symmetric 95th percentile Hausdorff distance: the larger of the two 95th percentiles.

        Percentiles are interpolated linearly, truth to prediction and prediction to truth. Implementations that pool
        both directions before the percentile give less.

        Source: Maier-Hein et al. (2024), Metrics reloaded, Nature Methods 21, 195-212.
        """
        return float(max(np.percentile(self.from_truth, 95), np.percentile(self.from_prediction, 95)))

    @property
    def average_mm(self) -> float:
        """The average symmetric surface distance: the mean over the boundary voxels of both masks together.

        Implementations that average the means of the two directions (MASD) differ where one boundary is longer.

        Source: Heimann et al. (2009), IEEE Transactions on Medical Imaging 28, 1251-1265.
        """
        return float(np.concatenate((self.from_truth, self.from_prediction)).mean())


def diagonal_mm(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Give the diagonal of an image, which no distance in it exceeds; axes of a single voxel do not count.

    It stands for the distance to an empty mask, so that a network that finds nothing does not improve a mean.

    Source: the rule of the BraTS challenge (373 mm, the diagonal of its volumes).

    >>> diagonal_mm((30, 40, 1), spacing=(2.0, 2.0, 8.0))
    100.0
    """
    return math.hypot(*(length * size for length, size in zip(shape, spacing, strict=True) if length > 1))


def volume_ml(mask: NDArray[np.bool_], voxel_mm3: float) -> float:
    """Give the volume of a mask in millilitres from its voxels' volume in cubic millimetres.

    >>> volume_ml(np.ones((10, 10, 1), bool), voxel_mm3=20.0)
    2.0
    """
    return int(np.count_nonzero(mask)) * voxel_mm3 / 1000


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inner: NDArray[np.bool_] = ndimage.binary_erosion(mask, border_value=0)
    return mask & ~inner


def _check_pair(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> None:
    if truth.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise ValueError(f"masks must be boolean, got {truth.dtype} and {prediction.dtype}")
    if truth.shape != prediction.shape:
        raise ValueError(f"masks must have one shape, got {truth.shape} and {prediction.shape}")
