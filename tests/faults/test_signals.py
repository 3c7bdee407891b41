"""Commands that are told to end at random moments, by several signals, once or twice; a worker that is killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from musclesense.endings import GO_ON

from ..shared.waiting import wait_until
from .conftest import EPOCHS, SWEEP

pytestmark = pytest.mark.faults

SEED = 11
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIDE_BY_SIDE = (*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
TIMES = 16


def listens(process: "subprocess.Popen[str]") -> bool:
    """Whether a command has begun and not ended: the interpreter around it is ended by a signal as any other."""
    with suppress(OSError):
        caught = re.search(r"SigCgt:\s+([0-9a-f]+)", Path(f"/proc/{process.pid}/status").read_text())
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def stop(process: "subprocess.Popen[str]", rng: random.Random, longest: float) -> tuple[int, str, int]:
    """End a command at a random moment; gives the signal, what it said on stderr, and its exit code."""
    number, times = rng.choice(SIGNALS), rng.choice((1, 1, 2))
    wait_until(partial(listens, process), process, every=0.001)
    time.sleep(rng.uniform(0, longest))
    for _ in range(times):
        if listens(process):
            process.send_signal(number)
    _, err = process.communicate()
    return number, err, process.returncode


def require_one_line(number: int, err: str, code: int) -> None:
    """Nothing but the line that tells of the end, beside what is said of the work."""
    assert code == 128 + number, err
    assert "Traceback" not in err and err.count("stopped by ") == 1, err
    assert err.splitlines()[-1].startswith("stopped by "), err


@pytest.mark.parametrize("words", [SWEEP, SIDE_BY_SIDE], ids=["serial", "joblib"])
def test_a_sweep_that_is_stopped_again_and_again_ends_as_if_it_had_never_been(
    tmp_path: Path, undisturbed: Any, at: Any, start: Any, train: Any, row: Any, words: tuple[str, ...]
) -> None:
    rng, stopped = random.Random(SEED), Counter[str]()
    for _ in range(TIMES):
        process = start(tmp_path, *words)
        number, err, code = stop(process, rng, 20)
        if code == 0:  # it had ended before
            break
        require_one_line(number, err, code)
        stopped[signal.Signals(number).name] += 1
    done = train(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    at(tmp_path).require_equal(undisturbed)
    assert stopped.total() > 2
    for name, times in stopped.items():
        row(f"{name}, once or twice: {words[-1]}", f"{times}", "one line, 128 + its number; tables identical")


def children(process: int) -> set[int]:
    """The processes that a process has started."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = re.search(r"PPid:\s+(\d+)", status.read_text())
        except OSError:
            continue  # ended
        if parent and int(parent[1]) == process:
            found.add(int(status.parent.name))
    return found


def workers(process: int) -> list[int]:
    """The processes of joblib's in which runs are trained."""
    commands = {child: Path(f"/proc/{child}/cmdline") for child in children(process)}
    return sorted(child for child, path in commands.items() if path.exists() and b"popen_loky" in path.read_bytes())


def any_worker(folder: Path, process: "subprocess.Popen[str]") -> bool:
    return bool(workers(process.pid))


def trains(folder: Path, process: "subprocess.Popen[str]") -> bool:
    return any((folder / "runs").glob("[!.]*/outer*/checkpoints/last.ckpt"))


@pytest.mark.parametrize("begun", [any_worker, trains])
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_runs_side_by_side_in_a_line(
    tmp_path: Path, undisturbed: Any, start: Any, left: Any, row: Any, begun: Callable[..., bool], times: int
) -> None:
    undisturbed.lend_phantom(tmp_path)
    process = start(tmp_path, *(word.replace(f"epochs={EPOCHS}", "epochs=1000") for word in SIDE_BY_SIDE))
    wait_until(partial(begun, tmp_path, process), process)
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate()
    require_one_line(signal.SIGINT, err, process.returncode)
    assert (out, err.splitlines()[-1]) == ("", f"stopped by Ctrl+C: {GO_ON}")
    assert left() == 0
    row(f"Ctrl+C to all processes: {begun.__name__}", f"{times}", "130, one line; 0 processes left")


