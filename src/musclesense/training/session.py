"""All that trains a run in one process: module, data, callbacks and Lightning's trainer, made and not yet begun."""

import logging
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback

from musclesense.errors import InputError, reason_of
from musclesense.messages import log
from musclesense.networks.bundle import read_checkpoint
from musclesense.networks.shipped import place_of
from musclesense.networks.spec import NetworkSpec
from musclesense.networks.torch_predictor import TorchPredictor
from musclesense.training import checkpoints, inputs
from musclesense.training.callbacks import Averaging, EarlyStop, StepSeed
from musclesense.training.checkpoints import KeptWeights, LastState, Pace
from musclesense.training.datamodule import NestedFoldDataModule
from musclesense.training.machine import compilation, devices
from musclesense.training.machine.hardware import Hardware, choose
from musclesense.training.module import SegmentationModule
from musclesense.training.pretrained import Begun, begin_with
from musclesense.training.record import MONITOR, History, mean_scores, test_fold
from musclesense.training.settings import Settings
from musclesense.training.watch.progress import RunBar

if TYPE_CHECKING:
    from musclesense.training.watch.tracking import Dashboard

Scores = dict[str, float]


@dataclass(frozen=True, eq=False)
class Session:
    """All that trains a run in this process, made and not yet begun.

    ``compiled``: whether its steps are to run the network by torch.compile. ``begun``: with whose weights it begins.
    """

    settings: Settings
    hardware: Hardware
    compiled: bool
    module: SegmentationModule
    datamodule: NestedFoldDataModule
    trainer: Trainer
    history: History
    begun: Begun | None

    def fit(self) -> None:
        """Train to the end, from the last epoch if there is one."""
        last, synthesis = checkpoints.to_go_on_from(self.settings.run.checkpoints), self.settings.synthesis
        epochs, here = self.settings.config.trainer.max_epochs, self.trainer.is_global_zero
        with nullcontext() if synthesis is None else synthesis.running_workers(epochs, here=here):
            self.trainer.fit(self.module, datamodule=self.datamodule, ckpt_path=last, weights_only=True)

    @property
    def best_row(self) -> dict[str, float]:
        """The epoch that was best on the validation cases, as ``metrics.csv`` has it."""
        return max(self.history.rows, key=lambda row: row[MONITOR])

    def test_best(self, logger: "Dashboard | None") -> tuple[Scores, float]:
        """Test the epoch that was best on the validation cases, and give its scores and its number."""
        path = self.settings.run.checkpoints.best
        best_epoch = self.best_row["epoch"]
        kept = next(callback for callback in self.trainer.callbacks if isinstance(callback, KeptWeights))  # type: ignore[attr-defined]
        checkpoints.require_best(path, epoch=int(best_epoch), digest=kept.best)
        best = read_checkpoint(path, self.settings.classes)
        predictor = TorchPredictor(best.network, best.spec, str(self.trainer.strategy.root_device))
        cases = test_fold(predictor, self.datamodule.cache, self.datamodule.test_cases, self.settings)
        scores = mean_scores(cases)
        if logger is not None:
            overlays = self.settings.config.logger.overlays
            logger.log_test(scores, cases, labels=best.spec.labels, overlays=overlays)
        return scores, best_epoch


def set_up(settings: Settings, data: inputs.Inputs, own: tuple[int, ...], logger: "Dashboard | None") -> Session:
    """Make all that trains a run in this process, on its ``own`` devices; the process is seeded.

    Raises:
        InputError: The network cannot be made, or cannot begin with those weights, a part holds no case, or the devices
            cannot share a batch.
    """
    _quieten_lightning()
    # Deterministic kernels are asked for on a GPU. Filling all new memory beside that took an eighth of a step there.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    config = settings.config
    seed = int(np.random.SeedSequence([config.seed, config.outer, config.inner]).generate_state(1)[0])
    lightning.seed_everything(seed, workers=True, verbose=False)
    hardware = choose(config.trainer)
    module = make_module(settings, data.spec)
    begun = _pretrain(module, settings)
    batch_size = devices.share_of(config.loader.batch_size, len(own))
    on_cuda = hardware.accelerator == "cuda"
    datamodule = NestedFoldDataModule(
        data.slices, data.split, settings, batch_size=batch_size, seed=seed, pin_memory=on_cuda, devices=len(own)
    )
    history = History(settings.run)
    bar = RunBar(settings.run.name, config.trainer.max_epochs)
    callbacks = [StepSeed(seed), history, bar, *_keeping(settings, history)]
    callbacks += [logger] if logger else []
    cases = len(datamodule.train_dataloader()) * batch_size
    compiled = compilation.wanted(config.trainer, hardware, cases=cases, devices=len(own))
    if compiled:
        callbacks.append(compilation.Compilation(batch_size))
    trainer = make_trainer(settings, hardware, own, callbacks)
    return Session(settings, hardware, compiled, module, datamodule, trainer, history, begun)


