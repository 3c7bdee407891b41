"""A study read back from its folder: configuration, runs, and the scores of every test case.

Formats 1 (of releases without a format number) and 2 are read; a newer one is refused.
"""

import csv
import dataclasses
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from musclesense.cohort.folds import NestedFolds
from musclesense.errors import InputError
from musclesense.imaging.labels import MOST_CLASSES
from musclesense.metrics.case import Case
from musclesense.names import LONGEST_NAME
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_file, refuse_dicom
from musclesense.storage.records import as_it_was, read_json, read_text, read_yaml, require_format, unreadable
from musclesense.studies.content import read_content
from musclesense.studies.identity import identity, upgrade
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.study import FORMAT, Epoch, Run, RunStatus, Study

_LARGEST = 1e12
"""No measure or count is larger, and sums of squares below stay finite. Diverged losses are."""
_REMEDY = "remove its folder and run train.py again"
_FOREIGN = "put back what was there, or remove the run's folder and run train.py again"


def read_study(path: Path) -> Study:
    """Read a study folder; runs that have not finished are listed as such, with no cases.

    Raises:
        InputError: The folder is no study, or one of its files cannot be understood.
    """
    folder = StudyFolder(path)
    with unreadable(path, PermissionError, remedy="ask who wrote it"), suppress(FileNotFoundError, NotADirectoryError):
        folder.settings.stat()
    if not is_file(folder.settings) or not is_file(folder.folds):
        refuse_dicom(path)
        lacking = folder.folds if is_file(folder.settings) else folder.settings
        raise InputError(
            f"{path}: not a study (no {lacking.name}); give a folder that train.py wrote, such as runs/STUDY"
        )
    config = read_settings(folder, remedy=_REMEDY)
    cohort = config.get("cohort") or {}
    if not isinstance(cohort, dict) or not isinstance(cohort.get("path"), str | None):
        raise InputError(f"{folder.settings}: cohort {cohort!r} is no cohort; run train.py for this study again")
    folds = NestedFolds.load(folder.folds)
    read_content(folder)  # which says whether the folds are those of the study
    runs = tuple(_read_run(folder.run(*fold), *fold) for fold in folds.runs)
    for run in runs:
        if run.status is RunStatus.FINISHED:
            require_own_run(folder, run.outer, run.inner, config)
            _require_tested(run, folds)
    return Study(folder=folder, config=config, subjects=folds.subjects, runs=runs)


def finished_runs(folder: StudyFolder) -> list[RunFolder]:
    """Find the finished runs of a study, and no other folder in it.

    Raises:
        InputError: One of them was made under other folds, of another cohort, or by another configuration.
    """
    finished = [fold for fold in NestedFolds.load(folder.folds).runs if folder.run(*fold).is_finished]
    config = read_settings(folder, remedy=_REMEDY)
    for fold in finished:
        require_own_run(folder, *fold, config)
    return [folder.run(*fold) for fold in finished]


def require_own_run(study: StudyFolder, outer: int, inner: int, config: Mapping[str, Any]) -> None:
    """Refuse a finished run that was made under other folds, of another cohort, or by another configuration.

    Args:
        study: Where it lies.
        outer: Outer fold that its folder is named after.
        inner: Inner fold, likewise.
        config: Of the study, from `read_settings`.

    Raises:
        InputError: It does not belong to the study.
    """
    run = study.run(outer, inner)
    done = read_done(run)
    if (done.get("outer", outer), done.get("inner", inner)) != (outer, inner):
        raise InputError(f"{run.done}: of outer={done.get('outer')} inner={done.get('inner')}; {_FOREIGN}")
    made_of = done.get("cohort")
    if made_of is not None and (not is_file(study.cohort) or digest_of_bytes(study.cohort) != made_of):
        raise InputError(f"{study.cohort}: is not that with which {run.path} was made; {_FOREIGN}")
    if is_file(run.config):
        own, there = identity(_read_settings(run.config, remedy=_REMEDY)), identity(config)
        if changed := [key for key in own if key in there and own[key] != there[key]]:
            raise InputError(f"{run.config}: {changed[0]} differs from that in {study.settings.name}; {_FOREIGN}")


def require_own_file(run: RunFolder, file: Path) -> None:
    """Refuse a file of a finished run that is not the one that the run wrote, where that is known.

    Raises:
        InputError: It is another one.
    """
    digests = read_done(run).get("files")
    written = digests.get(file.relative_to(run.path).as_posix()) if isinstance(digests, dict) else None
    if written is not None and is_file(file) and digest_of_bytes(file) != written:
        raise InputError(f"{file}: is not the file that the run wrote; put that back, or {_REMEDY}")


def _require_tested(run: Run, folds: NestedFolds) -> None:
    """Refuse scores of subjects whom other folds test."""
    if strangers := {case.subject for case in run.cases}.difference(folds.outer[run.outer]):
        raise InputError(f"{run.folder.cases}: tests {min(strangers)!r}, whom the folds test elsewhere; {_FOREIGN}")


def read_settings(folder: StudyFolder, *, remedy: str) -> dict[str, Any]:
    """Read the configuration of a study, in today's words whatever release wrote it.

    Raises:
        InputError: It is missing, of a newer format, or no configuration.
    """
    return _read_settings(folder.settings, remedy=remedy)


def _read_settings(path: Path, *, remedy: str) -> dict[str, Any]:
    config = read_yaml(path, remedy=remedy)
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise InputError(f"{path}: holds no settings; run train.py for this study again")
    require_format(path, config, newest=FORMAT)
    return upgrade({key: value for key, value in config.items() if key != "format"})


