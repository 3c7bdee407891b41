"""Every file of a study, of a run and of a report by its name: nowhere else does one stand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from musclesense.storage.paths import is_file

FOLDS = "folds.json"
"""Nested folds; beside a study an export for nnU-Net has them, too."""
REVIEW = "review.json"
"""What people said of masks on the page of `musclesense review`; beside a study, results of segment have it, too."""


class _File:
    """A file of a folder, as an attribute that gives its path."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, folder: "_Folder", kind: type | None = None) -> Path:
        return folder.path / self._name


@dataclass(frozen=True)
class _Folder:
    path: Path
    """The folder."""


class CheckpointFolder(_Folder):
    """The weights of a run."""

    best = _File("best.ckpt")
    """Weights of the epoch best on the validation cases: what is tested, and what segments."""
    last = _File("last.ckpt")
    """All that training needs to go on from the last epoch."""
    previous = _File("previous.ckpt")
    """What was the last epoch before."""

    def epoch(self, number: int) -> Path:
        """Weights of one epoch, where every so many are kept."""
        return self.path / f"epoch-{number:04}.ckpt"

    def epochs(self) -> dict[int, Path]:
        """Find the epochs that are kept, in their order."""
        found = ((re.fullmatch(r"epoch-(\d{4,})\.ckpt", path.name), path) for path in self.path.glob("epoch-*.ckpt"))
        return dict(sorted((int(match[1]), path) for match, path in found if match))


class RunFolder(_Folder):
    """One run: one outer and one inner fold.

    Examples:
        >>> RunFolder(Path("runs/mine/outer0_inner2")).cases.as_posix()
        'runs/mine/outer0_inner2/cases.csv'
    """

    config = _File("config.yaml")
    """Its whole configuration."""
    done = _File("done.json")
    """Written last: the scores, and what they were reached with."""
    validated = _File("validated.json")
    """Written last where a search trained it, which tests nothing: the best DSC on validation cases."""
    failed = _File("failed.json")
    """Why there is no result, in a line."""
    error = _File("error.txt")
    """Why there is no result, in full."""
    metrics = _File("metrics.csv")
    """Learning curves, a row an epoch."""
    cases = _File("cases.csv")
    """Scores, a row for each test case and label."""
    overlays = _File("overlays.npz")
    """Image, truth and prediction of each test case."""
    wandb_id = _File("wandb_id")
    """Which run of wandb shows it."""
    slurm_id = _File("slurm_id")
    """Which job of Slurm trains it."""
    slurm_log = _File("slurm.log")
    """A link to that job's log."""

    @classmethod
    def of(cls, checkpoint: Path) -> Self | None:
        """Give the run that trained a checkpoint by where it lies; None where that is in no run's folder of weights.

        >>> RunFolder.of(Path("/runs/mine/outer0_inner2/checkpoints/best.ckpt")).name
        'outer0_inner2'
        """
        run = cls(checkpoint.absolute().parent.parent)
        return run if run.folds and run.checkpoints.path == checkpoint.absolute().parent else None

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The weights."""
        return CheckpointFolder(self.path / "checkpoints")

    @property
    def name(self) -> str:
        """Name of the run, after its folds."""
        return self.path.name

    @property
    def folds(self) -> tuple[int, int] | None:
        """Outer and inner fold by the name; None where it is no name of a run."""
        found = re.fullmatch(r"outer(\d{1,9})_inner(\d{1,9})", self.path.resolve().name)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def results(self) -> tuple[Path, ...]:
        """The files of a finished run that somebody reads."""
        return (self.checkpoints.best, self.metrics, self.cases, self.overlays)

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return is_file(self.done)

    @property
    def has_ended(self) -> bool:
        """Whether it has ended, well or not."""
        return self.is_finished or is_file(self.failed)


class ReportFolder(_Folder):
    """The report of a study."""

    page = _File("index.html")
    """All of it on one page."""
    nested_cv = _File("nested_cv.csv")
    """Scores, a row for each run, region and label."""
    summary = _File("summary.csv")
    """Scores, a row for each region, group and label."""
    cases = _File("cases.csv")
    """Scores, a row for each test case and label of every run."""
    statistics = _File("statistics.csv")
    """Each measure over acquisitions: a row for each region, part of it and measure."""
    agreement = _File("agreement.csv")
    """What is read in predicted and in true masks: a row for each region, part of it and measure."""
    wandb_id = _File("wandb_id")
    """Which run of wandb shows it."""
    volumes = _File("volumes")
    """A folder: the scans as the page shows them in a viewer, where it was asked to."""
    dashboard = _File("dashboard.py")
    """A script that makes a view of the study in wandb."""

    def figure(self, name: str) -> Path:
        """Give the file of a chart or a picture."""
        return self.path / "figures" / f"{name}.png"


class StudyFolder(_Folder):
    """One study: all runs of one configuration.

    Examples:
        >>> StudyFolder(Path("runs/mine")).run(0, 2).path.as_posix()
        'runs/mine/outer0_inner2'
    """

    settings = _File("study.yaml")
    """The configuration of all its runs."""
    folds = _File(FOLDS)
    """Who is trained, validated and tested on by which run."""
    cohort = _File("cohort.json")
    """What it is made from: rows of the table, and a digest of each image."""
    threads = _File("threads.json")
    """On how many threads its runs train on a CPU."""
    review = _File(REVIEW)
    """What people said of its cases."""
    command = _File("command.txt")
    """The command that trained it."""

    @property
    def report(self) -> ReportFolder:
        """Its report."""
        return ReportFolder(self.path / "report")

    def run(self, outer: int, inner: int) -> RunFolder:
        """Give the folder of a run, there or not."""
        return RunFolder(self.path / f"outer{outer}_inner{inner}")

    def finished_runs(self) -> Iterator[RunFolder]:
        """Find the runs that are finished, by name."""
        return (run for run in self.begun_runs() if run.is_finished)

    def begun_runs(self) -> Iterator[RunFolder]:
        """Find the runs that have begun, by name; a copy under another name is none."""
        runs = map(RunFolder, sorted(self.path.glob("outer*_inner*")))
        return (run for run in runs if run.folds and run.path == self.run(*run.folds).path)


class SearchFolder(_Folder):
    """A search for the best settings: each trial is a folder of runs that are not tested."""

    asked = _File("search.json")
    """What is searched."""
    journal = _File("journal.log")
    """Optuna's record of all trials: what a search goes on from."""
    trials = _File("trials.csv")
    """Each trial with its settings and its validation scores."""

    def trial(self, number: int) -> StudyFolder:
        """Give the folder of a trial's runs."""
        return StudyFolder(self.path / f"trial{number:04}")
