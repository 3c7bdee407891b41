"""A study read back from its folder: configuration, runs, and the scores of every test case."""

import csv
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from musclesense.cohort.folds import NestedFolds
from musclesense.errors import InputError
from musclesense.storage.paths import is_file
from musclesense.storage.records import read_json, read_text, read_yaml
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.vocabulary import Region

_MOST_LABELS_TOGETHER = 6
_LARGEST = 1e12
"""No measure or count is larger, and sums of squares below stay finite. Diverged losses are."""
_LONGEST_NAME = 200
_REMEDY = "remove its folder and run train.py again"


class RunStatus(StrEnum):
    """What became of a run."""

    FINISHED = "finished"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One label in one labelled slice of one acquisition, tested by one run. None is undefined.

    Attributes:
        outer: Outer fold of the run.
        inner: Inner fold of the run.
        line: Line of the acquisition in the cohort table.
        subject: Subject, who is in D2 of one outer fold only.
        session: Session, or the empty string.
        group: Group, or the empty string.
        region: Body region.
        slice: 0-based slice along the slice axis.
        label: Name of the class.
        dice: Dice score coefficient, 0 to 1; None where truth and prediction are both empty.
        hd95_mm: 95th percentile Hausdorff distance; None where either is empty.
        volume_true_ml: Volume of the true mask.
        volume_predicted_ml: Volume of the predicted mask.
        fat_fraction_true_mask: Mean fat fraction (percent) in the true mask.
        fat_fraction_predicted_mask: Mean fat fraction (percent) in the predicted mask.
        tp: Voxels in both masks.
        fp: Voxels in the predicted mask only.
        fn: Voxels in the true mask only.
    """

    outer: int
    inner: int
    line: int
    subject: str
    session: str
    group: str
    region: str
    slice: int
    label: str
    dice: float | None
    hd95_mm: float | None
    volume_true_ml: float | None
    volume_predicted_ml: float | None
    fat_fraction_true_mask: float | None
    fat_fraction_predicted_mask: float | None
    tp: int
    fp: int
    fn: int

    def __post_init__(self) -> None:
        if self.region not in tuple(Region):
            raise ValueError(f"region {self.region!r} is none")
        if self.dice is not None and not 0 <= self.dice <= 1:
            raise ValueError(f"Dice {self.dice} lies outside 0 to 1")

    @property
    def fat_fraction_bias(self) -> float | None:
        """Fat fraction in the predicted mask minus that in the true mask, percentage points."""
        return _difference(self.fat_fraction_predicted_mask, self.fat_fraction_true_mask)

    @property
    def volume_bias_ml(self) -> float | None:
        """Volume of the predicted mask minus that of the true mask."""
        return _difference(self.volume_predicted_ml, self.volume_true_ml)


CASE_COLUMNS = tuple(field.name for field in fields(Case))


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of a run's learning curves; None where nothing was measured."""

    epoch: int
    train_loss: float | None
    val_loss: float | None
    val_dice: float | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One network of the nested cross-validation.

    Attributes:
        outer: Outer fold.
        inner: Inner fold.
        folder: Where its files lie, or would lie.
        status: What became of it.
        error: Why it failed, or None.
        best_epoch: Epoch of the tested checkpoint, or None where the run is not finished.
        epochs: Learning curves; also of an unfinished run.
        cases: Scores on the test fold D2; empty where the run is not finished.
    """

    outer: int
    inner: int
    folder: RunFolder
    status: RunStatus
    error: str | None
    best_epoch: int | None
    epochs: tuple[Epoch, ...]
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        """The name of the run, as its folder has it."""
        return self.folder.name


@dataclass(frozen=True, kw_only=True)
class Study:
    """A nested cross-validation of one configuration.

    Attributes:
        folder: The study folder.
        config: The composed configuration, without the folds of a run.
        subjects: Everybody in the folds, tested yet or not.
        runs: Every run that the folds ask for, by outer and inner fold.
    """

    folder: StudyFolder
    config: Mapping[str, Any]
    subjects: tuple[str, ...]
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The name of the study, as its folder has it."""
        return self.folder.path.resolve().name

    @property
    def outer_folds(self) -> int:
        """Number of outer folds."""
        return 1 + max(run.outer for run in self.runs)

    @property
    def inner_folds(self) -> int:
        """Number of inner folds in each outer fold."""
        return 1 + max(run.inner for run in self.runs)

    @property
    def table(self) -> Path | None:
        """The cohort table that the user gave, or None where the project made a phantom."""
        path = (self.config.get("cohort") or {}).get("path")
        return Path(path) if path else None

    @property
    def phantom(self) -> bool:
        """Whether the scans are simulated: made for this study, or a table with ``phantom.json`` beside it."""
        return self.table is None or (self.table.parent / "phantom.json").is_file()

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The cases of all finished runs, in the order of the runs."""
        return tuple(case for run in self.runs for case in run.cases)

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that were tested, sorted."""
        return tuple(sorted({case.region for case in self.cases}))

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that were tested, sorted; the empty string stands for cases without one."""
        return tuple(sorted({case.group for case in self.cases}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that were tested, in the order in which they were written."""
        return tuple(dict.fromkeys(case.label for case in self.cases))

    @property
    def many_labels(self) -> bool:
        """Whether there are more labels than a chart of regions can take."""
        return len(self.labels) > _MOST_LABELS_TOGETHER

    def with_status(self, status: RunStatus) -> tuple[Run, ...]:
        """Give the runs of one status."""
        return tuple(run for run in self.runs if run.status is status)