def read_run(folder: RunFolder) -> Run:
    """Read one run by its folder, whose name says which folds it has.

    Raises:
        InputError: The folder has no such name, or one of its files cannot be understood.
    """
    if folder.folds is None:
        raise InputError(
            f"{folder.path}: not a run; give a folder such as {StudyFolder(Path('runs/STUDY')).run(0, 0).path}"
        )
    return _read_run(folder, *folder.folds)


def read_done(folder: RunFolder) -> Mapping[str, Any]:
    """Read how a finished run ended: its ``scores``, and what they were reached with.

    Raises:
        InputError: The record is missing, of a newer format, or cannot be understood.
    """
    return _read_record(folder.done)


def read_validated(folder: RunFolder) -> float:
    """Read the DSC on the validation cases that a run of a search reached.

    Raises:
        InputError: The record is missing, of a newer format, or cannot be understood.
    """
    dice = _read_record(folder.validated).get("val_dice")
    if not isinstance(dice, float) or not 0 <= dice <= 1:
        raise InputError(f"{folder.validated}: val_dice {dice!r} is no Dice; {_REMEDY}")
    return dice


def read_failure(folder: RunFolder) -> str:
    """Read in a line why a run failed; empty where that is not said.

    Raises:
        InputError: The record is missing, of a newer format, or cannot be understood.
    """
    return str(_read_record(folder.failed).get("error", ""))


def _read_record(path: Path) -> Mapping[str, Any]:
    content = read_json(path, remedy=_REMEDY)
    require_format(path, content, newest=FORMAT)
    return content if isinstance(content, dict) else {}


def read_epochs(folder: RunFolder) -> tuple[Epoch, ...]:
    """Read the learning curves of a run; none where it has not ended an epoch.

    Raises:
        InputError: The table cannot be understood.
    """
    return _read_rows(folder.metrics, Epoch, number=_point_of_curve)[0] if is_file(folder.metrics) else ()


def _read_run(folder: RunFolder, outer: int, inner: int) -> Run:
    run = Run(outer=outer, inner=inner, folder=folder, epochs=read_epochs(folder))
    if folder.is_finished:
        for file in (folder.metrics, folder.cases, folder.overlays):
            require_own_file(folder, file)
        cases, unknown = _read_rows(folder.cases, Case)
        for case in cases:
            if (case.outer, case.inner) != (outer, inner):
                raise InputError(f"{folder.cases}: holds cases of run {case.outer}-{case.inner}; {_REMEDY}")
        if (labels := len({case.label for case in cases})) > MOST_CLASSES:
            raise InputError(f"{folder.cases}: {labels} labels, where a label set has {MOST_CLASSES}; {_REMEDY}")
        for (line, number, label), times in Counter((case.line, case.slice, case.label) for case in cases).items():
            if times > 1:
                scan = f"line {line}, slice {number}, {label!r}"
                raise InputError(f"{folder.cases}: the case of {scan} stands {times} times; {_REMEDY}")
        best = _best_epoch(folder)
        return dataclasses.replace(run, status=RunStatus.FINISHED, best_epoch=best, cases=cases, unknown=unknown)
    if is_file(folder.failed):
        return dataclasses.replace(run, status=RunStatus.FAILED, error=read_failure(folder))
    return run


def _best_epoch(folder: RunFolder) -> int | None:
    best = read_done(folder).get("best_epoch")
    if best is not None and (not isinstance(best, int) or isinstance(best, bool) or not 0 <= best <= _LARGEST):
        raise InputError(f"{folder.done}: best_epoch {best!r} is no epoch; {_REMEDY}")
    return best


def _cell(row: Mapping[str, str | None], name: str) -> str:
    cell = row[name]
    if cell is None:
        raise ValueError("a row is cut short")
    return cell


def _measure(text: str) -> float | None:
    number = float(text) if text else math.nan
    if abs(number) > _LARGEST and math.isfinite(number):
        raise ValueError(f"{text} is too large")
    return number if math.isfinite(number) else None


def _point_of_curve(text: str) -> float | None:
    number = float(text) if text else math.nan
    return number if abs(number) <= _LARGEST else None  # not for NaN


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _LARGEST:
        raise ValueError(f"{text} is no count")
    return number


def _name(cell: str) -> str:
    text = as_it_was(cell)
    if not all(character.isprintable() or character.isspace() for character in text) or len(text) > LONGEST_NAME:
        raise ValueError(f"{text!r} is no name")
    return text


_READERS: Mapping[Any, Callable[[str], Any]] = {int: _count, str: _name}


_Row = TypeVar("_Row", Case, Epoch)


def _read_rows(
    path: Path, kind: type[_Row], *, number: Callable[[str], float | None] = _measure
) -> tuple[tuple[_Row, ...], frozenset[str]]:
    """Read a CSV table into objects whose attributes are its columns; further columns are ignored.

    Returns:
        The rows, and the columns that the table lacks and that have a default.
    """
    readers = {**_READERS, float | None: number}
    columns = {name: readers[hint] for name, hint in get_type_hints(kind).items()}
    optional = {field.name for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}
    text = read_text(path, remedy=_REMEDY)
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        unknown = frozenset(optional.difference(rows.fieldnames or ()))
        known = {name: read for name, read in columns.items() if name not in unknown}
        made = tuple(kind(**{name: read(_cell(row, name)) for name, read in known.items()}) for row in rows)
    except KeyError as error:
        raise InputError(f"{path}: no column {error}; {_REMEDY}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {_REMEDY}") from error
    return made, unknown
