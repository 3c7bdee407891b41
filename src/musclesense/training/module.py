"""How a network is trained and judged, as a LightningModule."""

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from lightning import LightningModule
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from musclesense.errors import InputError, reason_of
from musclesense.networks import build, bundle
from musclesense.networks.card import usable
from musclesense.networks.registry import LOSS, OPTIMIZER, SCHEDULE, Kind, make, of_file
from musclesense.networks.spec import NetworkSpec
from musclesense.networks.torch_predictor import foreground
from musclesense.training.datamodule import Batch
from musclesense.training.loss import MeanDice


class SegmentationModule(LightningModule):
    """A segmentation network in training.

    All but the network's weights are plain values, so that checkpoints load with ``weights_only=True``.

    ``loss``, ``optimizer`` and ``schedule`` have a ``name`` of the kinds of `musclesense.networks.registry`, or a
    ``_target_``, and arguments. Without a schedule the optimizer's rate stays; without a network a new one is made.

    Raises:
        InputError: The network or the loss cannot be made.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        *,
        loss: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        schedule: Mapping[str, Any] | None = None,
        network: nn.Module | None = None,
    ) -> None:
        super().__init__()
        stored = {"spec": spec.to_config(), "loss": loss, "optimizer": optimizer, "schedule": schedule}
        self.save_hyperparameters(stored, logger=False)  # the logger has the whole configuration
        self.spec = spec
        self.network = build.build_network(spec) if network is None else network
        self.loss = make(LOSS, loss, "loss")
        self.val_dice = MeanDice(spec.labels.n_classes)
        self._optimizer, self._schedule = optimizer, schedule
        self._lost, self._seen = torch.zeros(()), 0  # in this epoch so far
        self.compiled: Callable[[Tensor], Tensor] | None = None
        """The network as training runs it, where that is another way than validation does."""

    @classmethod
    def load(cls, checkpoint: Path, classes: Collection[str] = ()) -> Self:
        """Load a checkpoint to test it, on the CPU.

        Args:
            checkpoint: The file.
            classes: Dotted names of classes of one's own that it may name.

        Raises:
            InputError: The file is missing, damaged or no checkpoint of this project.
        """
        trained = bundle.read_checkpoint(checkpoint, classes)
        with usable(checkpoint, "checkpoint", "give the best checkpoint of a run"):
            kinds: dict[str, Kind[Any]] = {"loss": LOSS, "optimizer": OPTIMIZER, "schedule": SCHEDULE}
            training = {key: of_file(kinds[key], own, key, classes) for key, own in trained.training.items()}
            return cls(trained.spec, network=trained.network, **training).eval()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say by which format the checkpoint is read."""
        checkpoint["format"] = self.spec.format

    def require_fit(self) -> None:
        """Refuse a network that does not turn images on the grid into a logit for each class, or a loss of no number.

        Raises:
            InputError: Says what it does instead.
        """
        build.require_fit(self.network, self.spec)
        try:
            loss = self.loss(torch.zeros(1, self.spec.classes, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))
            lost = float(loss) if loss.shape == () else math.nan
        except Exception as error:
            said = f"cannot be computed from logits and classes ({reason_of(error)})"
            raise InputError(f"loss: {said}; correct loss=...") from error
        if not math.isfinite(lost):
            raise InputError(f"loss: gives no finite number ({lost}); correct loss=... or its arguments")

    def forward(self, images: Tensor, network: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Map images (batch, channels, rows, columns) to logits (batch, 1 + classes, rows, columns)."""
        logits: Tensor = (network or self.network)(images.contiguous(memory_format=torch.channels_last))
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Give the probability of each foreground class, (batch, classes, rows, columns)."""
        mirror = self.spec.labels.mirror if self.spec.flip else None
        return foreground(self, images, scales=self.spec.scales, mirror=mirror)

    def training_step(self, batch: Batch) -> Tensor:
        """Give the loss of a training batch."""
        loss: Tensor = self.loss(self(batch.images, self.compiled), batch.classes)
        # Added up on the device and told once an epoch: `log` costs a small network's step a few parts in a hundred.
        self._lost = torch.add(self._lost.to(loss.device), loss.detach(), alpha=len(batch.case))
        self._seen += len(batch.case)
        if self.trainer.is_last_batch:
            mean = self._lost / self._seen
            self.log("train_loss", mean, on_step=False, on_epoch=True, batch_size=self._seen, sync_dist=True)
            self._lost, self._seen = torch.zeros_like(self._lost), 0
        return loss

    def on_validation_epoch_start(self) -> None:
        """Let all devices judge, and keep, one network: batch statistics are the mean over those they have run."""
        if distributed.is_initialized():
            for buffer in self.network.buffers():
                if buffer.is_floating_point():
                    distributed.all_reduce(buffer)
                    buffer /= distributed.get_world_size()

    def validation_step(self, batch: Batch) -> None:
        """Score a validation batch."""
        logits = self(batch.images)
        loss = self.loss(logits, batch.classes)
        self.log("val_loss", loss, batch_size=len(batch.case), sync_dist=True)
        probabilities = logits.float().softmax(dim=1)[:, 1:]
        there = probabilities.sum(dim=1) >= self.spec.threshold
        self.val_dice.update((probabilities.argmax(dim=1) + 1) * there, batch.classes, batch.possible)

    def on_validation_epoch_end(self) -> None:
        """Give the mean DSC over the validation cases, averaged over classes."""
        self.log("val_dice", self.val_dice.compute().nanmean().nan_to_num())
        self.val_dice.reset()

    def configure_optimizers(self) -> Any:
        """Make the optimizer, and the schedule over all steps of the training."""
        # Not `estimated_stepping_batches`: it starts to read batches before a resumed run knows its epoch.
        trainer: Any = self.trainer
        steps = len(trainer.datamodule.train_dataloader()) * trainer.max_epochs
        # Lightning cannot clip gradients that a fused optimizer is to unscale, which fp16 asks for.
        on_gpu, scaler = trainer.strategy.root_device.type == "cuda", getattr(trainer.precision_plugin, "scaler", None)
        optimizer, schedule = self.make_optimizer(steps, fused=on_gpu and scaler is None)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def make_optimizer(self, steps: int, *, fused: bool = False) -> tuple[Optimizer, LRScheduler | None]:
        """Make the optimizer, and the schedule over so many steps where there is one.

        ``fused``: one kernel steps all weights, if the optimizer has such a one and the configuration asks for no other
        way.

        Raises:
            InputError: They cannot be made with these arguments.
        """
        has_way = bool({"fused", "foreach", "differentiable"} & {*self._optimizer})
        known = self._optimizer.get("name") in OPTIMIZER.names
        way = {"fused": True} if fused and known and not has_way else {}
        optimizer = make(OPTIMIZER, self._optimizer, "optimizer", self.parameters(), **way)
        schedule = None
        if self._schedule is not None:
            schedule = make(SCHEDULE, self._schedule, "schedule", optimizer, total_steps=steps)
        for group in optimizer.param_groups:
            for name in ("lr", "initial_lr", "max_lr", "min_lr"):  # schedules keep theirs here, too
                if not 0 <= group.get(name, 0) < math.inf:
                    raise InputError(f"optimizer: {name}={group[name]} is no learning rate; give 0 or more")
        return optimizer, schedule
