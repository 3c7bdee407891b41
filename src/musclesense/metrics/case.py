"""One test case with all its measures: the one list of the columns of scores."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.images import read_channel
from musclesense.cohort.table import Acquisition
from musclesense.dixon.separation import fat_fraction
from musclesense.imaging.grid import slice_zooms, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.metrics import overlap
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.vocabulary import Channel, Region


@dataclass(frozen=True, eq=False, kw_only=True)
class Masks:
    """A true and a predicted mask of one class in one slice."""

    truth: NDArray[np.bool_]  # (rows, columns), boolean
    predicted: NDArray[np.bool_]  # (rows, columns), boolean
    spacing: tuple[float, float]  # pixel size in mm along rows and columns
    voxel_mm3: float  # volume of a voxel
    fat_fraction: NDArray[np.float32] | None  # (rows, columns), percent; None where the scan has no fat fraction

    @cached_property
    def counts(self) -> overlap.Overlap:
        """Voxels in which the masks agree and differ."""
        return overlap.overlap(self.truth, self.predicted)

    def volume_ml(self, mask: NDArray[np.bool_]) -> float:
        """Give the volume of one of the masks."""
        return overlap.volume_ml(mask, self.voxel_mm3)

    def mean_fat_fraction(self, mask: NDArray[np.bool_]) -> float | None:
        """Give the mean fat fraction in one of the masks, percent."""
        return None if self.fat_fraction is None else mean_fat_fraction(self.fat_fraction, mask)


@dataclass(frozen=True)
class Column:
    """What a column of scores means."""

    meaning: str  # in words
    unit: str = ""  # of the numbers; empty where there is none
    measure: Callable[[Masks], float | None] | None = None
    """Gives the value of a pair of masks; None where the column says whose case it is."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One label in one labelled slice of one acquisition, tested by one run.

    `COLUMNS` says what each attribute means. A measure is None where it is undefined: Dice where both masks are empty,
    a distance where one is. A measure with a default is also None where it is unknown: the run was made by a version
    that did not write it. To add a column, add an attribute with its `Column` and a default of None.

    Examples:
        >>> COLUMNS["hd95_mm"].meaning, COLUMNS["hd95_mm"].unit
        ('95th percentile Hausdorff distance', 'mm')
    """

    outer: Annotated[int, Column("outer fold of the run")]
    inner: Annotated[int, Column("inner fold of the run")]
    line: Annotated[int, Column("line of the acquisition in the cohort table")]
    subject: Annotated[str, Column("subject")]
    session: Annotated[str, Column("session, may be empty")]
    group: Annotated[str, Column("group, may be empty")]
    region: Annotated[str, Column("body region")]
    slice: Annotated[int, Column("slice along the slice axis, the first is 0")]
    label: Annotated[str, Column("name of the class")]
    dice: Annotated[float | None, Column("Dice score coefficient", "0 to 1", lambda masks: masks.counts.dice)]
    hd95_mm: Annotated[
        float | None,
        Column(
            "95th percentile Hausdorff distance",
            "mm",
            lambda masks: overlap.hd95_mm(masks.truth, masks.predicted, masks.spacing),
        ),
    ] = None
    volume_true_ml: Annotated[
        float | None, Column("volume of the true mask", "ml", lambda masks: masks.volume_ml(masks.truth))
    ] = None
    volume_predicted_ml: Annotated[
        float | None, Column("volume of the predicted mask", "ml", lambda masks: masks.volume_ml(masks.predicted))
    ] = None
    fat_fraction_true_mask: Annotated[
        float | None,
        Column("mean fat fraction in the true mask", "percent", lambda masks: masks.mean_fat_fraction(masks.truth)),
    ] = None
    fat_fraction_predicted_mask: Annotated[
        float | None,
        Column(
            "mean fat fraction in the predicted mask",
            "percent",
            lambda masks: masks.mean_fat_fraction(masks.predicted),
        ),
    ] = None
    tp: Annotated[int, Column("true positives: in both masks", "voxels", lambda masks: masks.counts.tp)]
    fp: Annotated[int, Column("false positives: in the predicted mask only", "voxels", lambda masks: masks.counts.fp)]
    fn: Annotated[int, Column("false negatives: in the true mask only", "voxels", lambda masks: masks.counts.fn)]

    def __post_init__(self) -> None:
        if self.region not in tuple(Region):
            raise ValueError(f"region {self.region!r} is none")
        if self.dice is not None and not 0 <= self.dice <= 1:
            raise ValueError(f"Dice {self.dice} lies outside 0 to 1")

    @property
    def fat_fraction_bias(self) -> float | None:
        """Fat fraction in the predicted mask minus that in the true mask, percentage points."""
        return _difference(self.fat_fraction_predicted_mask, self.fat_fraction_true_mask)

    @property
    def volume_bias_ml(self) -> float | None:
        """Volume of the predicted mask minus that of the true mask."""
        return _difference(self.volume_predicted_ml, self.volume_true_ml)


COLUMNS: Mapping[str, Column] = MappingProxyType(
    {name: hint.__metadata__[0] for name, hint in get_type_hints(Case, include_extras=True).items()}
)
"""Every column of scores by its name, in order: the attributes of `Case`, and the header of each table of cases."""


def score_slice(
    acquisition: Acquisition,
    number: int,
    geometry: Geometry,
    *,
    outer: int,
    inner: int,
    labels: LabelSet,
    classes: Collection[int],
    truth: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
) -> tuple[Case, ...]:
    """Compare a prediction with the labels of one slice.

    A class that no case of the region has, such as a muscle of the calf in a thigh, has no case, lest its volumes of
    zero dilute means: what is predicted of it counts as wrong where it takes the place of another class.

    Args:
        acquisition: The scan; its fat fraction image, or fat and water, give the fat fractions.
        number: Of the slice.
        geometry: Where the voxels of the scan lie.
        outer: Outer fold of the run that predicted.
        inner: Its inner fold.
        labels: What the class indices mean.
        classes: Class indices that some case of the region has.
        truth: Class indices of the slice, as ``take_slice`` gives it.
        predicted: Class indices of the same shape.

    Returns:
        A case for each class.
    """
    fraction = _fat_fraction(acquisition, number)
    return tuple(
        Case(
            outer=outer,
            inner=inner,
            line=acquisition.line,
            subject=acquisition.subject,
            session=acquisition.session,
            group=acquisition.group,
            region=str(acquisition.region),
            slice=number,
            label=labels.names[index - 1],
            **_measured(
                Masks(
                    truth=truth == index,
                    predicted=predicted == index,
                    spacing=slice_zooms(geometry),
                    voxel_mm3=float(np.prod(geometry.zooms)),
                    fat_fraction=fraction,
                )
            ),
        )
        for index in sorted(classes)
    )


def _measured(masks: Masks) -> dict[str, Any]:
    return {name: column.measure(masks) for name, column in COLUMNS.items() if column.measure is not None}


def _fat_fraction(acquisition: Acquisition, number: int) -> NDArray[np.float32] | None:
    """Give the fat fraction of a slice in percent: the table's, else from fat and water, else None."""
    if acquisition.fat_fraction is not None:
        volume = read_channel(acquisition, "fat_fraction")
        return take_slice(volume.data, volume.geometry, number).astype(np.float32)
    if Channel.FAT in acquisition.channels and Channel.WATER in acquisition.channels:
        fat, water = (read_channel(acquisition, name) for name in (Channel.FAT, Channel.WATER))
        parts = (take_slice(volume.data, volume.geometry, number).astype(np.float32) for volume in (fat, water))
        return fat_fraction(*parts)
    return None


def _difference(predicted: float | None, true: float | None) -> float | None:
    return None if predicted is None or true is None else predicted - true
