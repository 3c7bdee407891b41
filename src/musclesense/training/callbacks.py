"""What else happens beside training: reproducible random numbers, early stopping, averaged weights."""

from collections.abc import Iterator

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from musclesense.training.datamodule import Batch
from musclesense.training.record import MONITOR
from musclesense.training.streams import Stream


class StepSeed(Callback):
    """What a network draws itself, such as dropout, from (seed, epoch, step), so that a resumed run draws it again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Seed the generators, each process of a run otherwise."""
        step = (trainer.current_epoch, batch_idx, trainer.global_rank)
        sequence = np.random.SeedSequence([Stream.NETWORK, self._seed, *step])
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


class Averaging(WeightAveraging):
    """An exponential moving average of the weights, which is validated, tested and kept in place of them.

    Statistics of batch normalisation are averaged along. The average begins short, over about a tenth of the steps so
    far, and grows to ``decay``: a fixed decay would remember the first random weights for thousands of steps.

    Source: Polyak and Juditsky 1992, doi:10.1137/0330046; the growing decay as in TensorFlow's
    ``ExponentialMovingAverage(num_updates=...)``.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the network to where it will train."""
        if stage == "fit":
            self._average_model = _Average(pl_module, trainer.strategy.root_device, self._decay)

    def weights(self) -> dict[str, Tensor]:
        """Give the averaged weights by their names in the network's module."""
        assert self._average_model is not None
        averaged: dict[str, Tensor] = self._average_model.module.state_dict()
        return averaged


class _Average(AveragedModel):
    """Averaged weights; a step of them takes no more than a kernel or two, and no device is waited for."""

    def __init__(self, model: nn.Module, device: torch.device | int | None, decay: float) -> None:
        super().__init__(model, device=device, use_buffers=True)
        self._decay = decay
        # Steps are counted in main memory, where they can be looked at without waiting for the device.
        self.n_averaged = self.n_averaged.cpu()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Go on with the average; the first weights are taken as they are."""
        steps = int(self.n_averaged)
        share = min((1 + steps) / (10 + steps), self._decay) if steps else 0.0
        kinds: dict[bool, tuple[list[Tensor], list[Tensor]]] = {True: ([], []), False: ([], [])}
        for averaged, current in zip(_tensors(self.module), _tensors(model), strict=True):
            for tensors, tensor in zip(kinds[averaged.is_floating_point()], (averaged, current), strict=True):
                tensors.append(tensor)
        if kinds[True][0]:
            torch._foreach_lerp_(*kinds[True], 1 - share)
        if kinds[False][0]:  # counters of batch normalisation
            torch._foreach_copy_(*kinds[False])
        self.n_averaged += 1


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return (tensor.detach() for tensor in (*model.parameters(), *model.buffers()))
