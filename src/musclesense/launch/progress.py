"""How far a sweep is: one bar and one line a finished run, read from the run folders whatever the launcher."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

from musclesense.launch.plan import Plan
from musclesense.messages import bars, in_words, log
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_done, read_failure

_LOOK_EVERY_SECONDS = 0.5


@contextmanager
def progress_of(plan: Plan, console: Console | None = None) -> Iterator[None]:
    """Show how far the runs of a plan are during the block."""
    over, before = threading.Event(), len(plan.runs) - len(plan.unfinished)
    with bars(console) as display, ThreadPoolExecutor(1) as beside:
        telling = beside.submit(_tell, plan, before, display, over)
        try:
            yield
        finally:
            over.set()
            telling.result()


def _tell(plan: Plan, before: int, display: Progress, over: threading.Event) -> None:
    """Tell of each run that ends, until the sweep is over; ``before`` it so many were finished."""
    said, started = set[RunFolder](), time.monotonic()
    total, several = len(plan.runs) if plan.whole else None, len(plan.studies) > 1 or not plan.whole
    bar = display.add_task("runs", total=total, completed=before, visible=total != 1)
    last = False
    while not last:
        last = over.wait(_LOOK_EVERY_SECONDS)
        for run in (run for run in plan.ended() if run not in said):
            said.add(run)
            ended = before + len(said)
            display.update(bar, completed=ended)
            place = f"{ended} of {total}" if total else f"{ended} so far"
            if total and ended < total:
                place += f", {in_words((time.monotonic() - started) / len(said) * (total - ended))} left"
            name = f"{run.path.parent.name}/{run.name}" if several else run.name
            log.info(f"{name}  {outcome(run)}  ({place})")


def outcome(run: RunFolder) -> str:
    """Say in a line how a run has ended."""
    if not run.is_finished:
        return f"failed: {read_failure(run)}"
    scores = read_done(run)["scores"].items()
    return "  ".join(f"{name.replace('dice', 'DSC').replace('_', ' ')} {value:.3f}" for name, value in scores)
