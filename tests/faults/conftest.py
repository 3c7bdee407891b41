"""A small sweep that nothing disturbs, which those that faults strike must equal; the table of all faults."""

import csv
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..shared.waiting import LONGEST_SECONDS

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Row = Callable[[str, str, str], None]

EPOCHS = 20
SWEEP = ("-m", "outer=0..1", "inner=0..1", "experiment=smoke", f"trainer.max_epochs={EPOCHS}")
RUNS = [f"outer{outer}_inner{inner}" for outer in (0, 1) for inner in (0, 1)]
_TABLES = ("nested_cv.csv", "summary.csv", "cases.csv")
_HEADER = ("fault", "times", "what became of it")

_rows: list[tuple[str, str, str]] = []


@pytest.fixture(scope="session")
def row() -> Row:
    """Add a row to the table: the fault, how often it struck, what became of it."""
    return lambda *cells: _rows.append(cells)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if _rows:
        table = [_HEADER, *_rows]
        widths = [max(len(cells[column]) for cells in table) for column in range(len(_HEADER))]
        lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)) + " |" for cells in table]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        terminalreporter.write_sep("=", "faults")
        terminalreporter.write_line("\n".join(lines))


@dataclass(frozen=True)
class Sweep:
    """What a sweep left in a folder.

    Attributes:
        folder: Where it was started.
    """

    folder: Path

    @property
    def study(self) -> Path:
        """The one study."""
        (study,) = (path for path in (self.folder / "runs").iterdir() if not path.name.startswith("."))
        return study

    @property
    def runs(self) -> list[str]:
        """Those that are finished."""
        return sorted(done.parent.name for done in self.study.glob("*/done.json"))

    def files(self) -> set[str]:
        """All files but for wandb's; digests of times and places in their names are left out."""
        found = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return {re.sub(r"\b[0-9a-f]{16}\b", "*", str(path)) for path in found if "wandb" not in str(path)}

    def epochs(self, run: str) -> list[dict[str, str]]:
        """The record of a run's epochs, but for the time they took."""
        return [
            {name: value for name, value in row.items() if name != "seconds"} for row in self._rows(run, "metrics.csv")
        ]

    def _rows(self, run: str, name: str) -> list[dict[str, str]]:
        with (self.study / run / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def lend_phantom(self, folder: Path) -> None:
        """Let another sweep have the phantom, with its times, and no slices."""
        shutil.copytree(
            self.folder / "data",
            folder / "data",
            copy_function=shutil.copy2,
            ignore=shutil.ignore_patterns("cache"),
        )

    def require_equal(self, expected: "Sweep") -> None:
        """Every run once and whole, all tables the same to the byte, and nothing left lying about."""
        assert self.runs == expected.runs
        assert not list(self.study.glob("*/failed.json"))
        for run in self.runs:
            assert [row["epoch"] for row in self._rows(run, "metrics.csv")] == [*map(str, range(EPOCHS))]
            assert self.epochs(run) == expected.epochs(run)
            cases = [(row["line"], row["slice"], row["label"]) for row in self._rows(run, "cases.csv")]
            assert len(cases) == len(set(cases)) > 0
            assert (self.study / run / "cases.csv").read_bytes() == (expected.study / run / "cases.csv").read_bytes()
        for name in _TABLES:
            assert (self.study / "report" / name).read_bytes() == (expected.study / "report" / name).read_bytes()
        assert self.files() == expected.files()


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the processes left of what the test started, of which those may end that do so by themselves."""
    mark = f"MUSCLESENSE_FAULTS={tmp_path}"
    monkeypatch.setenv(*mark.split("="))

    def count() -> int:
        until = time.monotonic() + LONGEST_SECONDS
        while (orphans := len(_processes(mark))) and time.monotonic() < until:
            time.sleep(0.1)
        return orphans

    return count


def _processes(mark: str) -> set[int]:
    """The processes that have a mark in their environment."""
    marked = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # ended, or somebody else's
            if mark.encode() in environment.read_bytes():
                marked.add(int(environment.parent.name))
    return marked


@pytest.fixture(scope="session")
def sweep() -> tuple[str, ...]:
    """The arguments of the sweep."""
    return SWEEP


@pytest.fixture(scope="session")
def at() -> type[Sweep]:
    """Look at what a sweep left in a folder."""
    return Sweep


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, train: Command) -> Iterator[Sweep]:
    """The sweep that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = train(folder, *SWEEP)
    assert done.returncode == 0, done.stderr
    assert Sweep(folder).runs == RUNS
    yield Sweep(folder)
