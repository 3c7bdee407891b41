"""A bare PyTorch step against the training loop of a run, with data, augmentation, metrics, logging and checkpoints.

``python -m benchmarks.speed.training_step [OVERRIDES]``, such as ``experiment=demo`` (the default) or
``model.width=16``, prints the seconds and cases a second of both, the shares of the loop's parts, and the ratio of
training to bare steps. wandb logs offline; ``logger=none`` leaves it out.

A bare step is forward, loss, backward and optimizer step of the same network at the same precision, on random data
that lies on the device: no schedule, no clipping of gradients, no data. The loop is that of ``training.session``, made
by the same function. Each epoch is paired with bare steps on as many cases right before it, since machines are noisy.
Seconds on the wall are what counts; those of the processor, of all threads, are steadier where other work runs beside.
"""

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import Any, cast

import torch
from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.table import Table

from musclesense.training import inputs
from musclesense.training.composition import compose
from musclesense.training.machine.compilation import CompiledNetwork
from musclesense.training.machine.devices import reserved
from musclesense.training.machine.hardware import choose
from musclesense.training.session import Session, make_module, open_dashboard, set_up
from musclesense.training.settings import Settings

EPOCHS = 16  # the first of them warms up
LOOP = ("loop: training", "loop: end of epoch")


def main() -> None:
    asked = [f"trainer.max_epochs={EPOCHS}", *(sys.argv[1:] or ["experiment=demo"]), "logger.mode=offline"]
    with tempfile.TemporaryDirectory() as runs, ExitStack() as devices:
        settings = compose(*asked, f"runs={runs}")
        hardware = choose(settings.config.trainer)
        own = devices.enter_context(reserved("1", hardware.accelerator))
        logger = open_dashboard(settings)
        session = set_up(settings, inputs.prepare(settings), own, logger)
        clock = Clock(session)
        callbacks: list[Callback] = cast(Any, session.trainer).callbacks
        callbacks.insert(0, clock)  # before all that is to be timed
        callbacks.append(AfterAll(clock))
        try:
            session.fit()
        finally:
            if logger is not None:
                logger.finish(failed=False)
    console = Console()
    console.print(
        f"{hardware.accelerator}, {hardware.precision} ({hardware.reason}), {torch.get_num_threads()} threads, "
        f"{'no wandb' if logger is None else 'wandb offline'}"
    )
    table = Table("", "wall", "", "processor", "")
    for name in clock.spans:
        table.add_row(name, *(text for kind in (0, 1) for text in clock.row(name, kind)))
    console.print(table)
    for parts, what in ((LOOP[:1], "training"), (LOOP, "training and end of epoch")):
        wall, processor = (clock.ratio(parts, kind) for kind in (0, 1))
        print(f"{what} / bare steps: {wall:.3f} on the wall, {processor:.3f} of the processor, medians of the pairs")


class Clock(Callback):
    """Times the parts of an epoch: bare steps, then the loop's training, its validation, and what ends the epoch."""

    def __init__(self, session: Session) -> None:
        self.spans: dict[str, list[tuple[float, float]]] = {}
        self._bare = Bare(
            session.settings,
            session.hardware.precision,
            session.trainer.strategy.root_device,
            compiled=session.compiled,
        )
        self._cases = 0
        self._before = (0.0, 0.0)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self._before = self._now()
        self._cases = len(trainer.datamodule.train_dataloader().batch_sampler.sampler)
        self._bare.train(self._cases)
        self.ends("bare steps")

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        self.ends("loop: training")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.ends("loop: validation")

    def ends(self, name: str) -> None:
        now = self._now()
        self.spans.setdefault(name, []).append((now[0] - self._before[0], now[1] - self._before[1]))
        self._before = now

    def row(self, name: str, kind: int) -> tuple[str, str]:
        """Give the median seconds of a part, and its cases a second or its share of the loop."""
        seconds = self._median(name, kind)
        if name == "bare steps" or name == "loop: training":
            return f"{seconds:.3f} s", f"{self._cases / seconds:.1f} cases/s"
        whole = sum(self._median(part, kind) for part in self.spans if part != "bare steps")
        return f"{seconds:.3f} s", f"{seconds / whole:.1%} of the epoch"

    def ratio(self, parts: tuple[str, ...], kind: int) -> float:
        """Give the cases a second of parts of the loop over those of bare steps: the median of the pairs."""
        pairs = zip(self.spans["bare steps"], *(self.spans[name] for name in parts), strict=True)
        return float(statistics.median([bare[kind] / sum(part[kind] for part in own) for bare, *own in pairs][1:]))

    def _median(self, name: str, kind: int) -> float:
        return statistics.median(span[kind] for span in self.spans[name][1:])

    def _now(self) -> tuple[float, float]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()


class AfterAll(Checkpoint):
    """Tells the clock that an epoch has ended; a checkpoint by its class, since Lightning calls those last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._clock.ends("loop: end of epoch")


class Bare:
    """Bare steps of the network of a run, compiled or not."""

    def __init__(self, settings: Settings, precision: str, device: torch.device, *, compiled: bool = False) -> None:
        self._device = device
        self._kind = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
        self._module = make_module(settings).to(device).train()
        if compiled:
            self._module.compiled = CompiledNetwork(self._module.network, settings.config.loader.batch_size)
        self._optimizer, _ = self._module.make_optimizer(1, fused=device.type == "cuda")
        size, grid = settings.config.loader.batch_size, self._module.spec.grid
        shape = (size, len(self._module.spec.channels), grid.rows, grid.columns)
        self._images = torch.randn(shape, device=self._device)
        self._classes = torch.randint(2, (size, grid.rows, grid.columns), device=self._device)
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=self._kind is torch.float16)

    def train(self, cases: int) -> None:
        """Train on so many cases, in batches as large as those of the loop."""
        while cases > 0:
            images, classes = self._images[:cases], self._classes[:cases]
            cases -= len(images)
            with torch.autocast(self._device.type, self._kind, enabled=self._kind is not None):
                loss = self._module.loss(self._module(images, self._module.compiled), classes)
            self._optimizer.zero_grad()
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimizer)
            self._scaler.update()


if __name__ == "__main__":
    main()
