"""What masks and images of a cohort show, against what the table and the label set say."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from musclesense.cohort.table import Acquisition
from musclesense.imaging.body import body_mask
from musclesense.imaging.digests import voxel_digest
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.limbs import sum_up
from musclesense.imaging.nifti import Volume
from musclesense.imaging.outline import look
from musclesense.vocabulary import Limbs

_MOST_SLICES, _MOST_REMARKS = 3, 10
_MOST_LABELS = 256
_FEW, _FEW_OF_USUAL, _SMALLEST_SLICE = 4, 0.01, 400
"""Fewer voxels of a label are suspicious, in number and in parts of the median, in slices of at least so many."""
_SMALL_OF_USUAL = 0.03
"""A label that is small in most slices, as a thin muscle on a coarse grid, may have so few in parts of the median."""


class Counted(NamedTuple):
    """Voxels of a label in a labelled slice of a row."""

    row: Acquisition
    column: str
    slice: int
    label: int
    voxels: int


class Evidence:
    """What the rows of a table show, gathered by any number of threads.

    Attributes:
        counted: Voxels of labels.
    """

    def __init__(self) -> None:
        self.counted: list[Counted] = []
        self._limbs: list[tuple[int, str]] = []
        self._masks: list[tuple[int, str, str, Acquisition]] = []

    def add_labels(self, row: Acquisition, column: str, volume: Volume, slices: Collection[int]) -> None:
        """Count each label in labelled slices, and keep what tells a mask from another one."""
        if volume.data.size >= _SMALLEST_SLICE and slices:
            self._masks.append((row.line, column, voxel_digest(volume), row))
        for number in slices:
            part = take_slice(volume.data, volume.geometry, number)
            labels, counts = np.unique(part[part > 0], return_counts=True)
            if len(labels) <= _MOST_LABELS and part.size >= _SMALLEST_SLICE:
                pairs = zip(labels.tolist(), counts.tolist(), strict=True)
                self.counted += [Counted(row, column, number, int(label), voxels) for label, voxels in pairs]

    def add_limbs(self, row: Acquisition, volume: Volume, slices: Collection[int]) -> None:
        """Compare the limbs of a row with those that its image shows beyond doubt in a few of its labelled slices."""
        count = slice_count(volume.geometry)
        if volume.data.size < _SMALLEST_SLICE * count:
            return
        numbers = sorted(number for number in slices if number < count) or list(range(count))
        at = np.unique(np.linspace(0, len(numbers) - 1, _MOST_SLICES).round().astype(int))
        images = [take_slice(volume.data, volume.geometry, numbers[i]) for i in at.tolist()]
        found = sum_up([look(image, body_mask(image), volume.geometry) for image in images], volume.geometry)
        if found.clear and (found.limbs is Limbs.BOTH) != (row.limbs is Limbs.BOTH):
            shown = "two limbs" if found.limbs is Limbs.BOTH else "one limb"
            said = f"limbs {str(row.limbs)!r}: the image shows {shown}; correct the cell if it is wrong"
            self._limbs.append((row.line, said))

    def remarks(self, values: Collection[int] | None) -> Iterator[tuple[int, str]]:
        """Tell of what may be wrong, each with its line of the table: a few of each kind, and how many more there are.

        Args:
            values: Labels that count; None: all.
        """
        for found in (
            sorted(self._limbs),
            sorted(self._stray(values)),
            [*self._copied()],
            sorted(self._unnamed(values)),
        ):
            yield from found[:_MOST_REMARKS]
            if (more := len(found) - _MOST_REMARKS) > 0:
                yield found[_MOST_REMARKS][0], f"and {more} more of this kind from here on"

    def _stray(self, values: Collection[int] | None) -> Iterator[tuple[int, str]]:
        """Tell of labels that so few voxels have in a slice that they may be stray: a case of Dice 0."""
        counts = defaultdict(list)
        for one in self.counted:
            counts[one.row.region, one.column, one.label].append(one.voxels)
        usual = {key: float(np.median(voxels)) for key, voxels in counts.items()}
        for one in self.counted:
            median = usual[one.row.region, one.column, one.label]
            small_anyway = median >= _FEW and one.voxels >= _SMALL_OF_USUAL * median
            few = one.voxels < max(_FEW, _FEW_OF_USUAL * median) and not small_anyway
            if few and (values is None or one.label in values):
                voxels = f"{one.voxels} voxel" + "s" * (one.voxels > 1)
                said = f"label {one.label} has {voxels} in slice {one.slice}, and {median:.0f} is usual"
                file = f"{one.column} {one.row.labels(one.column)}"
                yield one.row.line, f"{file}: {said}; erase them if they are stray"

    def _unnamed(self, values: Collection[int] | None) -> Iterator[tuple[int, str]]:
        """Tell of values that no label holds, each once."""
        rows = defaultdict[tuple[str, int], dict[int, Acquisition]](dict)
        for one in self.counted if values is not None else ():
            if one.label not in (values or ()):
                rows[one.column, one.label][one.row.line] = one.row
        for (column, label), own in rows.items():
            first = own[min(own)]
            more = f", as in {len(own) - 1} more rows" if len(own) > 1 else ""
            said = f"value {label} is in no label and counts as background{more}"
            yield first.line, f"{column} {first.labels(column)}: {said}"

    def _copied(self) -> Iterator[tuple[int, str]]:
        """Tell of masks that are those of an earlier row: drawn by hand, no two are equal to the voxel."""
        first = dict[tuple[str, str], Acquisition]()
        for line, column, digest, row in sorted(self._masks, key=itemgetter(0, 1)):
            earlier, file = first.setdefault((column, digest), row), row.labels(column)
            # Both limbs of one scan may stand in two rows.
            if earlier.line != line and (earlier.subject, earlier.labels(column)) != (row.subject, file):
                there = f"{earlier.labels(column)} in line {earlier.line}"
                yield line, f"{column} {file}: holds the labels of {there}; correct the path if it is wrong"


def missing_sides(counted: Sequence[Counted], labels: LabelSet | None) -> Iterator[str]:
    """Say which side of a sided label set no mask holds, though images show both limbs."""
    if labels is None:
        return
    held = {one.label for one in counted}
    both = {one.label for one in counted if one.row.limbs is Limbs.BOTH}
    for index, mirrored in enumerate(labels.mirror[1:], start=1):
        own, other = ({*labels.values[i - 1]} for i in (index, mirrored))
        if index != mirrored and not own & held and other & both:
            named = f"{labels.names[index - 1]} ({', '.join(map(str, sorted(own)))})"
            yield (
                f"no mask holds {named}, but {labels.names[mirrored - 1]} in images of both limbs; "
                "correct the masks or the column limbs, or choose other labels, such as labels=whole_muscle"
            )
