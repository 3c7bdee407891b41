"""Readings of each visit: fat fraction and volume, by every way to draw the mask, and when the visit was."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclesense.cohort.dialects import MOST_ROWS, known_columns, read_rows
from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.evaluation.acquisitions import by_acquisition, by_network, case_frame
from musclesense.intake.batch import TABLE as COHORT
from musclesense.messages import log
from musclesense.segmentation.measured import TABLE as MEASUREMENTS
from musclesense.storage.paths import is_file, require_file
from musclesense.storage.records import LARGEST_CONFIGURATION_BYTES, as_it_was, read_text, unreadable
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_settings, read_study
from musclesense.studies.study import Study

if TYPE_CHECKING:
    from pandas import DataFrame

PREDICTED, TRUE, TRUTH = "predicted mask", "true mask", "true mask and map"
"""Ways to read a study: networks that have not seen the subject, the reference masks, and these on the true map."""
VALUES = {"fat_fraction": 2, "volume_ml": 1}
"""What is read, and how many digits are printed."""
TITLES = {"fat_fraction": "Fat fraction, points", "volume_ml": "Volume, ml"}
WHO = ["subject", "group", "region", "label"]
COLUMNS = ["way", "network", *WHO, "session", *VALUES]
SESSIONS = "sessions.csv"
_VISITS = ("subject", "session", "weeks", "date")
_DAYS_A_WEEK = 7
_GIVE = "give --visits FILE, a table with the columns subject, session and weeks (or date, such as 2026-11-30)"


def read_visits(folders: Sequence[Path], visits: Path | None) -> "DataFrame":
    """Read what studies, and results of `segment --cohort`, say of each visit.

    Args:
        folders: Studies, or folders that `segment --cohort` made, or both.
        visits: Table of when visits were: ``subject``, ``session``, and ``weeks`` since any day or ``date``. None: that
            of the phantom.

    Returns:
        `COLUMNS` and ``weeks``, a row for each reading: of a study's networks each, ``network`` names it, of other ways
        one. Fat fractions in percent, NaN where nothing is in the mask. Sessions of subjects who came once are left
        out.

    Raises:
        InputError: A folder is neither, or a visit's time is not known.
    """
    from pandas import concat

    tables = [_of_study(folder) if is_file(StudyFolder(folder).settings) else _of_masks(folder) for folder in folders]
    found = concat([table[COLUMNS] for table in tables], ignore_index=True)
    sessions = found.groupby(["subject", "region"]).session.transform("nunique")
    found = found[sessions > 1]
    file = visits or _known_visits(folders)
    weeks = _weeks(file)
    for subject, session in sorted({*zip(found.subject, found.session, strict=True)}):
        if (subject, session) not in weeks:
            raise InputError(f"{file}: has no time of subject {subject!r}, session {session!r}; add it")
    keys = zip(found.subject, found.session, strict=True)
    return found.assign(weeks=[weeks[key] for key in keys])


def _of_study(folder: Path) -> "DataFrame":
    from pandas import concat

    study = read_study(folder)
    networks = by_network(case_frame(study.cases))
    means = by_acquisition(networks)
    measured = "measured_" if networks.measured_fat_fraction_true.notna().any() else ""
    if not measured and not networks.empty:
        log.warning(f"{folder}: what fat and water say is unknown; fat fractions are those of the table's images")
    networks["network"] = networks.outer.astype(str) + "-" + networks.inner.astype(str)
    ways = [(PREDICTED, networks, f"{measured}fat_fraction_predicted", "volume_predicted_ml")]
    ways += [(TRUE, means, f"{measured}fat_fraction_true", "volume_true_ml")]
    if measured and not means.fat_fraction_true.equals(means.measured_fat_fraction_true):
        ways += [(TRUTH, means, "fat_fraction_true", "volume_true_ml")]
    tables = [
        table.assign(way=way, network=table.get("network", ""), fat_fraction=table[fraction], volume_ml=table[volume])
        for way, table, fraction, volume in ways
    ]
    return _together(concat(tables, ignore_index=True))


def _of_masks(folder: Path) -> "DataFrame":
    """Read all slices and the labelled one, with and without the border, from what `segment --cohort` measured."""
    from pandas import DataFrame, concat, to_numeric

    file = folder / MEASUREMENTS
    if not is_file(file) or not is_file(folder / COHORT):
        raise InputError(f"{folder}: no study, and no folder of segment --cohort; give one of them")
    rows = DataFrame(_rows(file, ("subject", "session", "region", "slice", "label", "voxels", "volume_ml")))
    labelled = {
        (row.subject, row.session, str(row.region)): str(row.slice) for row in read_table(folder / COHORT).acquisitions
    }
    scans = zip(rows.subject, rows.session, rows.region, strict=True)
    own_slice = [labelled.get(scan) == number for scan, number in zip(scans, rows.slice, strict=True)]
    parts = {"all slices": rows[rows.slice == "all"], "labelled slice": rows[own_slice]}
    tables = []
    for kind, border in {"": "", "eroded_": ", without border"}.items() if "eroded_voxels" in rows else [("", "")]:
        for name, part in parts.items():
            voxels, weight = to_numeric(part.voxels), to_numeric(part[f"{kind}voxels"])
            # Of all slices, none may be counted, since the edge of the image cuts them: then nothing is known.
            counted = (part.get("counted_slices", "") != "0") | (part.slice != "all")
            values = {
                "fat_fraction": to_numeric(part[f"{kind}fat_fraction_percent"]),
                "weight": weight,
                "volume_ml": (to_numeric(part.volume_ml) * (weight / voxels).where(voxels > 0, 1)).where(counted),
            }
            tables.append(part[[*WHO, "session"]].assign(way=f"predicted mask, {name}{border}", network="", **values))
    return _together(concat(tables, ignore_index=True))


def _together(readings: "DataFrame") -> "DataFrame":
    """Bring the limbs, or the images of each limb, of one visit together: volumes add up, fat fractions by them."""
    weight = readings.get("weight", readings.volume_ml).where(readings.fat_fraction.notna())
    weighed = readings.assign(weight=weight, fat_fraction=readings.fat_fraction * weight)
    keys = [name for name in COLUMNS if name not in VALUES]
    found = weighed.groupby(keys, sort=False)[["fat_fraction", "weight", "volume_ml"]].sum(min_count=1).reset_index()
    return found.assign(fat_fraction=found.fat_fraction / found.weight.where(found.weight > 0))


def _known_visits(folders: Iterable[Path]) -> Path:
    """Find the table of a phantom's sessions, which lies beside its cohort table."""
    for folder in folders:
        study = StudyFolder(folder)
        if is_file(study.settings):
            config = read_settings(study, remedy=_GIVE)
            own = Study(folder=study, config=config, subjects=(), runs=()).table
            phantom = (config.get("cohort") or {}).get("phantom") or {}
            part = "" if phantom.get("slices", "all") == "all" else f"-{phantom['slices']}"
            made = Path(str(config.get("data"))) / f"phantom-{phantom.get('preset')}-{phantom.get('seed')}{part}"
            if is_file(file := (own.parent if own else made) / SESSIONS):
                return file
    raise InputError(f"{folder}: when its visits were is not known; {_GIVE}")


