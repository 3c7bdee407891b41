"""The images of a row of a cohort table, all with the axes of the first channel, in which slices are counted.

And what the values of its labels mean.
"""

from pathlib import Path

from musclesense.cohort.table import LABEL_COLUMNS, Acquisition
from musclesense.errors import InputError
from musclesense.imaging.air import read_body_image
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, Volume, read_geometry, read_volume
from musclesense.imaging.turning import turned, whole_labels
from musclesense.storage.records import read_yaml, unreadable


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


def read_labels(file: Path | None, column: str | None = None) -> tuple[LabelSet, str]:
    """Read a label set from a file such as those in ``conf/labels``, and the column of the table that it is for.

    Args:
        file: YAML with ``classes`` and perhaps ``column``. None: any positive value is muscle.
        column: Outdoes that of the file.

    Raises:
        InputError: The file cannot be understood.
    """
    if file is None:
        return LabelSet.from_config({"muscle": []}), column or LABEL_COLUMNS[0]
    remedy = "give a file with 'classes: {NAME: [VALUE]}'"
    content = read_yaml(file, remedy=remedy)
    with unreadable(file, KeyError, TypeError, AttributeError, remedy=remedy, said="no label set"):
        classes = {name: list(values) for name, values in content["classes"].items()}
        column = column or str(content.get("column", LABEL_COLUMNS[0]))
    if column not in LABEL_COLUMNS:
        raise InputError(f"{file}: column {column!r} holds no labels; give {' or '.join(LABEL_COLUMNS)}")
    try:
        return LabelSet.from_config(classes), column
    except InputError as error:
        raise InputError(*(f"{file}: {problem}" for problem in error.problems)) from error
