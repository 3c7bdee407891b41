"""One command in a process of its own, forked from one that has imported everything, with limits on time and memory.

A command ends as a user's would: the same streams, the same exit code. Nothing of it outlives the process.
"""

import math
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_USUAL_IMPORTS_SECONDS = 10
MOST_SECONDS = 30 * max(1.0, time.process_time() / _USUAL_IMPORTS_SECONDS)
"""Of work, as the processor counts it: a busy machine must not fail an input. A slow one took longer to import, too."""
_MOST_WAITING = 4 * 3600
"""By the clock, for a command that waits instead of working."""
MOST_MEBIBYTES = 2048
"""Of address space beyond what the imports take."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Exit code; negative where a signal ended it.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
        seconds: Of work.
        mebibytes: Its greatest resident memory, the imports' share included.
        timed_out: Whether it was stopped for lack of time.
    """

    code: int
    out: str
    err: str
    seconds: float
    mebibytes: float
    timed_out: bool


def run(command: Callable[[], object], *, folder: Path, streams: Path) -> Outcome:
    """Run ``command`` in ``folder``; what it says is kept in files below ``streams``."""
    child = os.fork()
    if child == 0:
        _become(command, folder, streams)
    waited = not _ended(child, _MOST_WAITING)
    if waited:
        os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return Outcome(
        code=code,
        out=(streams / "out").read_text(encoding="utf-8", errors="surrogateescape"),
        err=(streams / "err").read_text(encoding="utf-8", errors="surrogateescape"),
        seconds=usage.ru_utime + usage.ru_stime,
        mebibytes=usage.ru_maxrss / 1024,
        timed_out=waited or code == -signal.SIGXCPU,
    )


def _ended(process: int, seconds: float) -> bool:
    watch = os.pidfd_open(process)
    try:
        return bool(select.select([watch], [], [], seconds)[0])
    finally:
        os.close(watch)


def _become(command: Callable[[], object], folder: Path, streams: Path) -> None:
    """Turn the forked process into the command; never returns."""
    code = 1
    try:
        os.setsid()
        for name, number in (("out", 1), ("err", 2)):
            file = os.open(streams / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        empty = os.open(os.devnull, os.O_RDONLY)
        os.dup2(empty, 0)
        os.chdir(folder)
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = size + MOST_MEBIBYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(MOST_SECONDS), math.ceil(MOST_SECONDS) + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        command()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
