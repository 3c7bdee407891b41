"""Curves, scores and overlays of a run in wandb: online when logged in, offline otherwise, never a prompt.

Nothing leaves the machine unless the run is online, and what wandb tells its makers of itself does not even then.
"""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import wandb
from lightning import Callback, LightningModule, Trainer

from musclesense.errors import reason_of
from musclesense.imaging.labels import LabelSet
from musclesense.messages import log
from musclesense.storage.records import write_text
from musclesense.studies.identity import with_edition
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_epochs
from musclesense.training.record import ScoredCase
from musclesense.training.settings import Settings

_ANSWER_SECONDS, _UPLOAD_SECONDS = 15, 60
_unreachable = False
"""Whether the server has not answered a run of this process; later runs do not wait for it again."""


class Dashboard(Callback):
    """A wandb run that may fail: the run folder is the record, and training goes on without the dashboard.

    It shows the rows of ``metrics.csv``, each at the step of its epoch, and all of them again where a run goes on: so
    none is lost by a kill, and none is there twice.
    """

    _said = False

    def __init__(self, run: Any, folder: RunFolder) -> None:
        self._run, self._folder = run, folder
        self._shown = 0

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """Tell of the first error in the block, in a line, and let none through."""
        try:
            yield
        except Exception as error:
            if not self._said:
                _warn(error)
            self._said = True

    def show_epochs(self) -> None:
        """Show the epochs that are new in the record."""
        with self.harmless():
            for row in read_epochs(self._folder)[self._shown :]:
                self._run.log(vars(row), step=row.epoch, commit=True)
                self._shown += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the epoch that ends, which `musclesense.training.record.History` has written before."""
        self.show_epochs()

    def log_test(
        self, scores: Mapping[str, float], cases: Sequence[ScoredCase], *, labels: LabelSet, overlays: int
    ) -> None:
        """Put the test scores into the run's summary and show the first cases with their masks."""
        names = dict(enumerate(("background", *labels.names)))
        with self.harmless():
            self._run.summary.update({f"test/{name}": value for name, value in scores.items()})
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
                self._run.log({"test/overlays": images})

    def finish(self, *, failed: bool) -> None:
        """Close the run, so that the next job of the process starts its own."""
        with self.harmless():
            self._run.finish(exit_code=int(failed))


def start(settings: Settings) -> Dashboard | None:
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


def _start(settings: Settings) -> Dashboard:
    global _unreachable
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    quiet = wandb.Settings(silent=True, console="off")
    wandb.setup(settings=quiet)
    mode = _mode(settings.config.logger.mode)
    if mode == "online" and _unreachable:
        mode = "offline"
    try:
        opened = _open(settings, mode)
    except wandb.Error as error:
        if mode != "online":
            raise
        _unreachable = True
        log.warning(
            f"wandb: no answer ({reason_of(error)[:200]}); this and all later runs are kept offline; "
            f"wandb sync {settings.run.path}/wandb/offline-run-* sends one"
        )
        wandb.teardown()  # or the run's name would count as in use
        wandb.setup(settings=quiet)
        opened = _open(settings, "offline")
    dashboard = Dashboard(opened, settings.run)
    dashboard.show_epochs()
    return dashboard


def _open(settings: Settings, mode: Any) -> Any:
    run, asked = settings.run, settings.config.logger
    identity = _stored_id(run.wandb_id)
    for earlier in run.path.glob(f"wandb/*run-*-{identity}"):  # all that it holds is shown again
        shutil.rmtree(earlier, ignore_errors=True)
    return wandb.init(
        project=asked.project,
        entity=asked.entity,
        group=settings.study.path.name,
        job_type=f"outer{settings.config.outer}",
        name=run.name.replace("_", "-"),
        id=identity,
        resume="allow",
        dir=run.path,
        config=with_edition(settings.config.plain),
        mode=mode,
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=_ANSWER_SECONDS,
            finish_timeout=_UPLOAD_SECONDS,
            x_disable_meta=settings.config.anonymous,  # host, user, folder and command
        ),
    )


def _stored_id(path: Path) -> str:
    """Keep the id in the run's folder: a resumed run goes on in the same place, a new study never in another's."""
    if not path.is_file():
        write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8").strip()


def _mode(mode: str) -> Any:
    if mode != "auto":
        return mode
    return os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
