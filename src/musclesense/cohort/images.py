"""The images of a row of a cohort table, all with the axes of the first channel, in which slices are counted."""

from pathlib import Path

from musclesense.cohort.table import Acquisition
from musclesense.imaging.air import read_body_image
from musclesense.imaging.nifti import Geometry, Volume, read_geometry, read_volume
from musclesense.imaging.turning import turned, whole_labels


def read_channel(row: Acquisition, name: str) -> Volume:
    """Read an image of a row: a channel, or its ``fat_fraction``."""
    file = row.fat_fraction if name == "fat_fraction" else row.channels[name]
    assert file is not None  # checked before
    return _as_first(row, read_body_image(file, name))


def read_reference(row: Acquisition, column: str) -> Volume:
    """Read the reference labels of a column of ``table.LABEL_COLUMNS`` as whole numbers."""
    file = row.labels(column)
    assert file is not None  # checked before
    return _as_first(row, whole_labels(read_volume(file)))


def first_place(row: Acquisition) -> Geometry | None:
    """Give where the first channel of a row lies, or None where it has none.

    Raises:
        InputError: It cannot be read.
    """
    first: Path | None = next(iter(row.channels.values()), None)
    return None if first is None else read_geometry(first)


def _as_first(row: Acquisition, volume: Volume) -> Volume:
    place = first_place(row)
    return volume if place is None else turned(volume, place)
