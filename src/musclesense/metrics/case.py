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
from musclesense.errors import InputError
from musclesense.imaging.grid import slice_zooms, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.messages import log
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
    measured: NDArray[np.float32] | None  # the same from the fat and the water image; None where the scan lacks one
    probability: NDArray[np.float32] | None = None
    """(rows, columns), of all classes together; below 0 where another class is likelier; None where it is unknown."""
    whole_dice: float | None = None  # Dice of all classes as one mask

    @cached_property
    def counts(self) -> overlap.Overlap:
        """Voxels in which the masks agree and differ."""
        return overlap.overlap(self.truth, self.predicted)

    @cached_property
    def distances(self) -> overlap.SurfaceDistances | None:
        """Of the boundaries, None where a mask is empty."""
        return overlap.SurfaceDistances.between(self.truth, self.predicted, self.spacing)

    @property
    def hd95_mm(self) -> float | None:
        """95th percentile Hausdorff distance, None where a mask is empty."""
        return None if self.distances is None else self.distances.hd95_mm

    @property
    def asd_mm(self) -> float | None:
        """Average symmetric surface distance, None where a mask is empty."""
        return None if self.distances is None else self.distances.average_mm

    def penalised_mm(self, distance: float | None) -> float | None:
        """Give a distance, and the slice's diagonal where one mask is empty and the other is not."""
        failed = self.truth.any() != self.predicted.any()
        return overlap.diagonal_mm(self.truth.shape, self.spacing) if failed else distance

    @property
    def oracle_dice(self) -> float | None:
        """Dice at the threshold that is best here, the fixed one among them; None where there is none."""
        fixed = self.counts.dice
        best = None if self.probability is None else overlap.oracle_dice(self.truth, self.probability)
        return best if best is None or fixed is None else max(best, fixed)

    def volume_ml(self, mask: NDArray[np.bool_]) -> float:
        """Give the volume of one of the masks."""
        return overlap.volume_ml(mask, self.voxel_mm3)

    def mean_fat_fraction(self, mask: NDArray[np.bool_], *, measured: bool = False) -> float | None:
        """Give the mean fat fraction in one of the masks, percent."""
        fraction = self.measured if measured else self.fat_fraction
        return None if fraction is None else mean_fat_fraction(fraction, mask)


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
    a distance or a fat fraction where one is. A measure with a default is also None where it is unknown: the run was
    made by a version that did not write it. To add a column, add an attribute with its `Column` and a default of None.

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
        Column("95th percentile Hausdorff distance", "mm", lambda masks: masks.hd95_mm),
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
    hd95_penalised_mm: Annotated[
        float | None,
        Column(
            "HD95, the slice's diagonal where one mask is empty", "mm", lambda masks: masks.penalised_mm(masks.hd95_mm)
        ),
    ] = None
    measured_fat_fraction_true_mask: Annotated[
        float | None,
        Column(
            "mean fat fraction of the fat and water images in the true mask",
            "percent",
            lambda masks: masks.mean_fat_fraction(masks.truth, measured=True),
        ),
    ] = None
    measured_fat_fraction_predicted_mask: Annotated[
        float | None,
        Column(
            "mean fat fraction of the fat and water images in the predicted mask",
            "percent",
            lambda masks: masks.mean_fat_fraction(masks.predicted, measured=True),
        ),
    ] = None
    asd_mm: Annotated[float | None, Column("average symmetric surface distance", "mm", lambda masks: masks.asd_mm)] = (
        None
    )
    asd_penalised_mm: Annotated[
        float | None,
        Column(
            "ASD, the slice's diagonal where one mask is empty", "mm", lambda masks: masks.penalised_mm(masks.asd_mm)
        ),
    ] = None
    oracle_dice: Annotated[
        float | None,
        Column("Dice at the threshold best for this case: no score", "0 to 1", lambda masks: masks.oracle_dice),
    ] = None
    whole_dice: Annotated[
        float | None, Column("Dice of all labels of the slice as one mask", "0 to 1", lambda masks: masks.whole_dice)
    ] = None

    def __post_init__(self) -> None:
        if self.region not in tuple(Region):
            raise ValueError(f"region {self.region!r} is none")
        for dice in (self.dice, self.oracle_dice, self.whole_dice):
            if dice is not None and not 0 <= dice <= 1:
                raise ValueError(f"Dice {dice} lies outside 0 to 1")

    @property
    def fat_fraction_bias(self) -> float | None:
        """Fat fraction in the predicted mask minus that in the true mask, percentage points."""
        return _difference(self.fat_fraction_predicted_mask, self.fat_fraction_true_mask)

    @property
    def measured_fat_fraction_bias(self) -> float | None:
        """What is read of fat and water in the predicted mask minus the fat fraction in the true mask, points."""
        return _difference(self.measured_fat_fraction_predicted_mask, self.fat_fraction_true_mask)

    @property
    def volume_bias_ml(self) -> float | None:
        """Volume of the predicted mask minus that of the true mask."""
        return _difference(self.volume_predicted_ml, self.volume_true_ml)

    @property
    def counts(self) -> overlap.Overlap:
        """Voxels in which the masks agree and differ."""
        return overlap.Overlap(self.tp, self.fp, self.fn)

    @property
    def voxels_true(self) -> int:
        """Voxels of the true mask."""
        return self.tp + self.fn

    @property
    def voxels_predicted(self) -> int:
        """Voxels of the predicted mask."""
        return self.tp + self.fp


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
    probabilities: NDArray[np.float32] | None = None,
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
        probabilities: Those of the classes that they were decided by, (classes, rows, columns), where they are known.

    Returns:
        A case for each class.
    """
    measured = _of_fat_and_water(acquisition, number, truth.shape)
    fraction = _fat_fraction(acquisition, number, measured)
    whole = overlap.overlap(truth > 0, predicted > 0).dice
    found = None if probabilities is None else (probabilities.argmax(axis=0) + 1, probabilities.sum(axis=0))
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
                    measured=measured,
                    whole_dice=whole,
                    probability=None if found is None else np.where(found[0] == index, found[1], -1),
                )
            ),
        )
        for index in sorted(classes)
    )


def _measured(masks: Masks) -> dict[str, Any]:
    return {name: column.measure(masks) for name, column in COLUMNS.items() if column.measure is not None}


def _fat_fraction(
    acquisition: Acquisition, number: int, measured: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """Give the fat fraction of a slice in percent: the table's, which of a phantom is the truth, else the measured."""
    if acquisition.fat_fraction is None:
        return measured
    volume = read_channel(acquisition, "fat_fraction")
    return take_slice(volume.data, volume.geometry, number).astype(np.float32)


def _of_fat_and_water(acquisition: Acquisition, number: int, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Give what fat and water say of a slice, percent; None where one is missing or of no use, which a line tells."""
    if not {Channel.FAT, Channel.WATER} <= acquisition.channels.keys():
        return None
    try:
        volumes = [read_channel(acquisition, name) for name in (Channel.FAT, Channel.WATER)]
        fat, water = (take_slice(one.data, one.geometry, number).astype(np.float32) for one in volumes)
        if fat.shape != shape or water.shape != shape:
            raise InputError(f"{acquisition.channels[Channel.WATER]}: not of the size of the mask")
    except (InputError, IndexError) as error:  # an image that the network does not take was not checked before
        log.warning(f"no fat fraction from fat and water: {error}")
        return None
    return fat_fraction(fat, water)


def _difference(predicted: float | None, true: float | None) -> float | None:
    return None if predicted is None or true is None else predicted - true
