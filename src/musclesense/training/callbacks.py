"""What else happens beside training: reproducible random numbers, early stopping."""

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from musclesense.training.datamodule import Batch
from musclesense.training.record import MONITOR

_NETWORK_STREAM = 3


class StepSeed(Callback):
    """What a network draws itself, such as dropout, from (seed, epoch, step), so that a resumed run draws it again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Seed the generators, each process of a run otherwise."""
        step = (trainer.current_epoch, batch_idx, trainer.global_rank)
        sequence = np.random.SeedSequence([_NETWORK_STREAM, self._seed, *step])
        seed, device = int(sequence.generate_state(1)[0]), trainer.strategy.root_device
        torch.default_generator.manual_seed(seed)  # torch.manual_seed asks for every kind of device, each time
        if device.type != "cpu":
            torch.get_device_module(device).manual_seed(seed)


class EarlyStop(EarlyStopping):
    """Early stopping on validation cases that stays stopped when a run goes on from its last epoch."""

    def __init__(self, *, patience: int, min_delta: float) -> None:
        super().__init__(
            MONITOR, mode="max", patience=patience, min_delta=min_delta, check_on_train_epoch_end=True, verbose=False
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once when the checkpoint was written by the epoch that ended training."""
        if self.stopped_epoch:
            trainer.should_stop = True
