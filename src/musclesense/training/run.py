"""One run: train on D3, validate on D4, test the best epoch on D2."""

import logging
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import numpy as np
import torch
from lightning import Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback, LearningRateMonitor

from musclesense.imaging.frame import reference_channel
from musclesense.networks.spec import NetworkSpec
from musclesense.storage.locks import locked
from musclesense.studies.layout import CheckpointFolder, RunFolder
from musclesense.studies.reading import read_done
from musclesense.studies.writing import begin_run, write_done
from musclesense.training import checkpoints, inputs
from musclesense.training.callbacks import (
    Averaging,
    BestEpoch,
    EarlyStop,
    History,
    KeptEpochs,
    StepSeed,
    TestFoldScores,
    last_epoch,
)
from musclesense.training.config import Config, active_channels
from musclesense.training.datamodule import NestedFoldDataModule
from musclesense.training.folders import is_finished, require_same_study, run_folder, run_name, to_plain
from musclesense.training.machine import compilation, devices
from musclesense.training.machine.hardware import Hardware, choose
from musclesense.training.module import SegmentationModule
from musclesense.training.scoring import ScoredCase
from musclesense.training.watch.progress import Epochs, RunBar
from musclesense.version import __version__

if TYPE_CHECKING:
    from musclesense.training.watch.tracking import Logger

Scores = dict[str, float]


def train(config: Config) -> Scores:
    """Train and test one run, unless it is finished; go on from its last epoch where it was interrupted.

    Returns:
        Mean DSC over the cases of D2: ``dice``, and by region, such as ``dice_calf``.

    Raises:
        InputError: The configuration or the cohort cannot be used.
        RuntimeError: A process failed, of those that train a run on several devices.
    """
    folder = run_folder(config)
    require_same_study(config)
    if not is_finished(folder):
        inputs.check(config)
        data = inputs.prepare(config)
        with locked(folder):
            if not is_finished(folder):  # a second sweep on the same study has waited here
                _begin(config, folder)
                with devices.held(config.trainer.devices, choose(config.trainer).accelerator) as own:
                    if len(own) == 1:
                        _train(config, folder, data, own)
                    else:
                        _train_together(config, folder, own)
    scores: Scores = read_done(RunFolder(folder))["scores"]
    return scores


def make_module(config: Config, placed_by: str | None = None) -> SegmentationModule:
    """Make the untrained network of a configuration.

    Args:
        config: Of the run.
        placed_by: The image by which the slices of the cohort are placed; None, where they do not matter yet: one of
            the network's own channels.

    Raises:
        InputError: The network cannot be made with these arguments.
    """
    plain, channels = to_plain(config), active_channels(config)
    spec = NetworkSpec(
        channels=channels,
        placed_by=placed_by or reference_channel(channels),
        labels=inputs.labels(config),
        grid=inputs.grid(config),
        regions=tuple(plain["region"]["regions"]),
        network=plain["model"],
        threshold=plain["labels"]["threshold"],
        flip=plain["labels"]["mirrored"],
        scales=tuple(plain["labels"]["scales"]),
    )
    optimizer = plain["optimizer"]
    return SegmentationModule(spec, loss=plain["loss"], optimizer=optimizer["factory"], schedule=optimizer["schedule"])


def _begin(config: Config, folder: Path) -> None:
    begin_run(RunFolder(folder), to_plain(config))


def _train_together(config: Config, folder: Path, own: tuple[int, ...]) -> None:
    """Train with a process for each device, and show how far they are from what they write."""
    epochs = _epochs(config)
    checkpoints.to_go_on_from(
        RunFolder(folder).checkpoints
    )  # removes damaged ones before the processes look, all at once
    try:
        devices.train_in_step(
            _as_rank,
            (config, folder, own),
            devices=len(own),
            look=lambda: epochs.follow(RunFolder(folder).metrics),
        )
    finally:
        epochs.close()


def _as_rank(rank: int, config: Config, folder: Path, own: tuple[int, ...]) -> None:
    _train(config, folder, inputs.prepare(config), own, first=rank == 0)


