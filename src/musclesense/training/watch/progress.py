"""The bar of a run, shown in whatever display the process has open."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.progress import TaskID

from musclesense.messages import in_words, log, open_display
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_epochs

_LINE_EVERY_SECONDS = 30


class RunBar(Callback):
    """The epochs of a run, its validation DSC and the time left: a bar on a terminal, else now and then a line.

    Silent where the process has no display. A callback of what trains in this process; `follow` shows what others do.
    """

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._task: TaskID | None = None
        self._started = self._said = 0.0
        self._before = self._done = 0

    def begin(self, done: int) -> None:
        """Show the bar at the epoch that the run goes on from."""
        self._started = self._said = time.monotonic()
        self._before = self._done = done
        if (display := open_display()) is not None:
            self._task = display.add_task(self._name, total=self._total, completed=done)

    def show(self, done: int, dice: float) -> None:
        """Go on to so many epochs, of which the last had this validation DSC."""
        self._done = done
        if (display := open_display()) is not None and self._task is not None:
            display.update(self._task, completed=done, description=f"{self._name}  validation DSC {dice:.3f}")
            if display.disable:
                self._say(dice)

    def follow(self, run: RunFolder) -> None:
        """Show what another process has written of its epochs so far."""
        rows = read_epochs(run)
        if self._task is None:
            self.begin(len(rows))
        elif len(rows) > self._done:
            self.show(len(rows), rows[-1].val_dice or 0.0)

    def close(self, *_: Any, **__: Any) -> None:
        """Take the bar away."""
        if (display := open_display()) is not None and self._task is not None:
            display.remove_task(self._task)
            self._task = None

    on_fit_end = on_exception = close

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch that the run goes on from."""
        self.begin(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on by an epoch."""
        self.show(trainer.current_epoch + 1, float(trainer.callback_metrics["val_dice"]))

    def _say(self, dice: float) -> None:
        now = time.monotonic()
        if now - self._said >= _LINE_EVERY_SECONDS and self._done < self._total:
            left = (now - self._started) / (self._done - self._before) * (self._total - self._done)
            epochs = f"epoch {self._done} of {self._total}"
            log.info(f"{self._name}  {epochs}  validation DSC {dice:.3f}  {in_words(left)} left")
            self._said = now
