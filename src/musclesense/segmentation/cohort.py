"""The whole cohort of a study segmented, each subject by the networks that have not seen it."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from musclesense.cohort.cache import image_files
from musclesense.cohort.folds import NestedFolds, load_fitting
from musclesense.cohort.table import Acquisition, read_table, write_table
from musclesense.errors import InputError, collected
from musclesense.imaging.digests import image_digest
from musclesense.messages import log
from musclesense.networks.predictor import AUTO
from musclesense.segmentation.measured import MASK, as_text, require_place
from musclesense.segmentation.measured import TABLE as MEASUREMENTS
from musclesense.segmentation.measuring import PLAIN, Measuring
from musclesense.segmentation.scan import from_images
from musclesense.segmentation.seen import testing
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.storage.digests import digests_of
from musclesense.storage.paths import is_there
from musclesense.storage.records import write_csv
from musclesense.studies.content import read_content, require_same_content
from musclesense.studies.identity import table_of
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_settings

TABLE = "cohort.csv"
_WHO = ("subject", "session", "region", "group")
_LONGEST_FOLDER = 100


def segment_cohort(
    study: Path,
    out: Path,
    *,
    table: Path | None = None,
    device: str = AUTO,
    allow_class: Collection[str] = (),
    measuring: Measuring = PLAIN,
) -> Path:
    """Segment every acquisition that a study used by the networks whose test fold its subject is in.

    Args:
        study: A folder below ``runs/``.
        out: Folder for the results of each acquisition, for a table of the cohort with the new masks, and for one of
            all measurements, which carries subject, session and region.
        table: The cohort table, wherever it lies now. None: where it lay when the study began.
        device: Where the networks compute.
        allow_class: Networks of the user's own that the study may name.
        measuring: How the masks are measured.

    Returns:
        The new table.

    Raises:
        InputError: The cohort is not that of the study, a fold has no finished run, or results cannot be written.
    """
    folder = StudyFolder(study)
    config = read_settings(folder, remedy="give a folder that train.py wrote, such as runs/STUDY")
    path = table or table_of(config)
    if path is None:
        raise InputError(f"{study}: its phantom is not known by a path; give --cohort, such as data/PHANTOM/{TABLE}")
    segmenter = Segmenter.load(study, device, allow_class)
    column = config["labels"].get("column", "mask")
    rows = _rows_of(folder, path, segmenter, column, kept=Path(str(config.get("data", "data"))))
    by_subject = _networks(folder, rows, segmenter)
    places = [out / _name(row) for row in rows]
    _require_places(out, places)
    measured = list[dict[str, Any]]()
    for number, (row, place) in enumerate(zip(rows, places, strict=True), start=1):
        log.info(f"{number} of {len(rows)}: {place}")
        images = {name: row.channels[name] for name in row.channels if name in _wanted(segmenter)}
        networks = by_subject[row.subject]
        scan = from_images(images)
        made = segment(scan, model=networks, region=row.region, limbs=row.limbs, told=True, measuring=measuring)
        made.save(place)
        who = {name: str(getattr(row, name)) for name in _WHO}
        measured += [who | as_text(one) for one in made.rows]
    masks = [replace(row, **{column: place / MASK}) for row, place in zip(rows, places, strict=True)]  # type: ignore[arg-type]
    write_csv(out / MEASUREMENTS, [*_WHO, *measuring.columns], measured)
    write_table(out / TABLE, masks)
    return out / TABLE


def _wanted(segmenter: Segmenter) -> set[str]:
    return {*segmenter.spec.channels, segmenter.spec.placed_by, "fat", "water"}


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


def _networks(folder: StudyFolder, rows: Sequence[Acquisition], segmenter: Segmenter) -> dict[str, Segmenter]:
    """Give for each subject the networks of the outer fold that tests it."""
    runs = [RunFolder(file.parent.parent) for file in segmenter.files]
    found, problems = dict[str, Segmenter](), list[str]()
    for outer, test in enumerate(NestedFolds.load(folder.folds).outer):
        unseen = testing(runs, outer)
        found |= dict.fromkeys(test, segmenter.only(unseen)) if unseen else {}
        if not unseen and any(row.subject in test for row in rows):
            problems.append(f"{folder.path}: no finished run of outer={outer}, which tests {test[0]!r}; train it first")
    if problems:
        raise InputError(*problems)
    return found


def _require_places(out: Path, places: Sequence[Path]) -> None:
    taken = [out / name for name in (TABLE, MEASUREMENTS) if is_there(out / name)]
    problems = [f"{file}: exists already; give another folder" for file in taken]
    for place in places:
        with collected(problems):
            require_place(place)
    if problems:
        raise InputError(*problems)


def _name(row: Acquisition) -> str:
    """Name the folder of an acquisition: by its line, which is its own, and by what people look for."""
    said = "-".join(filter(None, (row.subject, row.session, row.region, "" if row.limbs == "both" else row.limbs)))
    safe = re.sub(r"[^\w.+-]", "_", said)
    return f"{row.line:05}-{safe}"[:_LONGEST_FOLDER]
