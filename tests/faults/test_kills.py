"""A sweep that is killed again and again, wherever it is, and ends as if it had never been."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ..shared.waiting import LONGEST_SECONDS
from .conftest import EPOCHS, SWEEP

pytestmark = pytest.mark.faults

SEED = 7
JOBLIB = (*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
TWO_DEVICES = ("-m", "outer=0", "inner=0..1", *SWEEP[3:], "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
_LOOK_EVERY_SECONDS = 0.0005

Look = Callable[[Path, float], bool]


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        name: What the sweep is at.
        begun: Tells of the sweep's folder, and when the command was started, whether it is at it.
        seconds: The kill comes at a random time from then on, this late at most.
        writes: What is in the making then: the command kills itself, since a look from outside may come too late.
    """

    name: str
    begun: Look = lambda *_: False
    seconds: float = 0.0
    writes: str = ""


def found(pattern: str) -> Look:
    """A file of the pattern is there."""
    return lambda folder, _: next(folder.glob(pattern), None) is not None


def written(pattern: str, *, without: str = "done.json", last: bool | None = None) -> Look:
    """The command wrote a file of the pattern, whose folder does not hold another; after its last epoch or before."""

    def look(folder: Path, started: float) -> bool:
        for path in folder.glob(pattern):
            if (path.parent / without).exists() or path.stat().st_mtime < started:
                continue
            metrics = path.parent / "metrics.csv"
            ended = metrics.is_file() and metrics.read_bytes().count(b"\n") == EPOCHS + 1
            if last is None or ended == last:
                return True
        return False

    return look


RUN = "runs/[!.]*/outer*"
AT_ANY_TIME = "at any time from the start"
# These come no later than a first checkpoint, so that no machine gets far in a run before the kills there begin.
BEFORE = [
    *[Moment("making the phantom", found("data/.phantom-*.draft/sub-*"), 2.0)] * 3,
    *[Moment("writing the folds", found("runs/[!.]*/.folds.json.*.draft"))] * 3,
    *[Moment("building the cache", found("data/cache/.*.draft/images.npy"), 0.05)] * 6,
    *[Moment(AT_ANY_TIME, lambda *_: True, 6.0)] * 8,
]
TRAINS = written(f"{RUN}/checkpoints/last.ckpt")
EPOCH = Moment("an epoch", written(f"{RUN}/metrics.csv", last=False), 0.1)
METRICS = Moment("writing metrics.csv", writes=r"/\.metrics\.csv\.\w+\.draft/")
CHECKPOINT = Moment("writing a checkpoint", writes=r"/checkpoints/\..+\.draft/")
TESTING = Moment("testing", written(f"{RUN}/config.yaml", last=True), 0.1)
CASES = Moment("writing test scores", writes=r"/\.(cases|overlays)\..+\.draft/")
DONE = Moment("writing done.json", writes=r"/\.done\.json\.\w+\.draft/")
STARTING = Moment("starting a run", written(f"{RUN}/config.yaml", without="metrics.csv"), 2.0)
REPORT = Moment("the report", written("runs/[!.]*/report/nested_cv.csv"), 0.5)


Strike = Callable[[Path, tuple[str, ...], Moment, random.Random], str | None]


def plan(rng: random.Random) -> Iterator[Moment]:
    """Give the moments in an order in which the sweep comes to them."""
    yield from BEFORE
    for _ in range(4):
        begun = [EPOCH, EPOCH, CHECKPOINT, CHECKPOINT, CHECKPOINT, METRICS]
        rng.shuffle(begun)
        yield from (*begun, CASES, DONE, TESTING)  # the last one may come when a fast machine has ended the run
    yield from [REPORT] * 8


KILLS_ITSELF = """
import os, re, signal

found, sync = [], os.fsync

def fsync(descriptor):
    if re.search(os.environ["MUSCLESENSE_FAULT"], os.readlink(f"/proc/self/fd/{descriptor}")):
        found.append(descriptor)
        if len(found) == int(os.environ["MUSCLESENSE_FAULT_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)

if os.environ.get("MUSCLESENSE_FAULT"):
    os.fsync = fsync
"""


