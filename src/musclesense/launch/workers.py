"""Runs side by side in processes of this machine, of which the system may kill one: for lack of memory, above all.

Joblib then ends all of them, and the sweep with them. Here the runs that are left begin again, in new processes. A run
that has been at work at two such ends is left out, and named at the end of the sweep as one that has failed.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from joblib.externals.loky import process_executor
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.backend.process import LokyProcess
from joblib.externals.loky.process_executor import BrokenProcessPool

from musclesense.launch.plan import launched_runs
from musclesense.messages import log
from musclesense.storage.paths import size_and_change
from musclesense.storage.processes import unheard
from musclesense.studies.writing import record_failure
from musclesense.training.settings import Settings

_TRIES = 2
_LOST = (
    "its process was killed twice, by the system for lack of memory for example; "
    "fewer runs at once (hydra.launcher.n_jobs) or a smaller loader.batch_size need less"
)
_Start = Callable[[Sequence[Sequence[str]], int], Any]


def launch(launcher: Any, start: _Start, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Do runs by joblib, from the ``first`` in the sweep, each until it has ended, well or not."""
    process_executor.kill_process_tree, LokyProcess.start = _kill, _begin
    runs = launched_runs(launcher, job_overrides)
    go_on(runs, lambda left: start([job_overrides[number] for number in left], first))
    return [JobReturn(overrides=overrides, status=JobStatus.COMPLETED) for overrides in job_overrides]


def _begin(process: Any) -> None:
    """Start a process of joblib's, which leaves what a terminal sends to all to this one."""
    resource_tracker.ensure_running()
    with unheard():
        BaseProcess.start(process)


def _kill(process: Any, use_psutil: bool = True) -> None:
    """Kill a process of joblib's, which by itself needs psutil or pgrep for that, and ends in a traceback without.

    What the process has started ends with it.
    """
    with suppress(OSError):
        os.kill(process.pid, signal.SIGKILL)
    process.join()


def go_on(runs: Sequence[Settings], start: Callable[[Sequence[int]], Any]) -> None:
    """Start runs by their numbers, and what is left of them again where a process was killed."""
    left, lost = list(range(len(runs))), Counter[int]()
    while left:
        before = {number: _state(runs[number]) for number in left}
        try:
            start(left)
            return
        except BrokenProcessPool:
            ended = [n for n in left if runs[n].run.is_finished or _state(runs[n])[1] not in (None, before[n][1])]
            left = [number for number in left if number not in ended]
            lost.update([number for number in left if _state(runs[number])[0] != before[number][0]] or left)
            for number in [number for number in left if lost[number] == _TRIES]:
                record_failure(runs[number].run, _LOST, details=f"{_LOST}\n", **runs[number].fold)
                left.remove(number)
            again = ", ".join(runs[number].run.name for number in left if lost[number])
            log.warning(
                "a process was killed, by the system for lack of memory for example"
                + (f"; tried once more: {again}" if again else "")
            )


def _state(settings: Settings) -> tuple[object, object]:
    """Tell when a run has begun, and when it has failed."""
    return size_and_change(settings.run.config), size_and_change(settings.run.failed)
