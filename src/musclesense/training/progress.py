"""The bar of a run, shown in whatever display the process has open."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning import Callback, LightningModule, Trainer
from rich.progress import Progress, TaskID

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


class RunBar(Callback):
    """One bar a run: epochs, time left and the DSC on D4. Silent where the process has no display."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._task: TaskID | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar at the epoch that the run goes on from."""
        if _display is not None and trainer.is_global_zero:
            self._task = _display.add_task(self._name, total=trainer.max_epochs, completed=trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Advance by an epoch."""
        if _display is not None and self._task is not None:
            dice = float(trainer.callback_metrics["val_dice"])
            _display.update(self._task, advance=1, description=f"{self._name}  DSC on D4 {dice:.3f}")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        self._remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self._remove()

    def _remove(self) -> None:
        if _display is not None and self._task is not None:
            _display.remove_task(self._task)
            self._task = None
