"""Waiting on machines of any speed: for what happens, never for a time that a slow one would outlast."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

LONGEST_SECONDS = 4 * 3600
"""After which a test gives up: nothing is decided by it, unless something waits for ever."""


def wait_until(
    reached: Callable[[], bool], process: "subprocess.Popen[str] | None" = None, every: float = 0.02
) -> None:
    """Wait until something is reached, which a process is at work on where one is given."""
    until = time.monotonic() + LONGEST_SECONDS
    while True:
        over = process is not None and process.poll() is not None
        if reached():
            return
        assert not over, "it ended before"
        assert time.monotonic() < until, "waited in vain"
        time.sleep(every)


def end(process: "subprocess.Popen[str]") -> None:
    """Kill a process that leads a group, and all that it has started."""
    with suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
