"""What the benchmark asks of a worker, and what the worker tells."""

import json
import os
import statistics
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from benchmarks.speed.baselines.process_tree import cpu_seconds

CONF = Path(__file__).parents[3] / "conf"
PILOT_EPOCHS = 2


@dataclass(frozen=True, kw_only=True)
class Task:
    """One training and prediction.

    Attributes:
        dataset: Raw data set of nnU-Net whose test scans are segmented.
        table: The cohort.
        outer: Outer fold.
        inner: Inner fold.
        seconds: Of training.
        threads: Of the network.
        overrides: Of our configuration.
    """

    dataset: str
    table: str
    outer: int
    inner: int
    seconds: float
    threads: int
    overrides: tuple[str, ...]

    def save(self, folder: Path) -> None:
        """Write it where the worker looks for it."""
        (folder / "task.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what shall be done."""
        return cls(**json.loads((folder / "task.json").read_text()))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a worker tells.

    Attributes:
        prepare_s: Seconds before training: preprocessing, planning.
        train_s: Seconds of training from the first epoch to the last, validation among it; the pilot is not.
        epochs: Passes over the training set.
        seconds_an_epoch: Median of the epochs, validation among it.
        train_cpu_s: CPU seconds of training.
        ms_a_slice: Milliseconds from the files of a slice to its mask file, the network loaded before.
        parameters: Of the network.
    """

    prepare_s: float
    train_s: float
    epochs: int
    seconds_an_epoch: float
    train_cpu_s: float
    ms_a_slice: float
    parameters: int

    def save(self, folder: Path) -> None:
        """Write it where the benchmark looks for it."""
        (folder / "result.json").write_text(json.dumps(asdict(self)))


class Worker(ABC):
    """What is trained and predicts, one after the other."""

    @abstractmethod
    def prepare(self) -> None:
        """Do all that comes before training."""

    @abstractmethod
    def train(self, name: str, epochs: int) -> list[float]:
        """Train for so many epochs, from the beginning; give the seconds of each, validation among it."""

    @abstractmethod
    def predict(self, masks: Path) -> float:
        """Segment the test scans by what was trained last, one after the other; give the mean seconds of a slice."""

    @abstractmethod
    def parameters(self) -> int:
        """Count those of the network."""


def measure(worker: Worker, task: Task, folder: Path) -> None:
    """Prepare, see by a pilot how many epochs fit in the time, train them, predict, and tell."""
    started = time.monotonic()
    worker.prepare()
    prepared = time.monotonic() - started
    pilot = worker.train("pilot", PILOT_EPOCHS)
    epochs = max(2, int(task.seconds / statistics.median(pilot[1:])))
    used = cpu_seconds(os.getpid())
    seconds = worker.train("whole", epochs)
    used = cpu_seconds(os.getpid()) - used
    Result(
        prepare_s=prepared,
        train_s=sum(seconds),
        epochs=len(seconds),
        seconds_an_epoch=statistics.median(seconds[1:]),
        train_cpu_s=used,
        ms_a_slice=1000 * worker.predict(folder / "masks"),
        parameters=worker.parameters(),
    ).save(folder)


def skip(folder: Path, error: Exception) -> None:
    """Say why a baseline cannot run here."""
    reason = " ".join(str(error).split()) or type(error).__name__
    (folder / "result.json").write_text(json.dumps({"skipped": reason}))
