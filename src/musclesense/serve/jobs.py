"""The queue: so many processes at once, each for one job, none of which can take anything along."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess

from musclesense.messages import in_words, log
from musclesense.serve.settings import Settings
from musclesense.serve.store import OUTCOME, Job, Kind, State, Store
from musclesense.serve.work import Task, run
from musclesense.storage.processes import unheard
from musclesense.storage.records import read_json, write_json

_SWEEP_SECONDS = 60.0


@dataclass(frozen=True)
class _Running:
    job: Job
    process: BaseProcess


class Jobs:
    """Does the jobs of a store, oldest first, until it is stopped.

    Args:
        store: Where they are.
        settings: How many at once, and how long each may take.
        work: What a job's process does; it can be imported by its name.
    """

    def __init__(self, store: Store, settings: Settings, work: Callable[[Task], None] = run) -> None:
        self._store, self._settings, self._work = store, settings, work
        self._changed, self._stopping = threading.Condition(), False
        self._running: dict[str, _Running] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Take up what an earlier server left, and begin."""
        if again := self._store.recover():
            log.info(f"jobs that the last server had begun: {len(again)}")
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self._settings.jobs)]
        self._threads.append(threading.Thread(target=self._sweep, daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the processes; their jobs wait for the next server."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            for running in self._running.values():
                running.process.kill()
        for thread in self._threads:
            thread.join()

    def wake(self) -> None:
        """Tell that a job waits."""
        with self._changed:
            self._changed.notify_all()

    def end(self, name: str, state: State) -> None:
        """End a job, whatever it is at, and remove all that is kept of it."""
        with self._changed:
            for running in self._running.values():
                if name in (running.job.id, running.job.parent):
                    running.process.kill()
                    running.process.join()
            self._store.end(name, state)

    def _sweep(self) -> None:
        while not self._stopping:
            self._store.expire(self._settings.keep_hours * 3600)
            with self._changed:
                if not self._stopping:
                    self._changed.wait(_SWEEP_SECONDS)

    def _serve(self) -> None:
        while (running := self._next()) is not None:
            began = time.monotonic()
            running.process.join(60 * self._settings.minutes)
            with self._changed:
                state = self._ended(running)
                del self._running[running.job.id]
            if state in (State.DONE, State.FAILED):
                took = in_words(time.monotonic() - began)
                log.info(f"job {running.job.number} ({running.job.kind}): {state} in {took}")

    def _next(self) -> _Running | None:
        """Wait for a job and begin it; None when the server stops."""
        with self._changed:
            while not self._stopping:
                if job := self._store.claim():
                    process = get_context("spawn").Process(target=self._work, args=(self._task(job),), daemon=True)
                    with unheard():
                        process.start()
                    self._running[job.id] = _Running(job, process)
                    return self._running[job.id]
                self._changed.wait()
        return None

    def _task(self, job: Job) -> Task:
        scan = job.parent and self._store.folder(job.parent)
        base = job.options.get("base")
        return Task(
            folder=self._store.folder(job.id),
            kind=job.kind,
            options=job.options,
            most=self._settings.unpacked_bytes,
            model=self._settings.model,
            device=self._settings.device,
            scan=scan or None,
            base=self._store.folder(base) if base else None,
        )

    def _ended(self, running: _Running) -> State:
        """Write down how a job ended."""
        process, job = running.process, running.job
        late = process.is_alive()
        if late:
            process.kill()
            process.join()
        known, outcome = self._store.find(job.id), self._store.folder(job.id) / OUTCOME
        if known is None or known.state is not State.RUNNING:
            return State.DELETED
        if outcome.is_file():
            state = State(read_json(outcome, remedy="")["state"])
        elif self._stopping:
            self._store.let_wait(job.id)
            return State.QUEUED
        else:
            allowed = f"it took longer than {in_words(60 * self._settings.minutes)}, the most that is allowed here"
            said = allowed if late else f"its process ended before its end (exit code {process.exitcode})"
            write_json(outcome, {"state": State.FAILED, "problems": [f"the job was ended: {said}"], "notes": []})
            state = State.FAILED
        self._store.finish(job.id, state)
        if state is State.DONE and job.kind is Kind.MEASURE and job.parent:
            self._store.forget_older(job)
        return state