def kill_a_worker(folder: Path, process: "subprocess.Popen[str]", others: set[int]) -> set[int]:
    """Kill a worker that is none of ``others``, in the middle of a training; gives all that there were."""
    checkpoints = "runs/[!.]*/outer*/checkpoints/last.ckpt"
    for earlier in folder.glob(checkpoints):
        os.utime(earlier, (0, 0))

    def trains_anew() -> bool:
        return any(path.stat().st_mtime > 0 for path in folder.glob(checkpoints))

    wait_until(lambda: trains_anew() and bool({*workers(process.pid)} - others), process)
    there = {*workers(process.pid)}
    os.kill(min(there - others), signal.SIGKILL)
    return there


@pytest.mark.parametrize("times", [1, 2])
def test_a_worker_that_the_system_kills_costs_the_sweep_no_other_run(
    tmp_path: Path, undisturbed: Any, at: Any, start: Any, train: Any, row: Any, times: int
) -> None:
    """Killed once, none; killed twice, those that were at work both times are named, and the others go on."""
    undisturbed.lend_phantom(tmp_path)
    process, there = start(tmp_path, *SIDE_BY_SIDE), set[int]()
    for _ in range(times):
        there |= kill_a_worker(tmp_path, process, there)
    _, err = process.communicate()
    said = [line for line in err.splitlines() if line.startswith("a process was killed, by the system")]
    assert "Traceback" not in err and len(said) == times, err
    assert re.search(r"tried once more: outer\d_inner\d", said[0])
    lost = sorted(failed.parent.name for failed in tmp_path.glob("runs/[!.]*/*/failed.json"))
    assert len(lost) <= 2 * (times - 1) and process.returncode == bool(lost), err
    assert sorted([*lost, *at(tmp_path).runs]) == undisturbed.runs, "each has an end"
    assert all(f"{name}  failed: its process was killed twice" in err for name in lost), err
    row("killed: one of joblib's workers", f"{times}", f"{len(lost)} runs lost and named; the others went on")
    if lost:
        assert train(tmp_path, *SIDE_BY_SIDE).returncode == 0
    at(tmp_path).require_equal(undisturbed)


def test_other_commands_that_are_stopped_leave_nothing(tmp_path: Path, undisturbed: Any, row: Any) -> None:
    scan = next((undisturbed.folder / "data" / "phantom-smoke-1").glob("sub-*/ses-*/*"))
    echoes = [
        word
        for name in ("te345", "te460", "te575")
        for word in (f"--{name}", *(str(scan / f"{name}_{kind}.nii.gz") for kind in ("magnitude", "phase")))
    ]
    table, model = str(scan.parents[2] / "cohort.csv"), str(undisturbed.study / "outer0_inner0")
    commands = {
        "phantom": ["phantom", "phantom"],
        "check": ["check", table],
        "separate": ["separate", *echoes, "--out", "out"],
        "segment": ["segment", *echoes, "--region", scan.name, "--model", model, "--out", "out"],
        "export-nnunet": ["export-nnunet", table, "Dataset001_A", "--channels", "fat"],
        "report": ["report", str(undisturbed.study)],
    }
    rng = random.Random(SEED)
    for verb, words in commands.items():
        times = 0
        for turn in range(6):
            folder = tmp_path / f"{verb}{turn}"
            folder.mkdir()
            command = [sys.executable, "-m", "musclesense", *words]
            process = subprocess.Popen(
                command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
            )
            number, err, code = stop(process, rng, 6)
            if code:
                require_one_line(number, err, code)
                assert not list(folder.rglob(".*.draft")), "copies of patients' images"
                times += 1
        row(f"signals: musclesense {verb}", f"{times}", "one line, 128 + its number; nothing left")
