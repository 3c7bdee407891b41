"""The network, what it minimises and how it is judged, as a LightningModule."""

import copy
import math
import pkgutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from lightning import LightningModule
from torch import Tensor, distributed, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from musclesense.errors import InputError
from musclesense.imaging.grid import Grid
from musclesense.imaging.labels import LabelSet
from musclesense.networks.augmented_inference import at_scale
from musclesense.networks.registry import FORMER_NAMES
from musclesense.storage.paths import require_file
from musclesense.training.datamodule import Batch
from musclesense.training.dice import MeanDice
from musclesense.vocabulary import CHANNELS, Region

_BASELINES = ("monai", "segmentation_models_pytorch", "timm", "torchvision")
"""Packages of the extra ``baselines`` that networks come from, and what these need."""
MOST_PARAMETERS = 2**28
"""A network of more is refused before memory is taken: 1 GiB, and four times as much in training."""
_KINDS: dict[type, str] = {nn.Module: "torch module", Optimizer: "optimizer", LRScheduler: "schedule"}
_Made = TypeVar("_Made", nn.Module, Optimizer, LRScheduler)


class SegmentationModule(LightningModule):
    """A segmentation network with all that is needed to use it on another scan.

    Arguments are plain mappings and lists, so that checkpoints load with ``weights_only=True``.

    Args:
        channels: Images that the network takes, in order.
        classes: Foreground classes, as for `LabelSet.from_config`.
        threshold: Foreground probability from which a pixel is segmented.
        grid: Arguments of `Grid`.
        regions: Regions that were trained on.
        mirrored: Give the mean of the probabilities over each image and its mirror.
        scales: Give the mean over the image at these sizes, relative to that on the grid.
        model: ``_target_`` and arguments of the network.
        loss: ``_target_`` and arguments of the loss.
        optimizer: ``factory`` and ``schedule``, as in the configuration.

    Raises:
        InputError: A value that no network can have, or a network that cannot be made.
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
        mirrored: bool = False,
        scales: Sequence[float] = (1.0,),
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # the logger has the whole configuration
        if not channels or len({*channels}) < len(channels) or not {*channels} <= {*CHANNELS}:
            raise InputError(f"channels={list(channels)}: give some of {', '.join(CHANNELS)}, each once")
        if not regions or not {*regions} <= {*Region}:
            raise InputError(f"region.regions={list(regions)}: give {' or '.join(Region)}, or both")
        if not 0 < threshold < 1:
            raise InputError(f"labels.threshold={threshold}: give a probability between 0 and 1")
        if not scales or not all(0.5 <= scale <= 2 for scale in scales):
            raise InputError(f"labels.scales={list(scales)}: give one or more, each from 0.5 to 2")
        self.channels = tuple(channels)
        self.labels = LabelSet.from_config(classes)
        self.threshold = threshold
        self.grid = Grid(**grid)
        self.regions = tuple(regions)
        self.mirrored = mirrored
        self.scales = tuple(scales)
        network = _make(nn.Module, model, "model", in_channels=len(channels), out_channels=self.labels.n_classes + 1)
        # Channels beside each other in memory are what fast convolutions read, in mixed precision above all.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = _make(nn.Module, loss, "loss")
        self.val_dice = MeanDice(self.labels.n_classes)
        self._optimizer = optimizer
        self._lost, self._seen = torch.zeros(()), 0  # in this epoch so far
        self.compiled: Callable[[Tensor], Tensor] | None = None
        """The network as training runs it, where that is another way than validation does."""

    @classmethod
    def load(cls, checkpoint: Path) -> Self:
        """Load a checkpoint for use, on the CPU and ready to predict.

        Raises:
            InputError: The file is missing, damaged or no checkpoint of this project.
        """
        try:
            content = _read_checkpoint(checkpoint)
            module = cls(**content["hyper_parameters"])
            weights = content["state_dict"]
            strange = [name for name, tensor in weights.items() if not _is_sound(tensor)]
            if strange:
                raise InputError(f"{strange[0]} holds no finite real numbers")
            module.load_state_dict(weights)
            module.require_fit()
        except Exception as error:  # torch raises many kinds for a damaged file
            reason = " ".join(str(error).removeprefix(f"{checkpoint}: ").split())[:200] or type(error).__name__
            raise InputError(
                f"{checkpoint}: not a usable checkpoint ({reason}); give the best checkpoint of a run"
            ) from error
        return module.eval()

    def require_fit(self) -> None:
        """Refuse a network that does not turn images on the grid into a logit for each class, or a loss of no number.

        Of the network only shapes are computed, which takes neither time nor memory.

        Raises:
            InputError: Says what it does instead.
        """
        shape = (1, len(self.channels), self.grid.rows, self.grid.columns)
        wanted = (1, self.labels.n_classes + 1, *shape[2:])
        tensors = chain(self.network.parameters(), self.network.buffers())
        shapes = {id(tensor): torch.empty_like(tensor, device="meta") for tensor in tensors}
        try:
            # Not torch.func.functional_call, which leaves modules that have two names without their weights.
            twin = copy.deepcopy(self.network, shapes).eval()
            logits = twin(torch.empty(shape, device="meta"))
        except NotImplementedError:
            return  # shapes that depend on values are seen when there are values
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InputError(f"model: takes no images of shape {shape} ({reason}); correct model=...") from error
        made = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if made != wanted:
            raise InputError(f"model: gives {made} for an image, not {wanted}; correct model=...")
        try:
            loss = self.loss(torch.zeros(1, wanted[1], 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))
            lost = float(loss) if loss.shape == () else math.nan
        except Exception as error:
            reason = " ".join(str(error).split())
            raise InputError(f"loss: takes no logits and classes ({reason}); correct loss=...") from error
        if not math.isfinite(lost):
            raise InputError(f"loss: gives no finite number ({lost}); correct loss=... or its arguments")

    def forward(self, images: Tensor, network: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Map images (batch, channels, rows, columns) to logits (batch, 1 + classes, rows, columns)."""
        logits: Tensor = (network or self.network)(images.contiguous(memory_format=torch.channels_last))
        return logits

    def probabilities(self, images: Tensor) -> Tensor:
        """Give the probability of each foreground class, (batch, classes, rows, columns): the mean over all views."""
        views = [at_scale(self._foreground, images, scale) for scale in self.scales]
        return torch.stack(views).mean(dim=0)

    def _foreground(self, images: Tensor) -> Tensor:
        foreground: Tensor = self(images).float().softmax(dim=1)[:, 1:]
        if self.mirrored:
            other: Tensor = self(images.flip(-1)).float().softmax(dim=1)[:, self.labels.mirror[1:]]
            foreground = (foreground + other.flip(-1)) / 2
        return foreground

    def training_step(self, batch: Batch) -> Tensor:
        """Give the loss of a batch of D3."""
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
        # Not `estimated_stepping_batches`: it starts to read batches before a resumed run knows its epoch.
        trainer: Any = self.trainer
        optimizer, schedule = self.make_optimizer(len(trainer.datamodule.train_dataloader()) * trainer.max_epochs)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def make_optimizer(self, steps: int) -> tuple[Optimizer, LRScheduler | None]:
        """Make the optimizer, and the schedule over so many steps where there is one.

        Raises:
            InputError: They cannot be made with these arguments.
        """
        optimizer = _make(Optimizer, self._optimizer["factory"], "optimizer.factory", self.parameters())
        schedule = self._optimizer["schedule"]
        made = None
        if schedule is not None:
            made = _make(LRScheduler, schedule, "optimizer.schedule", optimizer, total_steps=steps)
        for group in optimizer.param_groups:
            for name in ("lr", "initial_lr", "max_lr", "min_lr"):  # schedules keep theirs here, too
                if not 0 <= group.get(name, 0) < math.inf:
                    raise InputError(f"optimizer: {name}={group[name]} is no learning rate; give 0 or more")
        return optimizer, made


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as Lightning writes it: an archive of uncompressed entries, whose size is therefore known."""
    require_file(path)
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise InputError("its entries are compressed")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not {"hyper_parameters", "state_dict"} <= content.keys():
        raise InputError("no weights or no description of the network")
    return content


def _is_sound(value: Any) -> bool:
    return isinstance(value, Tensor) and (not value.is_complex()) and bool(value.isfinite().all())


def _make(kind: type[_Made], config: Mapping[str, Any], name: str, *given: Any, **arguments: Any) -> _Made:
    """Build an object of one kind by ``_target_``; nothing else is called, whatever a file may name at any depth."""
    target = str(config.get("_target_")) if isinstance(config, Mapping) else str(config)
    try:
        if target.partition(".")[0] in sys.stdlib_module_names:  # some do things when they are imported
            raise InputError(_no_kind(kind, name, target))
        made = pkgutil.resolve_name(FORMER_NAMES.get(target, target))
        if not isinstance(made, type) or not issubclass(made, kind):
            raise InputError(_no_kind(kind, name, target))
        # What begins with an underscore speaks to Hydra.
        arguments = {key: value for key, value in config.items() if not str(key).startswith("_")} | arguments
        if kind is nn.Module and (size := _parameters(made, arguments)) > MOST_PARAMETERS:
            raise InputError(f"{name}: {size} parameters are too many for any machine; correct {name}=...")
        return made(*given, **arguments)
    except InputError:
        raise
    except Exception as error:
        if package := _absent_baseline(error):
            raise InputError(
                f"{name}: {target} needs {package}; pip install 'musclesense[baselines]', or choose another {name}"
            ) from error
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: {target} cannot be made ({reason}); correct {name}=... or its arguments") from error


def _absent_baseline(error: BaseException | None) -> str | None:
    """Name the optional package whose absence is behind an error, or None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name in _BASELINES:
            return error.name
        error = error.__cause__ or error.__context__
    return None


def _no_kind(kind: type, name: str, target: str) -> str:
    return (
        f"{name}._target_={target} is no {_KINDS[kind]}; "
        f"name a class derived from {kind.__module__.removesuffix('.modules.module')}.{kind.__name__}"
    )


def _parameters(made: type, arguments: Mapping[str, Any]) -> int:
    """Count the parameters of a network without taking memory for them; 0 where that cannot be done."""
    try:
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in made(**arguments).parameters())
    except InputError:
        raise
    except Exception:  # it will be said by the network itself
        return 0