def _train(config: Config, folder: Path, data: inputs.Inputs, own: tuple[int, ...], *, first: bool = True) -> None:
    """Train and test in this process, on one of the run's devices; the ``first`` one keeps the record."""
    started = time.monotonic()
    logger = open_dashboard(config) if first else None
    failed = True
    try:
        session = set_up(config, folder, data, own, logger)
        session.fit()
        rows, path = session.history.rows, session.checkpoints.best
        best_epoch = max(rows, key=lambda row: row["val_dice"])["epoch"]
        checkpoints.require_best(path, epoch=int(best_epoch))
        best = SegmentationModule.load(path)
        session.trainer.test(best, datamodule=session.datamodule, verbose=False)
        cases = session.test.cases
        scores = _scores(cases)
        if logger is not None:
            logger.log_test(scores, cases, labels=best.spec.labels, overlays=config.logger.overlays)
        if first:
            content: dict[str, Any] = {
                "scores": scores,
                "best_epoch": best_epoch,
                "epochs": len(rows),
                "seconds": round(time.monotonic() - started, 1),
                "accelerator": session.hardware.accelerator,
                "devices": len(own),
                "threads": torch.get_num_threads(),
                "precision": session.hardware.precision,
                "compiled": session.compiled,
                "versions": {
                    "musclesense": __version__,
                    "torch": torch.__version__,
                    "lightning": lightning.__version__,
                },
            }
            session.checkpoints.previous.unlink(missing_ok=True)
            write_done(RunFolder(folder), outer=config.outer, inner=config.inner, **content)
        failed = False
    finally:
        if logger is not None:
            logger.finish(failed=failed)


@dataclass(frozen=True, eq=False)
class Session:
    """All that trains a run in this process, made and not yet begun.

    Attributes:
        config: Of the run.
        folder: Of the run.
        data: What it works on.
        hardware: What it trains with.
        compiled: Whether its steps are to run the network by torch.compile.
        module: The network, untrained.
        datamodule: Its batches.
        trainer: With every callback.
        history: Of the epochs.
        test: Scores of D2.
    """

    config: Config
    folder: Path
    data: inputs.Inputs
    hardware: Hardware
    compiled: bool
    module: SegmentationModule
    datamodule: NestedFoldDataModule
    trainer: Trainer
    history: History
    test: TestFoldScores

    @property
    def checkpoints(self) -> CheckpointFolder:
        """The folder of the run's checkpoints."""
        return RunFolder(self.folder).checkpoints

    def fit(self) -> None:
        """Train to the end, from the last epoch if there is one."""
        last = checkpoints.to_go_on_from(self.checkpoints)
        with _synthetic_slices(self.config, self.data, here=self.trainer.is_global_zero):
            self.trainer.fit(self.module, datamodule=self.datamodule, ckpt_path=last, weights_only=True)


def set_up(config: Config, folder: Path, data: inputs.Inputs, own: tuple[int, ...], logger: "Logger | None") -> Session:
    """Make all that trains a run in this process, which is seeded.

    Args:
        config: Of the run.
        folder: Of the run.
        data: What it works on.
        own: The run's devices, from ``devices.held``.
        logger: An open run of wandb.

    Raises:
        InputError: The network cannot be made, a part holds no case, or the devices cannot share a batch.
    """
    _quieten_lightning()
    # Deterministic kernels are asked for on a GPU. Filling all new memory beside that took an eighth of a step there.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    seed = int(np.random.SeedSequence([config.seed, config.outer, config.inner]).generate_state(1)[0])
    lightning.seed_everything(seed, workers=True, verbose=False)
    hardware = choose(config.trainer)
    module = make_module(config, data.slices.frame(inputs.grid(config)).placed_by)
    batch_size = devices.share_of(config.loader.batch_size, len(own))
    datamodule = NestedFoldDataModule(
        data.slices,
        data.split,
        channels=active_channels(config),
        labels=inputs.labels(config),
        augmentation=inputs.augmentation(config),
        batch_size=batch_size,
        devices=len(own),
        workers=config.loader.workers,
        seed=seed,
        overfit_cases=config.loader.overfit_cases,
        pin_memory=hardware.accelerator == "cuda",
        synthesis=data.synthesis,
    )
    history = History(RunFolder(folder))
    test = TestFoldScores(
        RunFolder(folder), data.slices, outer=config.outer, inner=config.inner, column=config.labels.column
    )
    callbacks: list[Callback] = [StepSeed(seed), history, test, RunBar(_epochs(config))]
    callbacks += _keeping(config, RunFolder(folder).checkpoints, history)
    cases = len(datamodule.train_dataloader()) * batch_size
    compiled = compilation.wanted(config.trainer, hardware, cases=cases, devices=len(own))
    if compiled:
        callbacks.append(compilation.Compilation(batch_size))
    trainer = _trainer(config, hardware, own, folder, logger, callbacks)
    return Session(config, folder, data, hardware, compiled, module, datamodule, trainer, history, test)