def read_study(path: Path) -> Study:
    """Read a study folder; runs that have not finished are listed as such, with no cases.

    Raises:
        InputError: The folder is no study, or one of its files cannot be understood.
    """
    folder = StudyFolder(path)
    settings, folds_file = folder.settings, folder.folds
    if not is_file(settings) or not is_file(folds_file):
        lacking = folds_file if is_file(settings) else settings
        raise InputError(
            f"{path}: not a study (no {lacking.name}); give a folder that train.py wrote, such as runs/STUDY"
        )
    config = read_yaml(settings, remedy=_REMEDY)
    if not isinstance(config, dict) or not all(isinstance(key, str) for key in config):
        raise InputError(f"{settings}: holds no settings; run train.py for this study again")
    cohort = config.get("cohort") or {}
    if not isinstance(cohort, dict) or not isinstance(cohort.get("path"), str | None):
        raise InputError(f"{settings}: cohort {cohort!r} is no cohort; run train.py for this study again")
    folds = NestedFolds.load(folds_file)
    runs = tuple(
        _read_run(folder.run(outer, inner), outer, inner)
        for outer, inner_folds in enumerate(folds.inner)
        for inner in range(len(inner_folds))
    )
    return Study(folder=folder, config=config, subjects=folds.subjects, runs=runs)


def _read_run(folder: RunFolder, outer: int, inner: int) -> Run:
    status, error, best_epoch = RunStatus.MISSING, None, None
    cases: tuple[Case, ...] = ()
    if folder.is_finished:
        status, cases = RunStatus.FINISHED, _read_rows(folder.cases, Case)
        best_epoch = _read_best_epoch(folder.done)
        for case in cases:
            if (case.outer, case.inner) != (outer, inner):
                raise InputError(f"{folder.cases}: holds cases of run {case.outer}-{case.inner}; {_REMEDY}")
    elif is_file(folder.failed):
        failed = read_json(folder.failed, remedy=_REMEDY)
        status, error = RunStatus.FAILED, str(failed.get("error", "")) if isinstance(failed, dict) else ""
    curves = folder.metrics
    epochs = _read_rows(curves, Epoch, number=_point_of_curve) if is_file(curves) else ()
    return Run(
        outer=outer,
        inner=inner,
        folder=folder,
        status=status,
        error=error,
        best_epoch=best_epoch,
        epochs=epochs,
        cases=cases,
    )


def _read_best_epoch(path: Path) -> int | None:
    done = read_json(path, remedy=_REMEDY)
    best = done.get("best_epoch") if isinstance(done, dict) else None
    if best is not None and (not isinstance(best, int) or isinstance(best, bool) or not 0 <= best <= _LARGEST):
        raise InputError(f"{path}: best_epoch {best!r} is no epoch; {_REMEDY}")
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


def _name(text: str) -> str:
    if not all(character.isprintable() or character.isspace() for character in text) or len(text) > _LONGEST_NAME:
        raise ValueError(f"{text!r} is no name")
    return text


_READERS: Mapping[Any, Callable[[str], Any]] = {int: _count, str: _name}


_Row = TypeVar("_Row", Case, Epoch)


def _read_rows(path: Path, kind: type[_Row], *, number: Callable[[str], float | None] = _measure) -> tuple[_Row, ...]:
    """Read a CSV table into objects whose field names are its columns; further columns are ignored."""
    readers = {**_READERS, float | None: number}
    columns = {field.name: readers[field.type] for field in fields(kind)}
    try:
        rows = csv.DictReader(io.StringIO(read_text(path, remedy=_REMEDY), newline=""), strict=True)
        return tuple(kind(**{name: read(_cell(row, name)) for name, read in columns.items()}) for row in rows)
    except KeyError as error:
        raise InputError(f"{path}: no column {error}; {_REMEDY}") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {_REMEDY}") from error


def _difference(predicted: float | None, true: float | None) -> float | None:
    return None if predicted is None or true is None else predicted - true
