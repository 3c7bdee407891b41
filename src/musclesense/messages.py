"""What the project says beside its results: the logger ``musclesense``, whose one handler writes beside bars.

Commands call `to_console`. A program that imports the project is told warnings alone, as Python's `logging` does where
nothing is configured, and configures the logger as any other.
"""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from musclesense.endings import say

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

log = logging.getLogger("musclesense")


class ConsoleHandler(logging.Handler):
    """Writes lines to stderr, or above the bars of the display that is open."""

    display: "Progress | None" = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; an error is red."""
        if self.display is None or (sys.stderr is self.display.console.file and not self.display.console.is_terminal):
            say(record.getMessage())
        else:
            style = "red" if record.levelno >= logging.ERROR else None
            self.display.console.print(record.getMessage(), style=style, highlight=False, markup=False, soft_wrap=True)


_handler = ConsoleHandler()


def to_console() -> None:
    """Let this process say on stderr what it does; a command begins with it."""
    log.addHandler(_handler)  # once, however often it is asked for
    log.setLevel(logging.INFO)


@contextmanager
def bars(console: "Console | None" = None) -> "Iterator[Progress]":
    """Let this process show bars during the block, on a terminal alone, and write what it says above them."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    silent = _handler not in log.handlers
    to_console()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as _handler.display:
            yield _handler.display
    finally:
        _handler.display = None
        if silent:
            log.removeHandler(_handler)
            log.setLevel(logging.NOTSET)


def open_display() -> "Progress | None":
    """Give the display of this process, where one is open."""
    return _handler.display


def in_runs(numbers: Iterable[int]) -> str:
    """Say which whole numbers these are, in order, three and more in a row by their ends.

    Examples:
        >>> in_runs([4, 0, 1, 2, 3, 7, 8])
        '0 to 4, 7, 8'
    """
    runs: list[list[int]] = []
    for number in sorted({*numbers}):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def in_words(seconds: float) -> str:
    """Say a duration as a person would.

    Examples:
        >>> in_words(40), in_words(720), in_words(12600)
        ('40 s', '12 min', '3.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
