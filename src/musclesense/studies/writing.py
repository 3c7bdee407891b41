"""The writer of studies: all that is written into the folder of a study or a run, each file whole or not at all."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from musclesense.cohort.folds import NestedFolds
from musclesense.errors import InputError
from musclesense.metrics.case import COLUMNS, Case
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.locks import locked
from musclesense.storage.paths import is_file, is_there, size_and_change, unwritable_errors
from musclesense.storage.records import read_text, write_csv, write_json, write_text
from musclesense.studies.content import Cohort, read_content, rows_of
from musclesense.studies.identity import FOLDS_OF_A_RUN, differences, names_of_earlier_releases, study_name, table_of
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_settings
from musclesense.studies.study import FORMAT, Epoch

_SHOWN = 8
EPOCH_COLUMNS = tuple(field.name for field in dataclasses.fields(Epoch))


def named_study(
    runs: Path, plain: Mapping[str, Any], defaults: Mapping[str, Any], cohort: Cohort | None = None
) -> StudyFolder:
    """Name the folder of a study after its configuration and the rows of its ``cohort``, a table of one's own.

    Under another name the study may have begun already: with an earlier release, which made another digest, with an
    edition in place of its channels, as an arm of an ablation, or with the same table, whose rows have changed since
    and will be refused. Then its folder below ``runs`` is given.
    """
    folder = StudyFolder(runs / study_name(plain, defaults, cohort.rows if cohort else ""))
    if not is_there(folder.path):
        for earlier in map(StudyFolder, sorted(runs.glob(names_of_earlier_releases(plain)))):
            there, number = _settings(earlier, size_and_change(earlier.settings))
            if there is None or differences(there, plain, defaults):
                continue
            called_otherwise = number == 1 or any(there.get(name) != plain.get(name) for name in ("edition", "arm"))
            if called_otherwise if cohort is None else table_of(there) == cohort.path or _is_of(earlier, cohort):
                return earlier
    return folder


def studies_alike(
    folder: StudyFolder, plain: Mapping[str, Any], defaults: Mapping[str, Any], cohort: Cohort | None
) -> list[StudyFolder]:
    """Find the other studies beside a folder that have the same configuration and cohort, by name."""
    found = []
    for other in map(StudyFolder, sorted(folder.path.parent.glob("*"))):
        there, _ = _settings(other, size_and_change(other.settings))
        alike = there is not None and other != folder and not differences(there, plain, defaults)
        if alike and (cohort is None or _is_of(other, cohort)):
            found.append(other)
    return found


@functools.cache  # YAML is slow, and each run of a sweep asks
def _settings(folder: StudyFolder, state: tuple[int, int] | None) -> tuple[Mapping[str, Any] | None, int]:
    """Read the configuration of a study, and its format; None where there is none."""
    try:
        if state is not None:
            number = 1 if "\nformat:" not in "\n" + read_text(folder.settings, remedy="") else FORMAT
            return read_settings(folder, remedy=""), number
    except InputError:
        pass
    return None, FORMAT


def _is_of(folder: StudyFolder, cohort: Cohort) -> bool:
    """Tell whether a study began with these rows; where there is no record of rows, by the table's bytes."""
    try:
        there = read_content(folder)
        return NestedFolds.load(folder.folds).table == cohort.table if there is None else rows_of(there) == cohort.rows
    except InputError:
        return False


def require_same_study(folder: StudyFolder, plain: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse a study folder that belongs to another configuration.

    Raises:
        InputError: Names what differs.
    """
    if not is_file(folder.settings):
        return
    there = read_settings(folder, remedy="remove the study folder or give study=ANOTHER")
    if different := differences(there, plain, defaults):
        shown = ", ".join(
            f"{key} is {one} there and {other} here" for key, (one, other) in list(different.items())[:_SHOWN]
        )
        raise InputError(
            f"{folder.settings}: another configuration ({shown}); give study=ANOTHER_NAME or the same configuration"
        )


def open_study(folder: StudyFolder, plain: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Make the folder of a study and write its configuration there, once among processes, without the folds of a run.

    Raises:
        InputError: The folder belongs to another configuration.
    """
    with locked(folder.settings):
        require_same_study(folder, plain, defaults)
        if not is_file(folder.settings):
            content = {"format": FORMAT} | {key: value for key, value in plain.items() if key not in FOLDS_OF_A_RUN}
            write_text(folder.settings, yaml.safe_dump(content, sort_keys=False))


def write_command(folder: StudyFolder, command: str) -> None:
    """Record the command that trained a study."""
    with locked(folder.command):
        write_text(folder.command, command + "\n")


def begin_run(folder: RunFolder, plain: Mapping[str, Any]) -> None:
    """Make the folder of a run, forget an earlier failure and write the configuration there."""
    with unwritable_errors(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    forget_failure(folder)
    write_text(folder.config, yaml.safe_dump(dict(plain), sort_keys=False))


def write_done(folder: RunFolder, *, outer: int, inner: int, **content: Any) -> None:
    """Record that a run is finished: the last thing to be written, with digests of its results and of what they are of.

    A run may be written into a draft of its folder: then what it is of is not beside it, and is not known.
    """
    cohort, results = StudyFolder(folder.path.parent).cohort, filter(is_file, folder.results)
    files = {path.relative_to(folder.path).as_posix(): digest_of_bytes(path) for path in results}
    made_of = digest_of_bytes(cohort) if is_file(cohort) else None
    record = {"format": FORMAT, "outer": outer, "inner": inner, **content, "files": files, "cohort": made_of}
    write_json(folder.done, record)


def write_validated(folder: RunFolder, *, outer: int, inner: int, dice: float, epoch: int) -> None:
    """Record that a run of a search is finished: the DSC on its validation cases, and in which epoch."""
    write_json(folder.validated, {"format": FORMAT, "outer": outer, "inner": inner, "val_dice": dice, "epoch": epoch})


def record_failure(folder: RunFolder, reason: str, *, outer: int, inner: int, details: str) -> None:
    """Record why a run has no result: all details, and then one line."""
    write_text(folder.error, details)
    write_json(folder.failed, {"format": FORMAT, "outer": outer, "inner": inner, "error": reason})


def forget_failure(folder: RunFolder) -> None:
    """Take away what `record_failure` wrote, since the run is tried again."""
    for path in (folder.failed, folder.error):
        path.unlink(missing_ok=True)


def write_epochs(folder: RunFolder, rows: Iterable[Mapping[str, float]]) -> None:
    """Write learning curves, a row an epoch with the attributes of `Epoch`."""
    write_csv(folder.metrics, EPOCH_COLUMNS, list(rows))


def write_cases(folder: RunFolder, cases: Iterable[Case]) -> None:
    """Write the scores of the test cases."""
    write_csv(folder.cases, tuple(COLUMNS), [vars(case) for case in cases])
