"""Full disks, read-only folders, damaged checkpoints, a lost dashboard, two sweeps at once."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..shared.waiting import LONGEST_SECONDS, wait_until

pytestmark = pytest.mark.faults


@contextmanager
def disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """Mount a little disk during the block; gives what changes its options, such as ``size=2m`` or ``ro``."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")

    def change(option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", folder], check=True)

    try:
        yield change
    finally:
        subprocess.run(["umount", folder], check=True)


def size(path: Path) -> int:
    """Bytes that a folder takes on such a disk, in pages."""
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in path.rglob("*") if file.is_file())


def files(path: Path) -> int:
    """Number of files and folders that a folder holds, and itself."""
    return 1 + len(list(path.rglob("*")))


def errors(stderr: str) -> list[str]:
    """The lines on stderr that tell of something wrong."""
    assert "Traceback" not in stderr, stderr
    return [line for line in stderr.splitlines() if "error: " in line or "  failed: " in line]


def any_file(folder: Path, pattern: str) -> bool:
    return any(folder.glob(pattern))


def wait_for(process: "subprocess.Popen[str]", there: Callable[[], bool]) -> None:
    """Wait for something that a command does while it runs."""
    wait_until(there, process, every=0.002)


def test_a_full_disk(tmp_path: Path, undisturbed: Any, sweep: Any, at: Any, train: Any, row: Any) -> None:
    phantom, cache = (undisturbed.folder / "data" / name for name in ("phantom-smoke-1", "cache"))
    run = size(undisturbed.study / "outer0_inner0")
    whole = size(undisturbed.folder)
    made = size(phantom) + 2**17
    cached = made + size(cache)
    trained = cached + 4 * run + 2**16
    stages = [  # where it is, how much room there is, the exit code and the lines
        ("no room at all", 2**15, 2, 2),
        ("making the phantom", size(phantom) // 2, 2, 1),
        ("building the cache", made + size(cache) // 2, 1, 1),
        ("the first run", cached + run // 2, 1, 1),
        ("the third run", cached + 2 * run + run // 2, 1, 1),
        ("the report", trained + size(undisturbed.study / "report") // 2, 2, 1),
    ]
    with disk(tmp_path) as change:
        for stage, room, code, lines in stages:
            change(f"size={room}")
            done = train(tmp_path, *sweep)
            said = errors(done.stderr)
            assert done.returncode == code, (stage, done.stderr)
            assert len(said) == lines, (stage, done.stderr)
            assert all("No space left on device" in line and "make room there" in line for line in said), stage
            assert not list(tmp_path.rglob(".*.draft")), stage
            row(f"full disk: {stage}", "1", f"exit code {code}; one line a folder; nothing half-written")
        change(f"size={4 * whole}")
        done = train(tmp_path, *sweep)
        assert done.returncode == 0, done.stderr
        at(tmp_path).require_equal(undisturbed)
    row("full disk: more room", "1", "the same command went on; tables identical")


def test_a_disk_that_takes_no_more_files(
    tmp_path: Path, undisturbed: Any, sweep: Any, at: Any, train: Any, row: Any
) -> None:
    cache, run = files(undisturbed.folder / "data" / "cache"), files(undisturbed.study / "outer0_inner0")
    stages = [  # where it is, how many more files there are place for, and the lines
        ("no file at all", 0, 2),
        ("building the cache", cache // 2, 1),
        ("the first run", cache + run // 2, 1),
        ("the third run", cache + 3 * run, 1),
    ]
    with disk(tmp_path) as change:
        change("size=64m")
        undisturbed.lend_phantom(tmp_path)
        phantom = files(tmp_path)
        for stage, room, lines in stages:
            change(f"nr_inodes={phantom + room}")
            done = train(tmp_path, *sweep)
            said = errors(done.stderr)
            assert done.returncode in (1, 2) and len(said) == lines, (stage, done.stderr)
            assert all("No space left on device" in line and "remove files there" in line for line in said), said
            assert not list(tmp_path.rglob(".*.draft")), stage
            row(f"no more files: {stage}", "1", f"exit code {done.returncode}; one line a folder; nothing half-written")
        change(f"nr_inodes={4 * files(undisturbed.folder)}")
        done = train(tmp_path, *sweep)
        assert done.returncode == 0, done.stderr
        at(tmp_path).require_equal(undisturbed)
    row("no more files: some removed", "1", "the same command went on; tables identical")


@pytest.mark.parametrize("read_only", ["data", "runs"])
def test_a_read_only_folder(tmp_path: Path, sweep: Any, train: Any, row: Any, read_only: str) -> None:
    folder = tmp_path / read_only
    folder.mkdir()
    with disk(folder) as change:
        change("ro,size=64m")
        done = train(tmp_path, *sweep)
        assert done.returncode == 2, done.stderr
        assert done.stderr.splitlines() == [
            f"error: {read_only}: cannot be written (Read-only file system); give a writable place with free space"
        ]
        assert [path.name for path in tmp_path.iterdir()] == [read_only] and not list(folder.iterdir())
    row(f"read-only {read_only}/", "1", "exit code 2, one line; nothing written")


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (["last.ckpt"], ["last.ckpt: damaged; the run goes on from previous.ckpt"]),
        (
            ["last.ckpt", "previous.ckpt"],
            [
                "last.ckpt: damaged; the run goes on from previous.ckpt",
                "previous.ckpt: damaged; the run is trained from the beginning",
            ],
        ),
        (["best.ckpt"], ["best.ckpt: missing or damaged; the run is trained from the beginning"]),
    ],
)
def test_a_checkpoint_cut_short_on_disk(
    tmp_path: Path, undisturbed: Any, sweep: Any, at: Any, start: Any, train: Any, row: Any, damaged: Any, said: Any
) -> None:
    undisturbed.lend_phantom(tmp_path)
    process = start(tmp_path, *sweep)
    wait_for(process, lambda: any((tmp_path / "runs").glob("*/outer0_inner0/checkpoints/previous.ckpt")))
    process.kill()
    process.communicate()
    kept = at(tmp_path).study / "outer0_inner0" / "checkpoints"
    for name in damaged:
        content = (kept / name).read_bytes()
        (kept / name).write_bytes(content[: len(content) // 2])
    done = train(tmp_path, *sweep)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "damaged" in line]
    assert len(lines) == len(said) and all(end in line for line, end in zip(lines, said, strict=True)), done.stderr
    at(tmp_path).require_equal(undisturbed)
    became = "beginning" if "beginning" in said[-1] else "checkpoint before"
    row(f"cut short: {', '.join(damaged)}", "1", f"said so, went on from the {became}; tables identical")


def test_the_dashboard_s_folder_is_deleted(
    tmp_path: Path, undisturbed: Any, sweep: Any, at: Any, start: Any, row: Any
) -> None:
    undisturbed.lend_phantom(tmp_path)
    process = start(tmp_path, *sweep, "logger=wandb")
    deleted = 0
    for run in ("outer0_inner0", "outer0_inner1", "outer1_inner0", "outer1_inner1"):
        metrics = f"[!.]*/{run}/metrics.csv"
        wait_for(process, partial(any_file, tmp_path / "runs", metrics))
        shutil.rmtree(at(tmp_path).study / run / "wandb", ignore_errors=True)  # wandb may be writing there
        deleted += 1
    _, stderr = process.communicate(timeout=LONGEST_SECONDS)
    assert process.returncode == 0, stderr
    assert errors(stderr) == []
    at(tmp_path).require_equal(undisturbed)
    row("wandb's folder deleted in a run", f"{deleted}", "runs went on; tables identical")


def test_two_sweeps_at_once(tmp_path: Path, undisturbed: Any, sweep: Any, at: Any, start: Any, row: Any) -> None:
    processes = [start(tmp_path, *sweep) for _ in range(2)]
    said = [process.communicate(timeout=LONGEST_SECONDS)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [errors(stderr) for stderr in said] == [[], []]
    waits = [line for stderr in said for line in stderr.splitlines() if ": waiting for process " in line]
    assert waits, said
    at(tmp_path).require_equal(undisturbed)
    row("two sweeps at once", "1", f"both exit code 0; waiting told in {len(waits)} lines; tables identical")
