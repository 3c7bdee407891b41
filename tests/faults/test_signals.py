"""Commands that are told to end at random moments, by several signals, once or twice; a worker that is killed."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .conftest import SWEEP

pytestmark = pytest.mark.faults

SEED = 11
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SIDE_BY_SIDE = (*SWEEP, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
TIMES = 16


def stop(process: "subprocess.Popen[str]", rng: random.Random, longest: float) -> tuple[int, str, int]:
    """End a command at a random moment; gives the signal, what it said on stderr, and its exit code."""
    number, times = rng.choice(SIGNALS), rng.choice((1, 1, 2))
    time.sleep(rng.uniform(0.3, longest))  # the interpreter has begun
    for _ in range(times):
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


def test_a_worker_that_the_system_kills_costs_the_sweep_nothing(
    tmp_path: Path, undisturbed: Any, at: Any, start: Any, row: Any
) -> None:
    process = start(tmp_path, *SIDE_BY_SIDE)
    while not any((tmp_path / "runs").glob("[!.]*/outer*/checkpoints/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err and err.count("a process was killed, by the system") == 1
    at(tmp_path).require_equal(undisturbed)
    row("killed: one of joblib's workers", "1", "said so; its runs went on; tables identical")


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
