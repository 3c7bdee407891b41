"""Curves, scores and overlays of a run in wandb: online when logged in, offline otherwise, never a prompt."""

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

from musclesense.files import write_text
from musclesense.imaging.labels import LabelSet
from musclesense.training.config import Config
from musclesense.training.folders import run_folder, run_name, study_folder, to_plain
from musclesense.training.scoring import ScoredCase


def start(config: Config) -> WandbLogger | None:
    """Open the wandb run of a training, or go on with it where it was interrupted; None where wandb is off."""
    if config.logger.name == "none":
        return None
    folder = run_folder(config)
    settings = wandb.Settings(silent=True, console="off")
    wandb.setup(settings=settings)
    logger = WandbLogger(
        project=config.logger.project,
        entity=config.logger.entity,
        group=study_folder(config).name,
        job_type=f"outer{config.outer}",
        name=run_name(config).replace("_", "-"),
        id=_stored_id(folder / "wandb_id"),
        resume="allow",
        save_dir=folder,
        config=to_plain(config),
        mode=_mode(config.logger.mode),
        settings=settings,
    )
    _ = logger.experiment  # starts the run now, not at the first figure
    return logger


def log_test(
    logger: WandbLogger, scores: Mapping[str, float], cases: Sequence[ScoredCase], *, labels: LabelSet, overlays: int
) -> None:
    """Put the test scores into the run's summary and show the first cases with their masks."""
    run = logger.experiment
    run.summary.update({f"test/{name}": value for name, value in scores.items()})
    names = dict(enumerate(("background", *labels.names)))
    images = [
        wandb.Image(
            case.image,
            masks={
                "truth": {"mask_data": case.truth, "class_labels": names},
                "prediction": {"mask_data": case.prediction, "class_labels": names},
            },
            caption="{subject} {session} {region} slice {slice}".format(**case.rows[0]),
        )
        for case in cases[:overlays]
    ]
    if images:
        run.log({"test/overlays": images})


def finish(logger: WandbLogger | None, *, failed: bool) -> None:
    """Close the run, so that the next job of the process starts its own."""
    if logger is not None:
        wandb.finish(exit_code=int(failed))


def _stored_id(path: Path) -> str:
    """Keep the id in the run's folder: a resumed run goes on in the same place, a new study never in another's."""
    if not path.is_file():
        write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8").strip()


def _mode(mode: str) -> Any:
    if mode != "auto":
        return mode
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
