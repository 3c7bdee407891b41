"""The bar of a run, shown in whatever display the process has open."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lightning import Callback, LightningModule, Trainer
from rich.progress import Progress, TaskID

_LINE_EVERY_SECONDS = 30

_display: Progress | None = None


@contextmanager
def shown_in(display: Progress) -> Iterator[None]:
    """Let the runs of this process show their bar in ``display`` during the block."""
    global _display
    _display = display
    try:
        yield
    finally:
        _display = None


def say(text: str) -> None:
    """Write a line beside the bars, or nothing where the process has no display."""
    if _display is not None:
        _display.console.print(text, highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Write a line that nobody should miss: beside the bars, or to stderr where the process has no display."""
    if _display is not None:
        say(text)
    else:
        print(text, file=sys.stderr, flush=True)


def in_words(seconds: float) -> str:
    """Say a duration as a person would: about 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class RunBar(Callback):
    """Epochs, time left and the DSC on D4: a bar on a terminal, else now and then a line.

    Silent where the process has no display.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: TaskID | None = None
        self._started = self._said = 0.0
        self._before = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar at the epoch that the run goes on from."""
        self._started = self._said = time.monotonic()
        self._before = trainer.current_epoch
        if _display is not None and trainer.is_global_zero:
            self._task = _display.add_task(self._name, total=trainer.max_epochs, completed=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advance by an epoch."""
        if _display is not None and self._task is not None:
            dice = float(trainer.callback_metrics["val_dice"])
            _display.update(self._task, advance=1, description=f"{self._name}  DSC on D4 {dice:.3f}")
            if _display.disable:
                self._say(trainer, dice)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self._remove()

    def _say(self, trainer: Trainer, dice: float) -> None:
        now, done = time.monotonic(), trainer.current_epoch + 1
        assert trainer.max_epochs is not None
        if now - self._said >= _LINE_EVERY_SECONDS and done < trainer.max_epochs:
            left = (now - self._started) / (done - self._before) * (trainer.max_epochs - done)
            epochs = f"epoch {done} of {trainer.max_epochs}"
            say(f"{self._name}  {epochs}  DSC on D4 {dice:.3f}  {in_words(left)} left")
            self._said = now

    def _remove(self) -> None:
        if _display is not None and self._task is not None:
            _display.remove_task(self._task)
            self._task = None
