"""Every file of a study, of a run and of a report by its name: nowhere else does one stand."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from musclesense.storage.paths import is_file

FOLDS = "folds.json"
"""Nested folds; beside a study an export for nnU-Net has them, too."""


@dataclass(frozen=True)
class CheckpointFolder:
    """The weights of a run.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def best(self) -> Path:
        """Weights of the epoch best on the validation cases: what is tested, and what segments."""
        return self.path / "best.ckpt"

    @property
    def last(self) -> Path:
        """All that training needs to go on from the last epoch."""
        return self.path / "last.ckpt"

    @property
    def previous(self) -> Path:
        """What was the last epoch before."""
        return self.path / "previous.ckpt"

    def epoch(self, number: int) -> Path:
        """Weights of one epoch, where every so many are kept."""
        return self.path / f"epoch-{number:04}.ckpt"

    def epochs(self) -> dict[int, Path]:
        """Find the epochs that are kept, in their order."""
        found = ((re.fullmatch(r"epoch-(\d{4,})\.ckpt", path.name), path) for path in self.path.glob("epoch-*.ckpt"))
        return dict(sorted((int(match[1]), path) for match, path in found if match))


@dataclass(frozen=True)
class RunFolder:
    """One run: one outer and one inner fold.

    Attributes:
        path: The folder.

    Examples:
        >>> RunFolder(Path("runs/mine/outer0_inner2")).cases.as_posix()
        'runs/mine/outer0_inner2/cases.csv'
    """

    path: Path

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
    def config(self) -> Path:
        """Its whole configuration."""
        return self.path / "config.yaml"

    @property
    def done(self) -> Path:
        """Written last: the scores, and what they were reached with."""
        return self.path / "done.json"

    @property
    def failed(self) -> Path:
        """Why there is no result, in a line."""
        return self.path / "failed.json"

    @property
    def error(self) -> Path:
        """Why there is no result, in full."""
        return self.path / "error.txt"

    @property
    def metrics(self) -> Path:
        """Learning curves, a row an epoch."""
        return self.path / "metrics.csv"

    @property
    def cases(self) -> Path:
        """Scores, a row for each test case and label."""
        return self.path / "cases.csv"

    @property
    def overlays(self) -> Path:
        """Image, truth and prediction of each test case."""
        return self.path / "overlays.npz"

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The weights."""
        return CheckpointFolder(self.path / "checkpoints")

    @property
    def wandb_id(self) -> Path:
        """Which run of wandb shows it."""
        return self.path / "wandb_id"

    @property
    def slurm_id(self) -> Path:
        """Which job of Slurm trains it."""
        return self.path / "slurm_id"

    @property
    def slurm_log(self) -> Path:
        """A link to that job's log."""
        return self.path / "slurm.log"

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return is_file(self.done)


@dataclass(frozen=True)
class ReportFolder:
    """The report of a study.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def page(self) -> Path:
        """All of it on one page."""
        return self.path / "index.html"

    @property
    def nested_cv(self) -> Path:
        """Scores, a row for each run, region and label."""
        return self.path / "nested_cv.csv"

    @property
    def summary(self) -> Path:
        """Scores, a row for each region, group and label."""
        return self.path / "summary.csv"

    @property
    def cases(self) -> Path:
        """Scores, a row for each test case and label of every run."""
        return self.path / "cases.csv"

    def figure(self, name: str) -> Path:
        """Give the file of a chart or a picture."""
        return self.path / "figures" / f"{name}.png"


@dataclass(frozen=True)
class StudyFolder:
    """One study: all runs of one configuration.

    Attributes:
        path: The folder.

    Examples:
        >>> StudyFolder(Path("runs/mine")).run(0, 2).path.as_posix()
        'runs/mine/outer0_inner2'
    """

    path: Path

    @property
    def settings(self) -> Path:
        """The configuration of all its runs."""
        return self.path / "study.yaml"

    @property
    def folds(self) -> Path:
        """Who is trained, validated and tested on by which run."""
        return self.path / FOLDS

    @property
    def command(self) -> Path:
        """The command that trained it."""
        return self.path / "command.txt"

    @property
    def report(self) -> ReportFolder:
        """Its report."""
        return ReportFolder(self.path / "report")

    def run(self, outer: int, inner: int) -> RunFolder:
        """Give the folder of a run, there or not."""
        return RunFolder(self.path / f"outer{outer}_inner{inner}")

    def finished_runs(self) -> Iterator[RunFolder]:
        """Find the runs that are finished, by name."""
        return (run for run in map(RunFolder, sorted(self.path.iterdir())) if run.is_finished)