def _keeping(settings: Settings, history: History) -> list[Callback]:
    """Make what averages, keeps and stops, in this order."""
    config, folder = settings.config, settings.run.checkpoints
    averaging = None if config.averaging.decay is None else Averaging(config.averaging.decay)
    pace = Pace(config.checkpoints.every_seconds)
    return [
        *([averaging] if averaging else []),
        EarlyStop(patience=config.early_stopping.patience, min_delta=config.early_stopping.min_delta),
        pace,
        KeptWeights(folder, history, pace, every=config.checkpoints.keep_every, averaging=averaging),
        LastState(folder, pace),
    ]


def make_trainer(settings: Settings, hardware: Hardware, own: tuple[int, ...], callbacks: list[Callback]) -> Trainer:
    """Make Lightning's trainer of a run on these devices.

    Raises:
        InputError: Lightning takes no such arguments.
    """
    asked = settings.config.trainer
    arguments: dict[str, Any] = dict(
        accelerator=hardware.accelerator,
        devices=list(own) if hardware.accelerator == "cuda" else len(own),
        strategy=asked.strategy if len(own) > 1 else "auto",
        sync_batchnorm=len(own) > 1 and hardware.accelerator == "cuda",  # PyTorch has none for a CPU
        precision=hardware.precision,
        max_epochs=asked.max_epochs,
        gradient_clip_val=asked.gradient_clip_val,
        logger=False,
        callbacks=callbacks,
        plugins=[
            checkpoints.WholeCheckpoints(),
            # One process a run or those of `devices`, whatever queue started it. So Lightning leaves requeueing to the
            # launcher, too: it would save in the middle of an epoch, and go on from there.
            LightningEnvironment(),
        ],
        default_root_dir=settings.run.path,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        # A resumed run ends as an uninterrupted one on a GPU, too, as far as its kernels allow.
        deterministic="warn" if hardware.accelerator == "cuda" else None,
    )
    try:
        return Trainer(**arguments | asked.lightning)
    except (MisconfigurationException, TypeError, ValueError) as error:
        if not asked.lightning:
            raise
        raise InputError(f"trainer.lightning={asked.lightning}: {reason_of(error)}; correct the arguments") from error


def require_trainable(settings: Settings) -> None:
    """Refuse a network, loss, optimizer, schedule or arguments of Lightning's with which no run could train.

    Raises:
        InputError: Says which, and why.
    """
    module, asked = make_module(settings), settings.config.trainer
    if (begun := _pretrain(module, settings)) and begun.new:
        log.info(f"pretrained={settings.config.pretrained}: all weights but {', '.join(begun.new)}")
    module.require_fit()
    module.make_optimizer(steps=asked.max_epochs)
    if asked.lightning:
        make_trainer(settings, Hardware("cpu", "32-true", "alone to see what Lightning takes"), (0,), [])


def open_dashboard(settings: Settings) -> "Dashboard | None":
    """Open the run in wandb, where that is on; without the package the run does without."""
    if settings.config.logger.name == "none":
        return None
    try:
        from musclesense.training.watch import tracking
    except ModuleNotFoundError as error:
        log.warning(f"wandb: needs the package {error.name}; pip install {error.name}, or give logger=none")
        return None
    return tracking.start(settings)


def _quieten_lightning() -> None:
    """Leave out what Lightning says of itself at every run; errors still come through."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")


def make_module(settings: Settings, spec: NetworkSpec | None = None) -> SegmentationModule:
    """Make the untrained network of a run, from a ``spec`` where more is known of it than the settings tell.

    Raises:
        InputError: The network cannot be made with these arguments.
    """
    config = settings.config
    return SegmentationModule(
        spec or settings.spec, loss=config.loss, optimizer=config.optimizer, schedule=config.schedule
    )


def _pretrain(module: SegmentationModule, settings: Settings) -> Begun | None:
    """Let the network begin with the weights of another, where that is asked for."""
    model = settings.config.pretrained
    return None if model is None else begin_with(module.network, place_of(model), settings.classes)
