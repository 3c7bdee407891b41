"""One run: train on D3, validate on D4, test the best epoch on D2."""

import json
import logging
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
import yaml
from lightning import Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.utilities import rank_zero_only

from musclesense import __version__
from musclesense.files import locked, write_json, write_text
from musclesense.training import checkpoints, inputs, tracking
from musclesense.training.callbacks import (
    Averaging,
    EarlyStop,
    History,
    KeptEpochs,
    StepSeed,
    TestFoldScores,
    best_and_last,
)
from musclesense.training.config import Config, active_channels
from musclesense.training.datamodule import NestedFoldDataModule
from musclesense.training.folders import (
    forget_failure,
    is_finished,
    require_same_study,
    run_folder,
    run_name,
    to_plain,
)
from musclesense.training.hardware import Hardware, choose
from musclesense.training.module import SegmentationModule
from musclesense.training.progress import RunBar
from musclesense.training.scoring import ScoredCase

Scores = dict[str, float]


def train(config: Config) -> Scores:
    """Train and test one run, unless it is finished; go on from its last epoch where it was interrupted.

    Returns:
        Mean DSC over the cases of D2: ``dice``, and by region, such as ``dice_calf``.

    Raises:
        InputError: The configuration or the cohort cannot be used.
    """
    folder = run_folder(config)
    require_same_study(config)
    if not is_finished(folder):
        inputs.check(config)
        data = inputs.prepare(config)
        # A second sweep on the same study waits here, and finds the run finished; further devices of this one do not.
        with locked(folder) if getattr(rank_zero_only, "rank", 0) == 0 else nullcontext():
            if not is_finished(folder):
                return _train(config, folder, data)
    scores: Scores = json.loads((folder / "done.json").read_text(encoding="utf-8"))["scores"]
    return scores


def make_module(config: Config) -> SegmentationModule:
    """Make the untrained network of a configuration.

    Raises:
        InputError: The network cannot be made with these arguments.
    """
    plain = to_plain(config)
    return SegmentationModule(
        channels=list(active_channels(config)),
        classes=plain["labels"]["classes"],
        threshold=plain["labels"]["threshold"],
        grid=plain["grid"],
        regions=plain["region"]["regions"],
        model=plain["model"],
        loss=plain["loss"],
        optimizer=plain["optimizer"],
    )


def _train(config: Config, folder: Path, data: inputs.Inputs) -> Scores:
    started = time.monotonic()
    _quieten_lightning()
    folder.mkdir(parents=True, exist_ok=True)
    forget_failure(config)
    write_text(folder / "config.yaml", yaml.safe_dump(to_plain(config), sort_keys=False))
    seed = int(np.random.SeedSequence([config.seed, config.outer, config.inner]).generate_state(1)[0])
    hardware = choose(config.trainer)
    lightning.seed_everything(seed, workers=True, verbose=False)
    logger = tracking.start(config)
    failed = True
    try:
        module = make_module(config)
        datamodule = _datamodule(config, data, seed, hardware)
        history = History(folder / "metrics.csv")
        fold = {"outer": config.outer, "inner": config.inner}
        test = TestFoldScores(folder, data.slices, fold, config.labels.column)
        trainer = _trainer(config, hardware, folder, logger, [StepSeed(seed), history, test, RunBar(run_name(config))])
        kept = folder / "checkpoints"
        last = checkpoints.to_go_on_from(kept)
        with _drawing(config, data, here=trainer.is_global_zero):
            trainer.fit(module, datamodule=datamodule, ckpt_path=last, weights_only=True)
        best_epoch = max(history.rows, key=lambda row: row["val_dice"])["epoch"]
        checkpoints.require_best(kept / checkpoints.BEST, epoch=int(best_epoch))
        best = SegmentationModule.load(kept / checkpoints.BEST)
        trainer.test(best, datamodule=datamodule, verbose=False)
        scores = _scores(test.cases)
        if logger is not None:
            tracking.log_test(logger, scores, test.cases, labels=module.labels, overlays=config.logger.overlays)
        if trainer.is_global_zero:
            content: dict[str, Any] = fold | {
                "scores": scores,
                "best_epoch": best_epoch,
                "epochs": len(history.rows),
                "seconds": round(time.monotonic() - started, 1),
                "accelerator": hardware.accelerator,
                "precision": hardware.precision,
                "versions": {
                    "musclesense": __version__,
                    "torch": torch.__version__,
                    "lightning": lightning.__version__,
                },
            }
            (kept / checkpoints.PREVIOUS).unlink(missing_ok=True)
            write_json(folder / "done.json", content)
        failed = False
        return scores
    finally:
        tracking.finish(logger, failed=failed)


def _datamodule(config: Config, data: inputs.Inputs, seed: int, hardware: Hardware) -> NestedFoldDataModule:
    return NestedFoldDataModule(
        data.slices,
        data.split,
        channels=active_channels(config),
        labels=inputs.labels(config),
        augmentation=inputs.augmentation(config),
        batch_size=config.loader.batch_size,
        workers=config.loader.workers,
        seed=seed,
        overfit_cases=config.loader.overfit_cases,
        pin_memory=hardware.accelerator == "cuda",
        synthesis=data.synthesis,
    )


def _drawing(config: Config, data: inputs.Inputs, *, here: bool) -> AbstractContextManager[None]:
    """Draw slices during the block, where the configuration asks for them."""
    if data.synthesis is None:
        return nullcontext()
    return data.synthesis.drawing(config.trainer.max_epochs, here=here)


def _trainer(
    config: Config, hardware: Hardware, folder: Path, logger: tracking.Logger | None, callbacks: list[Callback]
) -> Trainer:
    kept, chosen = folder / "checkpoints", config.callbacks
    averaging = None if chosen.averaging is None else Averaging(chosen.averaging, hardware.device)
    callbacks = [
        *callbacks,
        *([averaging] if averaging else []),
        *([KeptEpochs(kept, chosen.keep_every, averaging)] if chosen.keep_every else []),
        EarlyStop(patience=chosen.patience, min_delta=chosen.min_delta),
        *best_and_last(kept),
    ]
    if logger is not None:
        callbacks.append(LearningRateMonitor(logging_interval="epoch"))
    return Trainer(
        accelerator=hardware.accelerator,
        devices=config.trainer.devices,
        strategy=config.trainer.strategy,
        precision=hardware.precision,  # type: ignore[arg-type]
        max_epochs=config.trainer.max_epochs,
        gradient_clip_val=config.trainer.gradient_clip_val,
        logger=logger or False,
        callbacks=callbacks,
        plugins=[
            checkpoints.WholeCheckpoints(),
            # Requeueing is the launcher's. Lightning's would save in the middle of an epoch, and go on from there.
            *([SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []),
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


def _scores(cases: list[ScoredCase]) -> Scores:
    """Give the mean DSC over cases and classes, in all and by region; undefined ones do not count."""
    rows = [row for case in cases for row in case.rows if row["dice"] is not None]
    names = {"dice": rows}
    for region in sorted({row["region"] for row in rows}):
        names[f"dice_{region}"] = [row for row in rows if row["region"] == region]
    return {name: float(np.mean([row["dice"] for row in own])) for name, own in names.items() if own}


def _quieten_lightning() -> None:
    """Leave out what Lightning says of itself at every run; errors still come through."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
