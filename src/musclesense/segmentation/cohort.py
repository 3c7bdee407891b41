"""The cohort of a study: its rows, and for each subject the networks that have not seen it."""

from collections.abc import Sequence
from pathlib import Path

from musclesense.cohort.cache import image_files
from musclesense.cohort.folds import NestedFolds, load_fitting
from musclesense.cohort.table import Acquisition, read_table
from musclesense.errors import ArgumentError, InputError
from musclesense.imaging.digests import image_digest
from musclesense.segmentation.seen import testing
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.digests import digests_of
from musclesense.studies.content import read_content, require_same_content
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_settings


def unseen_networks(
    study: Path, table: Path, segmenter: Segmenter
) -> tuple[list[Acquisition], dict[str, tuple[int, ...]], str]:
    """Give the rows that a study used, for each subject the numbers of the networks that test it, and its labels.

    The labels are the column of the table that holds them.

    Args:
        study: A folder below ``runs/``.
        table: The cohort table, wherever it lies now.
        segmenter: All networks of the study.

    Raises:
        InputError: The cohort is not that of the study, or a fold has no finished run.
    """
    folder = StudyFolder(study)
    if not all(StudyFolder(file.absolute().parents[2]).path == study.absolute() for file in segmenter.files):
        raise ArgumentError("{out_of_fold}: takes a study below runs/ as {model}", out_of_fold="", model=str(study))
    config = read_settings(folder, remedy="give a folder that train.py wrote, such as runs/STUDY")
    column = str(config["labels"].get("column", "mask"))
    rows = _rows_of(folder, table, segmenter, column, kept=Path(str(config.get("data", "data"))))
    return rows, _networks(folder, rows, segmenter), column


def _rows_of(folder: StudyFolder, path: Path, segmenter: Segmenter, column: str, *, kept: Path) -> list[Acquisition]:
    """Read the rows that the study used, and compare them with its record, or the table where there is none."""
    table = read_table(path)
    rows = [row for row in table.acquisitions if row.region in segmenter.spec.regions]
    if (known := read_content(folder)) is None:
        load_fitting(folder.folds, table, rows)
        return rows
    names = {name for row in known for name in row["images"]}
    files = [image_files(row, column, sorted(names.difference({column, "fat_fraction"}))) for row in rows]
    every = [file for own in files for file in own.values()]
    digests = digests_of(every, image_digest, kept=kept / "cache" / "digests.json", keep=False)
    images = [{name: (file, digests[file]) for name, file in own.items()} for own in files]
    require_same_content(folder, path, rows, images)
    return rows


def _networks(folder: StudyFolder, rows: Sequence[Acquisition], segmenter: Segmenter) -> dict[str, tuple[int, ...]]:
    """Give for each subject the networks of the outer fold that tests it."""
    runs = [RunFolder(file.parent.parent) for file in segmenter.files]
    found, problems = dict[str, tuple[int, ...]](), list[str]()
    for outer, test in enumerate(NestedFolds.load(folder.folds).outer):
        unseen = testing(runs, outer)
        found |= dict.fromkeys(test, unseen) if unseen else {}
        if not unseen and any(row.subject in test for row in rows):
            problems.append(f"{folder.path}: no finished run of outer={outer}, which tests {test[0]!r}; train it first")
    if problems:
        raise InputError(*problems)
    return found
