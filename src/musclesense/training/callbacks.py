"""What happens beside training: averaged weights, early stopping, checkpoints, the record of epochs, test scores."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, WeightAveraging
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from musclesense.cohort.cache import SliceCache
from musclesense.studies.layout import CheckpointFolder, RunFolder
from musclesense.studies.overlays import KeptSlice, write_overlays
from musclesense.studies.writing import write_cases, write_epochs
from musclesense.training import checkpoints
from musclesense.training.datamodule import Batch
from musclesense.training.module import SegmentationModule
from musclesense.training.scoring import ScoredCase, score

MONITOR = "val_dice"
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


class Averaging(WeightAveraging):
    """An exponential moving average of the weights, which is validated, tested and kept in place of them.

    Statistics of batch normalisation are averaged along. The average begins short, over about a tenth of the steps so
    far, and grows to ``decay``: a fixed decay would remember the first random weights for thousands of steps.

    Source: Polyak and Juditsky 1992, doi:10.1137/0330046; the growing decay as in TensorFlow's
    ``ExponentialMovingAverage(num_updates=...)``.

    Args:
        decay: Of the average at each step, from 0 to below 1.
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


class BestEpoch(Callback):
    """``best.ckpt``: the weights of the epoch best on the validation cases so far, the first of equal ones.

    They are enough to use the network, not to go on. Which epoch is the best is read from the record of epochs, which
    lives in ``last.ckpt``, written after it.

    Args:
        folder: Of the checkpoints.
        history: Of the epochs; a callback before this one.
        averaging: Of the weights, where they are averaged.
    """

    def __init__(self, folder: CheckpointFolder, history: "History", averaging: Averaging | None) -> None:
        self._path = folder.best
        self._history = history
        self._averaging = averaging

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the weights where they are better than all before."""
        *earlier, score = (row[MONITOR] for row in self._history.rows)
        if score > max(earlier, default=-math.inf):
            _write_weights(self._path, trainer, pl_module, self._averaging)


class KeptEpochs(Callback):
    """``epoch-0009.ckpt``: the weights that were validated after an epoch, enough to use the network, not to go on.

    Args:
        folder: Of the checkpoints.
        every: Epochs from one to the next.
        averaging: Of the weights, where they are averaged.
    """

    def __init__(self, folder: CheckpointFolder, every: int, averaging: Averaging | None) -> None:
        self._folder = folder
        self._every = every
        self._averaging = averaging

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the weights where it is their turn."""
        epoch = trainer.current_epoch
        if (epoch + 1) % self._every == 0:
            _write_weights(self._folder.epoch(epoch), trainer, pl_module, self._averaging)


def _write_weights(path: Path, trainer: Trainer, module: LightningModule, averaging: Averaging | None) -> None:
    """Write the weights without the optimizer's state, which is twice their size for AdamW."""
    if not trainer.is_global_zero:
        return
    checkpoint = {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": module.state_dict() if averaging is None else averaging.weights(),
        module.CHECKPOINT_HYPER_PARAMS_KEY: dict(module.hparams),
    }
    module.on_save_checkpoint(checkpoint)
    checkpoints.save(checkpoint, path)


def last_epoch(folder: CheckpointFolder) -> ModelCheckpoint:
    """Keep the last epoch in ``last.ckpt``, with all that is needed to go on from it."""
    return ModelCheckpoint(
        folder.path,
        filename=folder.last.stem,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )


class History(Callback):
    """``metrics.csv``: one row an epoch. The rows live in the checkpoint, so that none is doubled by a resumption.

    ``learning_rate`` is that of the epoch's last step, ``seconds`` what training took up to the end of the epoch:
    validation and waiting among it, the time between an interruption and the resumption not.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._started = self._learning_rate = 0.0
        self.rows: list[dict[str, float]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Look at the learning rate while it is in use: the schedule goes on right after the step."""
        self._learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch that ends."""
        metrics = trainer.callback_metrics
        row: dict[str, float] = {"epoch": trainer.current_epoch}
        row |= {name: float(metrics[name]) for name in ("train_loss", "val_loss", "val_dice")}
        row["learning_rate"] = self._learning_rate
        row["seconds"] = round(time.monotonic() - self._started, 1)
        self.rows.append(row)
        if trainer.is_global_zero:
            write_epochs(self._folder, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Give the rows so far."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the run so far."""
        self.rows = list(state_dict["rows"])
        if self.rows:
            self._started -= self.rows[-1]["seconds"]


class TestFoldScores(Callback):
    """``cases.csv`` and ``overlays.npz``: every test case scored in scanner space.

    Args:
        folder: Of the run.
        cache: That the test batches come from.
        outer: Outer fold, written into each row.
        inner: Inner fold, likewise.
        column: The table's column of reference labels.
    """

    def __init__(self, folder: RunFolder, cache: SliceCache, *, outer: int, inner: int, column: str) -> None:
        self._folder = folder
        self._cache = cache
        self._outer = outer
        self._inner = inner
        self._column = column
        self.cases: list[ScoredCase] = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor,  # type: ignore[override]
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the cases of a batch."""
        assert isinstance(pl_module, SegmentationModule)
        for position, probabilities in zip(batch.case.tolist(), outputs.cpu().numpy(), strict=True):
            case = score(
                self._cache,
                position,
                probabilities,
                pl_module.spec,
                outer=self._outer,
                inner=self._inner,
                column=self._column,
            )
            self.cases.append(case)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the cases of all devices together, in the order of the cache, and write them."""
        if distributed.is_initialized():
            gathered: list[list[ScoredCase]] = [[] for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(gathered, self.cases)
            self.cases = [case for share in gathered for case in share]
        self.cases.sort(key=lambda case: case.position)
        if not trainer.is_global_zero:
            return
        write_cases(self._folder, [label for case in self.cases for label in case.scores])
        write_overlays(self._folder, [self._kept(case) for case in self.cases])

    def _kept(self, case: ScoredCase) -> KeptSlice:
        own = self._cache.cases[case.position]
        return KeptSlice(
            line=own.acquisition.line,
            slice=own.slice,
            image=case.image,
            truth=case.truth,
            prediction=case.prediction,
        )