@pytest.fixture
def strike(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, start: Any) -> Strike:
    """Start a command that is killed at a moment; gives the moment's name, or None where it ended before."""
    own = tmp_path_factory.mktemp("python")
    (own / "sitecustomize.py").write_text(KILLS_ITSELF)
    monkeypatch.setenv("PYTHONPATH", str(own), prepend=os.pathsep)

    def begin(folder: Path, command: tuple[str, ...], moment: Moment, rng: random.Random) -> str | None:
        monkeypatch.setenv("MUSCLESENSE_FAULT", moment.writes)
        monkeypatch.setenv("MUSCLESENSE_FAULT_AT", str(rng.randint(1, 3) if moment is CHECKPOINT else 1))
        process = start(folder, *command)
        if moment.writes:
            process.communicate()
            name = moment.name if process.returncode == -signal.SIGKILL else None
        else:
            name = kill(process, folder, moment, rng.uniform(0, moment.seconds))
        process.stdout.close()
        process.stderr.close()
        return name

    return begin


def kill(process: "subprocess.Popen[str]", folder: Path, moment: Moment, delay: float) -> str | None:
    """Kill the command at a moment, or as soon as it is past it; give the moment's name, or None where it ended."""
    started, until = time.time(), time.monotonic() + LONGEST_SECONDS
    early = moment in BEFORE
    while process.poll() is None:
        assert time.monotonic() < until, moment.name
        if moment.begun(folder, started):
            due = time.monotonic() + delay
            while time.monotonic() < due and not (early and TRAINS(folder, started)):
                time.sleep(_LOOK_EVERY_SECONDS)
            name = moment.name
        elif early and TRAINS(folder, started):  # the moment was missed
            name = AT_ANY_TIME
        else:
            time.sleep(_LOOK_EVERY_SECONDS)
            continue
        if process.poll() is None:
            process.kill()
            process.wait()
            return name
    return None


def test_a_sweep_killed_fifty_times_ends_as_if_it_had_never_been(
    tmp_path: Path, undisturbed: Any, sweep: Any, at: Any, strike: Strike, train: Any, row: Any, left: Any
) -> None:
    rng, kills, halves = random.Random(SEED), Counter[str](), Counter[str]()
    for moment in plan(rng):
        name = strike(tmp_path, sweep, moment, rng)
        if name is not None:
            kills[name] += 1
            halves[name] += bool(list(tmp_path.rglob(".*.draft")))
            print(f"kill {kills.total():2}: {name}", flush=True)
    done = train(tmp_path, *sweep)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    at(tmp_path).require_equal(undisturbed)
    orphans = left()
    for name, times in kills.items():
        row(f"killed: {name}", f"{times}", f"{halves[name]} left a draft; went on")
    row("all kills", f"{kills.total()}", f"0 runs lost, 0 doubled; tables identical; {orphans} processes left")
    assert orphans == 0
    assert kills.total() >= 50
    assert len(kills) >= 10


def kill_parents(folder: Path, command: tuple[str, ...], moments: list[Moment], strike: Strike, left: Any) -> None:
    """Kill the process that started others at each of these moments; none of them may go on without it."""
    rng = random.Random(SEED)
    for moment in moments:
        assert strike(folder, command, moment, rng) == moment.name
        assert left() == 0, moment.name


def test_a_sweep_side_by_side_ends_with_its_parent_and_goes_on(
    tmp_path: Path, undisturbed: Any, at: Any, strike: Strike, train: Any, row: Any, left: Any
) -> None:
    kill_parents(tmp_path, JOBLIB, moments := [STARTING, EPOCH, EPOCH, EPOCH], strike, left)
    done = train(tmp_path, *JOBLIB)
    assert done.returncode == 0, done.stderr
    at(tmp_path).require_equal(undisturbed)
    assert left() == 0
    row("killed: joblib's parent", f"{len(moments)}", "workers ended; went on; tables identical; 0 processes left")


def test_a_run_on_two_devices_ends_with_its_parent_and_goes_on(
    tmp_path: Path, at: Any, strike: Strike, train: Any, row: Any, left: Any
) -> None:
    apart, struck = tmp_path / "undisturbed", tmp_path / "struck"
    apart.mkdir()
    struck.mkdir()
    kill_parents(struck, TWO_DEVICES, moments := [STARTING, EPOCH, EPOCH], strike, left)
    for folder in (struck, apart):
        done = train(folder, *TWO_DEVICES)
        assert done.returncode == 0, done.stderr
    at(struck).require_equal(at(apart))
    assert left() == 0
    row("killed: parent of two devices", f"{len(moments)}", "both ended; went on; tables identical; 0 processes left")