def _synthetic_slices(config: Config, data: inputs.Inputs, *, here: bool) -> AbstractContextManager[None]:
    """Make synthetic slices during the block, where the configuration asks for them."""
    if data.synthesis is None:
        return nullcontext()
    return data.synthesis.running_workers(config.trainer.max_epochs, here=here)


def _keeping(config: Config, folder: CheckpointFolder, history: History) -> list[Callback]:
    """Make what averages, keeps and stops, in this order."""
    chosen = config.callbacks
    averaging = None if chosen.averaging is None else Averaging(chosen.averaging)
    return [
        *([averaging] if averaging else []),
        *([KeptEpochs(folder, chosen.keep_every, averaging)] if chosen.keep_every else []),
        BestEpoch(folder, history, averaging),
        EarlyStop(patience=chosen.patience, min_delta=chosen.min_delta),
        last_epoch(folder),
    ]


def _trainer(
    config: Config,
    hardware: Hardware,
    own: tuple[int, ...],
    folder: Path,
    logger: "Logger | None",
    callbacks: list[Callback],
) -> Trainer:
    if logger is not None:
        callbacks.append(LearningRateMonitor(logging_interval="epoch"))
    return Trainer(
        accelerator=hardware.accelerator,
        devices=list(own) if hardware.accelerator == "cuda" else len(own),
        strategy=config.trainer.strategy if len(own) > 1 else "auto",
        sync_batchnorm=len(own) > 1 and hardware.accelerator == "cuda",  # PyTorch has none for a CPU
        precision=hardware.precision,  # type: ignore[arg-type]
        max_epochs=config.trainer.max_epochs,
        gradient_clip_val=config.trainer.gradient_clip_val,
        logger=logger or False,
        callbacks=callbacks,
        plugins=[
            checkpoints.WholeCheckpoints(),
            # One process a run or those of `devices`, whatever queue started it. So Lightning leaves requeueing to the
            # launcher, too: it would save in the middle of an epoch, and go on from there.
            LightningEnvironment(),
        ],
        default_root_dir=folder,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_progress_bar=False,
        enable_model_summary=False,
        # A resumed run ends as an uninterrupted one on a GPU, too, as far as its kernels allow.
        deterministic="warn" if hardware.accelerator == "cuda" else None,
    )


def open_dashboard(config: Config) -> "Logger | None":
    """Open the run in wandb, where that is on."""
    if config.logger.name == "none":
        return None
    from musclesense.training.watch import tracking

    return tracking.start(config)


def _epochs(config: Config) -> Epochs:
    return Epochs(run_name(config), config.trainer.max_epochs)


def _scores(cases: list[ScoredCase]) -> Scores:
    """Give the mean DSC over cases and classes, in all and by region; undefined ones do not count."""
    defined = [(label.region, label.dice) for case in cases for label in case.scores if label.dice is not None]
    names = {"dice": [dice for _, dice in defined]}
    for region in sorted({region for region, _ in defined}):
        names[f"dice_{region}"] = [dice for own, dice in defined if own == region]
    return {name: float(np.mean(dice)) for name, dice in names.items() if dice}


def _quieten_lightning() -> None:
    """Leave out what Lightning says of itself at every run; errors still come through."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
