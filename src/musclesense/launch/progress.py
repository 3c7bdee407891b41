"""How far a sweep is: one bar and one line a finished run, read from the run folders whatever the launcher."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from musclesense.launch.plan import Plan
from musclesense.messages import in_words, log, shown_in
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_done, read_failure

_LOOK_EVERY_SECONDS = 0.5


@contextmanager
def bars(console: Console | None = None) -> Iterator[Progress]:
    """Show the bars of this process during the block, on a terminal alone, and what it says above them."""
    console = console or Console(stderr=True)
    display = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with display, shown_in(display):
        yield display


@contextmanager
def progress_of(plan: Plan, console: Console | None = None) -> Iterator[None]:
    """Show how far the runs of a plan are during the block."""
    with bars(console) as display:
        watch, stopping = _Watch(plan, display), threading.Event()
        thread = threading.Thread(target=watch.look_until, args=(stopping,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
            watch.look()


class _Watch:
    """Tells of runs that have ended."""

    def __init__(self, plan: Plan, display: Progress) -> None:
        self._plan, self._display = plan, display
        self._before = len(plan.runs) - len(plan.unfinished)
        self._said: set[RunFolder] = set()
        self._several_studies = len(plan.studies) > 1 or not plan.whole
        self._started = time.monotonic()
        total = len(plan.runs) if plan.whole else None
        self._bar = display.add_task("runs", total=total, completed=self._before, visible=total != 1)

    def look_until(self, stopping: threading.Event) -> None:
        while not stopping.wait(_LOOK_EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        for run in self._plan.ended():
            if run not in self._said:
                self._said.add(run)
                ended = self._before + len(self._said)
                self._display.update(self._bar, completed=ended)
                name = f"{run.path.parent.name}/{run.name}" if self._several_studies else run.name
                log.info(f"{name}  {outcome(run)}  ({self._place(ended)})")

    def _place(self, ended: int) -> str:
        if not self._plan.whole:
            return f"{ended} so far"
        total = len(self._plan.runs)
        left = (time.monotonic() - self._started) / len(self._said) * (total - ended)
        return f"{ended} of {total}" + (f", {in_words(left)} left" if ended < total else "")


def outcome(run: RunFolder) -> str:
    """Say in a line how a run has ended."""
    if not run.is_finished:
        return f"failed: {read_failure(run)}"
    scores = read_done(run)["scores"].items()
    return "  ".join(f"{name.replace('dice', 'DSC').replace('_', ' ')} {value:.3f}" for name, value in scores)
