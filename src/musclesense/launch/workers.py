"""Runs side by side in processes of this machine, of which the system may kill one: for lack of memory, above all.

Joblib then ends all of them, and the sweep with them. Here the runs that are left begin again, in new processes. A run
that has been at work at two such ends is left out, and named at the end of the sweep as one that has failed.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from hydra.core.utils import JobReturn
from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.backend.process import LokyProcess
from joblib.externals.loky.process_executor import BrokenProcessPool

from musclesense.launch.plan import build_jobs, result_of
from musclesense.messages import log
from musclesense.storage.paths import size_and_change
from musclesense.storage.processes import unheard
from musclesense.studies.writing import forget_failure, record_failure
from musclesense.training.settings import Settings

_TRIES = 2
_LOST = (
    "its process was killed twice, by the system for lack of memory for example; "
    "fewer runs at once (hydra.launcher.n_jobs) or a smaller loader.batch_size need less"
)
_Start = Callable[[Sequence[Sequence[str]], int], Any]


def launch(launcher: Any, start: _Start, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Do runs by joblib, from the ``first`` in the sweep, each until it has ended, well or not."""
    # What it says where it finds neither psutil nor pgrep: what its processes have started ends with them by itself.
    warnings.filterwarnings("ignore", "Failed to kill subprocesses")
    LokyProcess.start = _begin
    runs = build_jobs(launcher.config, job_overrides)
    go_on(runs, lambda left: start([job_overrides[number] for number in left], first))
    return [result_of(run.run) for run in runs]


def _begin(process: Any) -> None:
    """Start a process of joblib's, which leaves what a terminal sends to all to this one."""
    resource_tracker.ensure_running()
    with unheard():
        BaseProcess.start(process)


def go_on(runs: Sequence[Settings], start: Callable[[Sequence[int]], Any]) -> None:
    """Start runs by their numbers, and what is left of them again where a process was killed."""
    left, lost = list(range(len(runs))), Counter[int]()
    for settings in runs:
        forget_failure(settings.run)
    while left:
        before = {number: size_and_change(runs[number].run.config) for number in left}
        try:
            start(left)
            return
        except BrokenProcessPool:
            left = [number for number in left if not runs[number].run.has_ended]
            lost.update([n for n in left if size_and_change(runs[n].run.config) != before[n]] or left)
            for number in [number for number in left if lost[number] == _TRIES]:
                record_failure(runs[number].run, _LOST, details=f"{_LOST}\n", **runs[number].fold)
                left.remove(number)
            again = ", ".join(runs[number].run.name for number in left if lost[number])
            log.warning(
                "a process was killed, by the system for lack of memory for example"
                + (f"; tried once more: {again}" if again else "")
            )
