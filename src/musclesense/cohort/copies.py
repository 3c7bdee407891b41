"""Scans that stand in a table more than once, whatever their files are called and however they were saved again."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition
from musclesense.imaging.digests import voxel_digest
from musclesense.imaging.nifti import Volume, read_volume

_BLOCKS = 4  # along each axis
_NEAR = 2e-3
_SAME_CORRELATION = 0.9999
"""Saved with fewer digits an image has more, scanned again it has less."""
_MOST_VOXELS = 2_000_000
_PLACE = attrgetter("place")


@dataclass(frozen=True, eq=False)
class Picture:
    """An image of a row of the table, and what it shows, coarsely.

    Attributes:
        row: The row.
        column: The column that names the file.
        file: The file.
        digest: Of its voxels.
        shape: Its voxels along the axes of the body (RAS+).
        blocks: Mean values of large blocks, of length 1 as a vector.
        place: Their projection on a line: where it differs, so do the pictures.
    """

    row: Acquisition
    column: str
    file: Path
    digest: str
    shape: tuple[int, ...]
    blocks: NDArray[np.float64]
    place: float

    @classmethod
    def of(cls, row: Acquisition, column: str, file: Path, volume: Volume) -> "Picture":
        """Look at an image."""
        turned = _turned(volume)
        sums = turned.astype(np.float32)
        for axis, length in enumerate(turned.shape):
            starts = np.unique(np.arange(_BLOCKS) * length // _BLOCKS)
            sums = np.add.reduceat(sums, starts, axis=axis)
        blocks = sums.ravel().astype(np.float64)
        blocks /= np.linalg.norm(blocks) or 1
        line = np.random.default_rng(0).normal(size=blocks.size)
        place = float(blocks @ line / np.linalg.norm(line))
        return cls(row, column, file, voxel_digest(volume), turned.shape, blocks, place)

    def shows(self, other: "Picture") -> bool:
        """Whether both show the same: of two subjects also up to brightness and the digits with which they were saved.

        Two echoes of one subject may differ by less than that.
        """
        if self.digest == other.digest or self.row.subject == other.row.subject:
            return self.digest == other.digest
        if np.linalg.norm(self.blocks - other.blocks) > _NEAR:
            return False
        one, two = (_thinned(_turned(read_volume(picture.file))) for picture in (self, other))
        # A constant image, which is refused elsewhere, has no correlation.
        return bool(one.std() and two.std() and np.corrcoef(one, two)[0, 1] > _SAME_CORRELATION)


def copies(pictures: Iterable[Picture]) -> Iterator[tuple[Picture, Picture]]:
    """Find each picture that an earlier one of the same shape shows, with that one first."""
    known = dict[tuple[int, ...], list[Picture]]()
    for picture in pictures:
        alike = known.setdefault(picture.shape, [])
        first = bisect_left(alike, picture.place - _NEAR, key=_PLACE)
        last = bisect_right(alike, picture.place + _NEAR, key=_PLACE)
        if earlier := next((other for other in alike[first:last] if picture.shows(other)), None):
            yield earlier, picture
        else:
            insort(alike, picture, key=_PLACE)


def _turned(volume: Volume) -> NDArray[np.float64]:
    turned: NDArray[np.float64] = apply_orientation(np.nan_to_num(volume.data), volume.geometry.orientation)
    return turned


def _thinned(data: NDArray[np.float64]) -> NDArray[np.float64]:
    step = int(np.ceil((data.size / _MOST_VOXELS) ** (1 / 3)))
    return data[::step, ::step, ::step].ravel().astype(np.float64)
