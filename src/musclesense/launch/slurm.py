"""Runs as jobs of a Slurm array: sent once, waited for, and left in good order when they are pre-empted.

Submitit writes the jobs and requeues them. It is not asked for their ends: it takes those from ``sacct``, without which
it waits for a cancelled job for ever, and its first lost job would end the sweep. ``squeue`` is on every cluster.
"""

import functools
import io
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from omegaconf import DictConfig
from submitit.core.utils import FailedJobError

from musclesense.endings import Stopped
from musclesense.errors import InputError
from musclesense.launch.plan import build_jobs, result_of
from musclesense.launch.progress import outcome
from musclesense.messages import bars, log
from musclesense.storage.records import write_text
from musclesense.studies.layout import RunFolder
from musclesense.studies.writing import forget_failure, record_failure
from musclesense.training.settings import Settings, build

_LOOKS = 3  # a job counts as gone when so many looks at the queue have missed it: files of other nodes come late
_TAIL_LINES = 40
_AFTER_JOB = Path(__file__).with_name("after_job.sh")


def require_slurm() -> None:
    """Refuse to send jobs from a machine without Slurm's commands, by an `InputError`."""
    missing = [command for command in ("sbatch", "srun", "squeue") if shutil.which(command) is None]
    if missing:
        instead = "start it where jobs are submitted, or leave the launcher out to train here"
        raise InputError(f"hydra/launcher=slurm: no {missing[0]} on this machine; {instead}")


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Send the runs that are neither finished nor in the queue already, from the ``first`` in the sweep; wait for all.

    Raises:
        InputError: Slurm does not take the jobs; says why.
    """
    runs = build_jobs(launcher.config, job_overrides)
    left = {number: _recorded(run.run) for number, run in enumerate(runs) if not run.run.is_finished}
    for number in left:
        forget_failure(runs[number].run)
    queue = _queue() or frozenset()
    jobs = {job: runs[number] for number, job in left.items() if job in queue}
    if jobs:
        log.info(f"{len(jobs)} runs are in the queue already: {_in_words(jobs)}")
    if new := [number for number, job in left.items() if job not in queue]:
        sent = _submit(launcher, [(list(job_overrides[number]), first + number) for number in new], runs[new[0]])
        for number, job in zip(new, sent, strict=True):
            _record(runs[number].run, job)
            jobs[job.job_id] = runs[number]
        name, ids = runs[new[0]].run.slurm_log.name, _in_words(job.job_id for job in sent)
        log.info(f"{len(new)} jobs sent: {ids}; {name} in each run's folder")
    if launcher.params["wait"]:
        _wait(jobs, look_every_s=launcher.params["look_every_s"])
    return [result_of(run.run) for run in runs]


def _submit(launcher: Any, runs: Sequence[tuple[list[str], int]], settings: Settings) -> list[submitit.Job[Any]]:
    """Send one array of jobs, each of which calls the launcher with the arguments that it takes from Hydra."""
    launcher.task_function = functools.partial(_job, launcher.task_function)
    asked = launcher.params | {"teardown": _AFTER_JOB.read_text(encoding="utf-8").splitlines()}
    folder, timeouts, *_ = map(asked.pop, ("submitit_folder", "max_num_timeout", "wait", "look_every_s"))
    if settings.config.trainer.accelerator == "cpu":
        asked["gpus_per_node"] = None
    singletons = Singleton.get_state()
    calls = [(overrides, "hydra.sweep.dir", number, f"job_{number}", singletons) for overrides, number in runs]
    try:
        executor = submitit.AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=timeouts)
        executor.update_parameters(**{f"slurm_{name}": value for name, value in asked.items()})
        with redirect_stderr(io.StringIO()):  # submitit shows sbatch's words, and they are in the error, too
            jobs: list[submitit.Job[Any]] = executor.map_array(launcher, *zip(*calls, strict=True))
    except FailedJobError as error:
        reason = (str(error).strip().splitlines() or ["refused"])[-1].removeprefix("sbatch: error: ")
        gpu = ", and trainer.accelerator=cpu asks for no GPU" if asked["gpus_per_node"] else ""
        raise InputError(f"hydra/launcher=slurm: {reason}; change hydra.launcher.KEY=VALUE{gpu}") from error
    return jobs


def _record(run: RunFolder, job: submitit.Job[Any]) -> None:
    """Let the run's folder say which job it is, and lead to the job's log."""
    write_text(run.slurm_id, job.job_id + "\n")
    run.slurm_log.unlink(missing_ok=True)
    run.slurm_log.symlink_to(os.path.relpath(job.paths.stdout, run.path.resolve()))


def _recorded(run: RunFolder) -> str:
    return run.slurm_id.read_text(encoding="utf-8").strip() if run.slurm_id.is_file() else ""


def _wait(jobs: dict[str, Settings], *, look_every_s: float) -> None:
    """Wait until each run is finished, has failed or has lost its job, which is written down as a failure."""
    waiting, missed = jobs, Counter[str]()
    try:
        while waiting:
            time.sleep(look_every_s)
            queue = _queue()
            for job, settings in waiting.items():
                missed[job] = 0 if queue is None or job in queue else missed[job] + 1
                if missed[job] == _LOOKS and not settings.run.has_ended:
                    _record_loss(settings, job)
            waiting = {job: settings for job, settings in waiting.items() if not settings.run.has_ended}
    except Stopped as stop:
        way_on = f"the jobs go on; the same command waits for them again, and scancel {_in_words(waiting)} stops them"
        raise Stopped(stop.number, way_on) from None


def _record_loss(settings: Settings, job: str) -> None:
    log = settings.run.slurm_log
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:] if log.is_file() else []
    state = re.search(r"JobState=(\w+)", _ask("scontrol", "show", "job", job) or "")
    if state or last:
        reason = f"job {job} ended without a result" + (f" ({state[1]})" if state else "")
        reason += f"; see {log.name}" if last else ", and without a log"
    else:  # Slurm keeps no record of a task that was cancelled before the array came to it
        reason = f"job {job} left the queue before it started, as when it is cancelled"
    record_failure(settings.run, reason, details="\n".join([reason, *last]) + "\n", **settings.fold)


def _queue() -> frozenset[str] | None:
    """Give this user's jobs that are in the queue, requeued ones among them; None where Slurm does not answer."""
    answer = _ask("squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%i")
    return None if answer is None else frozenset(answer.split())


def _in_words(jobs: Any) -> str:
    return " ".join(sorted({job.split("_")[0] for job in jobs}, key=int))


def _ask(*command: str) -> str | None:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _job(run: Callable[[DictConfig], Any], config: DictConfig) -> Any:
    """Do a run in its job; epochs go to the job's log.

    What submitit lets pass ends the run at once, and the job's script requeues it. Lightning would end it without an
    error where SIGTERM has no handler. Its own requeueing is off (`musclesense.training.session`), since it would save
    in the middle of an epoch, which is another training.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: os._exit(128 + number))
    with bars():
        dice = run(config)
        folder = build(config).run
        log.info(f"{folder.name}  {outcome(folder)}")
        return dice
