"""What the benchmark asks of a worker, and what the worker tells."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

CONF = Path(__file__).parents[2] / "conf"


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
        epochs: Passes over D3.
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


def skip(folder: Path, error: Exception) -> None:
    """Say why a peer cannot run here."""
    reason = " ".join(str(error).split()) or type(error).__name__
    (folder / "result.json").write_text(json.dumps({"skipped": reason}))
