"""How far a sweep is: one bar and one line a finished run, read from the run folders whatever the launcher."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from musclesense.messages import in_words, log, shown_in
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_done, read_failure
from musclesense.training.folders import is_finished

_LOOK_EVERY_SECONDS = 0.5


@contextmanager
def sweep_progress(folders: Sequence[Path], console: Console) -> Iterator[None]:
    """Show the progress of the runs in ``folders`` during the block; bars only on a terminal.

    Args:
        folders: Of all runs of the sweep, finished ones among them.
        console: Where it is shown.
    """
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
        watch = _Watch(folders, display)
        watch.start()
        try:
            yield
        finally:
            watch.stop()


class _Watch:
    """A thread that looks for runs that have ended since."""

    def __init__(self, folders: Sequence[Path], display: Progress) -> None:
        self._display = display
        self._waiting = [folder for folder in folders if not is_finished(folder)]
        # An earlier sweep's failures are tried again: only a record written from now on counts.
        self._since = {folder: _changed(RunFolder(folder).failed) for folder in self._waiting}
        self._total, self._before = len(folders), len(folders) - len(self._waiting)
        self._several_studies = len({folder.parent for folder in folders}) > 1
        self._started = time.monotonic()
        self._bar = display.add_task("runs", total=self._total, completed=self._before, visible=self._total > 1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._look()

    def _work(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY_SECONDS):
            self._look()

    def _look(self) -> None:
        for folder in list(self._waiting):
            failure = RunFolder(folder).failed
            if is_finished(folder):
                scores = read_done(RunFolder(folder))["scores"]
                said = "  ".join(
                    f"{name.replace('dice', 'DSC').replace('_', ' ')} {v:.3f}" for name, v in scores.items()
                )
            elif failure.is_file() and _changed(failure) != self._since[folder]:
                said = "failed: " + read_failure(RunFolder(folder))
            else:
                continue
            self._waiting.remove(folder)
            ended = self._total - len(self._waiting)
            self._display.update(self._bar, completed=ended)
            name = f"{folder.parent.name}/{folder.name}" if self._several_studies else folder.name
            log.info(f"{name}  {said}  ({self._place(ended)})")

    def _place(self, ended: int) -> str:
        left = (time.monotonic() - self._started) / (ended - self._before) * len(self._waiting)
        return f"{ended} of {self._total}" + (f", {in_words(left)} left" if self._waiting else "")


def _changed(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.is_file() else None
