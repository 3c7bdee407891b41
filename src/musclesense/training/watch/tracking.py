"""Curves, scores and overlays of a run in wandb: online when logged in, offline otherwise, never a prompt."""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb
from lightning.pytorch.loggers import WandbLogger

from musclesense.errors import reason_of
from musclesense.imaging.labels import LabelSet
from musclesense.messages import log
from musclesense.storage.records import write_text
from musclesense.training.record import ScoredCase
from musclesense.training.settings import Settings


class Logger(WandbLogger):
    """A wandb run that may fail: the run folder is the record, and training goes on without the dashboard."""

    _said = False

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """Tell of the first error in the block, in a line, and let none through."""
        try:
            yield
        except Exception as error:
            if not self._said:
                _warn(error)
            self._said = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log figures of an epoch."""
        with self.harmless():
            super().log_metrics(metrics, step)

    def finalize(self, status: str) -> None:
        """End a stage."""
        with self.harmless():
            super().finalize(status)

    def log_test(
        self, scores: Mapping[str, float], cases: Sequence[ScoredCase], *, labels: LabelSet, overlays: int
    ) -> None:
        """Put the test scores into the run's summary and show the first cases with their masks."""
        names = dict(enumerate(("background", *labels.names)))
        with self.harmless():
            run = self.experiment
            run.summary.update({f"test/{name}": value for name, value in scores.items()})
            images = [
                wandb.Image(
                    case.overlay.image,
                    masks={
                        name: {"mask_data": getattr(case.overlay, name), "class_labels": names}
                        for name in ("truth", "prediction")
                    },
                    caption="{subject} {session} {region} slice {slice}".format(**vars(case.scores[0])),
                )
                for case in cases[:overlays]
            ]
            if images:
                run.log({"test/overlays": images})

    def finish(self, *, failed: bool) -> None:
        """Close the run, so that the next job of the process starts its own."""
        with self.harmless():
            wandb.finish(exit_code=int(failed))


def start(settings: Settings) -> Logger | None:
    """Open the wandb run of a training, or go on with it where it was interrupted.

    Returns:
        None where wandb cannot be started, which a line tells.
    """
    try:
        return _start(settings)
    except Exception as error:
        _warn(error)
        return None


def _warn(error: Exception) -> None:
    reason = reason_of(error)[:200]
    log.warning(f"wandb: {reason}; the run goes on without it, with all its figures in the run folder")


def _start(settings: Settings) -> Logger:
    run, asked, of_wandb = settings.run, settings.config.logger, wandb.Settings(silent=True, console="off")
    wandb.setup(settings=of_wandb)
    logger = Logger(
        project=asked.project,
        entity=asked.entity,
        group=settings.study.path.name,
        job_type=f"outer{settings.config.outer}",
        name=run.name.replace("_", "-"),
        id=_stored_id(run.wandb_id),
        resume="allow",
        save_dir=run.path,
        config=dict(settings.config.plain),
        mode=_mode(asked.mode),
        settings=of_wandb,
    )
    _ = logger.experiment  # starts the run now, not at the first figure
    return logger


def _stored_id(path: Path) -> str:
    """Keep the id in the run's folder: a resumed run goes on in the same place, a new study never in another's."""
    if not path.is_file():
        write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8").strip()


def _mode(mode: str) -> Any:
    if mode != "auto":
        return mode
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
