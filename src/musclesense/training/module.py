"""The network, what it minimises and how it is judged, as a LightningModule."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import hydra.utils
import torch
from lightning import LightningModule
from torch import Tensor, nn

from musclesense.errors import InputError
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.training.datamodule import Batch
from musclesense.training.dice import MeanDice

_PEERS = ("monai", "segmentation_models_pytorch", "timm", "torchvision")
"""Packages of the extra ``peers`` that networks come from, and what these need."""


class SegmentationModule(LightningModule):
    """A segmentation network with all that is needed to use it on another scan.

    Arguments are plain mappings and lists, so that checkpoints load with ``weights_only=True``.

    Args:
        channels: Images that the network takes, in order.
        classes: Foreground classes, as for `LabelSet.from_config`.
        threshold: Foreground probability from which a pixel is segmented.
        grid: Arguments of `Grid`.
        regions: Regions that were trained on.
        model: ``_target_`` and arguments of the network.
        loss: ``_target_`` and arguments of the loss.
        optimizer: ``factory`` and ``schedule``, as in the configuration.
    """

    def __init__(
        self,
        *,
        channels: list[str],
        classes: dict[str, list[int]],
        threshold: float,
        grid: dict[str, Any],
        regions: list[str],
        model: dict[str, Any],
        loss: dict[str, Any],
        optimizer: dict[str, Any],
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # the logger has the whole configuration
        self.channels = tuple(channels)
        self.labels = LabelSet.from_config(classes)
        self.threshold = threshold
        self.grid = Grid(**grid)
        self.regions = tuple(regions)
        network = _make(model, "model", in_channels=len(channels), out_channels=self.labels.n_classes + 1)
        # Channels beside each other in memory are what fast convolutions read, in mixed precision above all.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = _make(loss, "loss")
        self.val_dice = MeanDice(self.labels.n_classes)
        self._optimizer = optimizer

    @classmethod
    def load(cls, checkpoint: Path) -> Self:
        """Load a checkpoint for use, on the CPU and ready to predict.

        Raises:
            InputError: The file is missing, damaged or no checkpoint of this project.
        """
        try:
            module = cls.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
        except InputError:
            raise
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{checkpoint}: not a usable checkpoint ({reason}); give a best.ckpt of a run") from error
        return module.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, rows, columns) to logits (batch, 1 + classes, rows, columns)."""
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Give the probability of each foreground class, (batch, classes, rows, columns)."""
        foreground: Tensor = self(images).float().softmax(dim=1)[:, 1:]
        return foreground

    def training_step(self, batch: Batch) -> Tensor:
        """Give the loss of a batch of D3."""
        loss: Tensor = self.loss(self(batch.images), batch.classes)
        self.log("train_loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.case), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch) -> None:
        """Score a batch of D4."""
        logits = self(batch.images)
        loss = self.loss(logits, batch.classes)
        self.log("val_loss", loss, batch_size=len(batch.case), sync_dist=True)
        probabilities = logits.float().softmax(dim=1)[:, 1:]
        foreground = probabilities.sum(dim=1) >= self.threshold
        self.val_dice.update((probabilities.argmax(dim=1) + 1) * foreground, batch.classes, batch.possible)

    def on_validation_epoch_end(self) -> None:
        """Give the mean DSC over D4, averaged over classes."""
        self.log("val_dice", self.val_dice.compute().nanmean().nan_to_num())
        self.val_dice.reset()

    def test_step(self, batch: Batch) -> Tensor:
        """Give the probabilities of a batch of D2; a callback scores them in scanner space."""
        return self.probabilities(batch.images)

    def configure_optimizers(self) -> Any:
        """Make the optimizer, and the schedule over all steps of the training."""
        optimizer = hydra.utils.instantiate(self._optimizer["factory"])(self.parameters())
        schedule = self._optimizer["schedule"]
        if schedule is None:
            return optimizer
        # Not `estimated_stepping_batches`: it starts to read batches before a resumed run knows its epoch.
        trainer: Any = self.trainer
        steps = len(trainer.datamodule.train_dataloader()) * trainer.max_epochs
        scheduler = hydra.utils.instantiate(schedule)(optimizer, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _make(config: Mapping[str, Any], name: str, **arguments: Any) -> nn.Module:
    """Build a module by ``_target_``; nothing else is called, whatever a checkpoint may name at any depth."""
    target = config.get("_target_")
    try:
        made = hydra.utils.get_class(str(target))
        if not issubclass(made, nn.Module):
            raise InputError(f"{name}._target_={target} is no torch module; name a class derived from torch.nn.Module")
        module: nn.Module = made(**{key: value for key, value in config.items() if key != "_target_"}, **arguments)
        return module
    except InputError:
        raise
    except Exception as error:
        if package := _absent_peer(error):
            raise InputError(
                f"{name}: {target} needs {package}; pip install 'musclesense[peers]', or choose another {name}"
            ) from error
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: {target} cannot be made ({reason}); correct {name}=... or its arguments") from error


def _absent_peer(error: BaseException | None) -> str | None:
    """Name the optional package whose absence is behind an error, or None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name in _PEERS:
            return error.name
        error = error.__cause__ or error.__context__
    return None
