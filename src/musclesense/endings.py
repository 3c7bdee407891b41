"""How a command ends when it is told to, or when nobody listens: one line at most, and the exit code of a shell.

Imported before all that takes seconds to import, so it imports little itself.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from subprocess import Popen

_NAMES = {"SIGINT": "Ctrl+C", "SIGTERM": "SIGTERM", "SIGHUP": "SIGHUP, as when its terminal is closed"}
_PATIENT = 2  # signals, since `timeout` sends two at once; the third ends the process wherever it is
_AGAIN_SECONDS = 0.1
_SIGPIPE = 13
# Of multiprocessing's own process, which frees what processes that were killed have left, and says so at length.
_OF_KILLED = "ignore:resource_tracker:UserWarning"
AGAIN = "nothing is half-written, and the same command begins again"
GO_ON = "the same command goes on, each run from its last epoch"


class Stopped(BaseException):  # as KeyboardInterrupt is no error
    """A signal has asked this command to end.

    Attributes:
        number: The signal.
        way_on: How to go on, where that is another way than the command's usual one.
    """

    def __init__(self, number: int, way_on: str | None = None) -> None:
        super().__init__(number, way_on)
        self.number, self.way_on = number, way_on


@contextmanager
def told(way_on: str = AGAIN) -> Iterator[None]:
    """End the command in a line where a signal stops the block, or where what it prints cannot be written.

    Exit codes are 128 and the signal's number: 130 after Ctrl+C, 143 after SIGTERM, 129 after SIGHUP, and 141 where
    nobody reads standard output any more, of which nothing is said. A signal that was ignored when the command began,
    as under ``nohup``, still is.

    Args:
        way_on: What the user can do then.
    """
    received: list[int] = []
    restore = _listen(received)
    sys.warnoptions.append(_OF_KILLED)
    stop: BaseException | None = None
    try:
        with _printing():
            yield
    except BaseException as error:  # what a signal interrupts may make an error of its own of it
        if not received:
            raise
        stop = error
    finally:
        sys.warnoptions.remove(_OF_KILLED)
        if not received:
            restore()
    if received:
        name = _NAMES[signal.Signals(received[0]).name]
        say(f"stopped by {name}: {getattr(stop, 'way_on', None) or way_on}")
        end_children()
        sys.exit(128 + received[0])


def _listen(received: list[int]) -> Any:
    """Raise `Stopped` at the first signal; give what undoes this.

    Not within an import: torch's runs Python from C++, which ends the process where anything is raised in it.
    """
    later, outside = list[threading.Timer](), _imports(sys._getframe())

    def again(number: int) -> None:
        if not any(timer.is_alive() for timer in later):
            later[:] = [threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), number))]
            later[0].start()

    def stop(number: int, frame: Any) -> None:
        if _imports(frame) > outside:
            again(number)
            return
        received.append(number)
        if len(received) > _PATIENT:
            os._exit(128 + number)
        if _holding:
            _holding[0].append(number)
        elif len(received) == 1:
            raise Stopped(number)

    def swallowed(unraisable: Any) -> None:
        """Try again where Python could not raise it, as where an object is freed."""
        if not isinstance(unraisable.exc_value, Stopped):
            hook(unraisable)
            return
        received.clear()
        again(unraisable.exc_value.number)

    def restore() -> None:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)

    hook, before = sys.unraisablehook, dict[int, Any]()
    if threading.current_thread() is threading.main_thread():  # no other may handle signals
        sys.unraisablehook = swallowed
        numbers = (getattr(signal, name) for name in _NAMES if hasattr(signal, name))
        before |= {number: signal.getsignal(number) for number in numbers}
        for number in [number for number, handler in before.items() if handler is not signal.SIG_IGN]:
            signal.signal(number, stop)
    return restore


def _imports(frame: Any) -> int:
    """Count the steps of imports that are under way there."""
    steps = 0
    while frame is not None:
        steps += frame.f_code.co_filename.startswith("<frozen importlib")
        frame = frame.f_back
    return steps


_holding: list[list[int]] = []
"""What came during each `held` block that the main thread is in."""


@contextmanager
def held() -> Iterator[None]:
    """Let a signal stop the command at the end of the block, in which a process is started: not half of one."""
    if threading.current_thread() is not threading.main_thread():  # no other is ever stopped
        yield
        return
    _holding.append(came := list[int]())
    try:
        yield
    finally:
        _holding.pop()
        if came:
            raise Stopped(came[0])


@contextmanager
def stopped_together(commands: Sequence["Popen[str]"]) -> Iterator[None]:
    """Let a signal that stops the block stop these commands, too, and wait until they have ended.

    Args:
        commands: Processes that the block starts, each in a `held` block: none is left out.
    """
    try:
        yield
    except Stopped as stop:
        for one in commands:
            one.send_signal(stop.number)
        for one in commands:
            one.communicate()
        raise


def end_children() -> None:
    """End the processes that this one has started and not yet ended: the interpreter would wait for them for ever."""
    from multiprocessing import active_children

    for number in [child.pid for child in active_children() if child.pid]:
        with suppress(OSError):
            os.kill(number, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has but the second


def leave_signals_to_parent() -> None:
    """Let this process, one of a command's several, ignore what a terminal sends to all: the command ends it.

    A SIGTERM ends it at once and without a word.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(128 + number))


@contextmanager
def _printing() -> Iterator[None]:
    """Write out what the block prints, and end the command where that cannot be."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started this; a file that is opened must not take its place
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115, PTH123
    stdout = sys.stdout
    try:
        with redirect_stdout(_Output(stdout)) as output:
            try:
                yield
            finally:
                output.flush()
    except _LostError as lost:
        error = lost.args[0]
        _silence(stdout)
        if isinstance(error, BrokenPipeError):
            sys.exit(128 + _SIGPIPE)
        why = error.strerror or error
        say(f"error: standard output: cannot be written ({why}); write it elsewhere; files of the command are whole")
        sys.exit(2)


class _LostError(BaseException):
    """An error, its argument, of what is printed: no `Exception`, so that it is not taken for one of the work."""


class _Output:
    """Standard output, whose errors are known for what they are."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._known():
            return self._stream.write(text)

    def flush(self) -> None:
        with self._known():
            self._stream.flush()

    @contextmanager
    def _known(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _LostError(error) from None


def say(line: str, end: str = "\n") -> None:
    """Write a line to stderr; where it cannot be written, there is nobody to tell, and nothing ends for that."""
    try:
        print(f"{line}{end}", end="", file=sys.stderr, flush=True)  # at once: a signal does not come before the end
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Lead a stream nowhere, or the interpreter would try to write it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
