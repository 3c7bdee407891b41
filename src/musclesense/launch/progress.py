"""How far a sweep is: one bar and one line a finished run, read from the run folders whatever the launcher."""

import threading
import time
from collections.abc import Callable, Iterator
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
    with bars(console) as display:
        tell, stopping = _teller(plan, display), threading.Event()

        def watch() -> None:
            while not stopping.wait(_LOOK_EVERY_SECONDS):
                tell()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()
            tell()


def _teller(plan: Plan, display: Progress) -> Callable[[], None]:
    """Give what tells, whenever it is called, of the runs that have ended since."""
    before, said, started = len(plan.runs) - len(plan.unfinished), set[RunFolder](), time.monotonic()
    total, several = len(plan.runs) if plan.whole else None, len(plan.studies) > 1 or not plan.whole
    bar = display.add_task("runs", total=total, completed=before, visible=total != 1)

    def tell() -> None:
        for run in (run for run in plan.ended() if run not in said):
            said.add(run)
            ended = before + len(said)
            display.update(bar, completed=ended)
            place = f"{ended} of {total}" if total else f"{ended} so far"
            if total and ended < total:
                place += f", {in_words((time.monotonic() - started) / len(said) * (total - ended))} left"
            name = f"{run.path.parent.name}/{run.name}" if several else run.name
            log.info(f"{name}  {outcome(run)}  ({place})")

    return tell


def outcome(run: RunFolder) -> str:
    """Say in a line how a run has ended."""
    if not run.is_finished:
        return f"failed: {read_failure(run)}"
    scores = read_done(run)["scores"].items()
    return "  ".join(f"{name.replace('dice', 'DSC').replace('_', ' ')} {value:.3f}" for name, value in scores)