def _weeks(file: Path) -> dict[tuple[str, str], float]:
    weeks = dict[tuple[str, str], float]()
    for row in _visits(file):
        key = (row["subject"], row["session"])
        with unreadable(file, ValueError, KeyError, remedy=_GIVE):
            own = _week_of(row)
        if weeks.setdefault(key, own) != own:
            raise InputError(f"{file}: subject {key[0]!r}, session {key[1]!r} has two times; correct one")
    return weeks


def _week_of(row: dict[str, str]) -> float:
    if not (text := row.get("weeks")):
        return date.fromisoformat(row["date"]).toordinal() / _DAYS_A_WEEK
    if not isfinite(weeks := float(text.replace(",", "."))):
        raise ValueError(f"weeks {text!r}")
    return weeks


def _visits(file: Path) -> Iterator[dict[str, str]]:
    """Read the rows of a table that a user wrote, in whichever way a spreadsheet saved it."""
    if require_file(file, missing=f"cannot be read (no such file); {_GIVE}") > LARGEST_CONFIGURATION_BYTES:
        raise InputError(f"{file}: larger than {LARGEST_CONFIGURATION_BYTES // 1024**2} MiB; {_GIVE}")
    with unreadable(file, OSError, csv.Error, UnicodeDecodeError, remedy=_GIVE):
        rows, notes = read_rows(file.read_bytes(), _VISITS)
    if not 1 <= len(rows) <= MOST_ROWS + 1:
        raise InputError(f"{file}: has no rows, or more than {MOST_ROWS}; {_GIVE}")
    header, nearly = known_columns([name.strip() for name in rows[0][1]], _VISITS)
    for note in (*notes, *nearly):
        log.warning(f"{file}: {note}")
    if lacking := [name for name in _VISITS[:2] if name not in header]:
        raise InputError(f"{file}: has no column {lacking[0]!r}; {_GIVE}")
    for _, cells in rows[1:]:
        yield dict(zip(header, (as_it_was(cell.strip()) for cell in cells), strict=False))


def _rows(file: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    with unreadable(file, csv.Error, TypeError, remedy=_GIVE):
        reader = csv.DictReader(io.StringIO(read_text(file, remedy=_GIVE), newline=""), strict=True)
        rows = [{name: as_it_was(cell).strip() for name, cell in row.items()} for row in reader]
    if lacking := [name for name in needed if name not in (reader.fieldnames or ())]:
        raise InputError(f"{file}: has no column {lacking[0]!r}; {_GIVE}")
    return rows
