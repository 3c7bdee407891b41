"""A study in memory: what `musclesense.studies.reading` reads from a folder and `.writing` writes into one."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musclesense.metrics.case import Case
from musclesense.studies.layout import RunFolder, StudyFolder

if TYPE_CHECKING:
    from pandas import DataFrame

FORMAT = 2
"""Of the records of studies and runs. A record without a number is of format 1."""

_MOST_LABELS_TOGETHER = 6


class RunStatus(StrEnum):
    """What became of a run."""

    FINISHED = "finished"
    FAILED = "failed"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of a run's learning curves; None where nothing was measured."""

    epoch: int  # the first is 0
    train_loss: float | None  # mean over the training cases
    val_loss: float | None  # mean over the validation cases
    val_dice: float | None  # mean Dice over the validation cases
    learning_rate: float | None = None  # of the epoch's last step
    seconds: float | None = None  # what training took up to the end of the epoch, interruptions not counted


@dataclass(frozen=True, kw_only=True)
class Run:
    """One network of the nested cross-validation."""

    outer: int
    inner: int
    folder: RunFolder  # where its files lie, or would lie
    status: RunStatus = RunStatus.MISSING  # what became of it
    error: str | None = None  # why it failed, or None
    best_epoch: int | None = None  # epoch of the tested checkpoint, or None where the run is not finished
    epochs: tuple[Epoch, ...] = ()  # learning curves; also of an unfinished run
    cases: tuple[Case, ...] = ()  # scores of the test cases; empty where the run is not finished
    unknown: frozenset[str] = frozenset()  # columns of scores that the run was made without

    @property
    def name(self) -> str:
        """The name of the run, as its folder has it."""
        return self.folder.name


@dataclass(frozen=True, kw_only=True)
class Study:
    """A nested cross-validation of one configuration."""

    folder: StudyFolder
    config: Mapping[str, Any]  # the composed configuration in today's words, without the folds of a run
    subjects: tuple[str, ...]  # everybody in the folds, tested yet or not
    runs: tuple[Run, ...]  # every run that the folds ask for, by outer and inner fold

    @property
    def name(self) -> str:
        """The name of the study, as its folder has it."""
        return self.folder.path.resolve().name

    @property
    def title(self) -> str:
        """What to call the study on its page: the name that a person gave, or the words of a name by its settings."""
        made = re.fullmatch(r"(.+)-([^-]+)-([^-]+)-[0-9a-f]{8}", self.name)
        return f"{made[1]}, {made[2].replace('_', ' ')}, {made[3].replace('+', ' + ')}" if made else self.name

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

    @cached_property
    def frame(self) -> "DataFrame":
        """The cases of all finished runs as a pandas table: a row for each case, with the fields of `Case`."""
        from pandas import DataFrame  # takes long to import

        return DataFrame(map(asdict, self.cases), columns=[field.name for field in fields(Case)])

    @cached_property
    def curves(self) -> "DataFrame":
        """The learning curves of all runs as a pandas table: a row for each epoch, with the fields of `Epoch`."""
        from pandas import DataFrame

        return DataFrame(
            {"outer": run.outer, "inner": run.inner} | asdict(epoch) for run in self.runs for epoch in run.epochs
        )

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

    @property
    def unknown(self) -> dict[str, int]:
        """Columns of scores that finished runs were made without, and how many of these runs there are."""
        lacking = [name for run in self.with_status(RunStatus.FINISHED) for name in sorted(run.unknown)]
        return {name: lacking.count(name) for name in dict.fromkeys(lacking)}

    def with_status(self, status: RunStatus) -> tuple[Run, ...]:
        """Give the runs of one status."""
        return tuple(run for run in self.runs if run.status is status)
