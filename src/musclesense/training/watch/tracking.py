"""Curves, scores and overlays of a run in wandb: online when logged in, offline otherwise, never a prompt.

Nothing leaves the machine unless the run is online, and what wandb tells its makers of itself does not even then.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import wandb
from lightning import Callback, LightningModule, Trainer

from musclesense.errors import reason_of
from musclesense.imaging.labels import LabelSet
from musclesense.messages import log
from musclesense.metrics.case import COLUMNS
from musclesense.names import ALL
from musclesense.storage.records import write_text
from musclesense.studies.identity import with_edition
from musclesense.studies.layout import ReportFolder, RunFolder
from musclesense.studies.reading import read_epochs
from musclesense.training.record import ScoredCase
from musclesense.training.settings import Settings

_ANSWER_SECONDS, _UPLOAD_SECONDS = 15, 60
_LONGEST_TAG, _LONGEST_NAME = 64, 128
"""That wandb takes, of a tag and of an artifact's name."""
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
            images = [_image(case, names) for case in cases[:overlays]]
            if images:
                self._run.log({"test/overlays": images})
            table = wandb.Table(columns=["overlay", *COLUMNS])
            for case, image in zip_longest(cases, images):
                for score in case.scores:
                    table.add_data(image, *vars(score).values())
            self._run.log({"test/cases": table})

    def show_report(self, report: ReportFolder) -> None:
        """Show the tables and figures of a study's report, and keep them as an artifact."""
        from pandas import read_csv  # takes long to import

        with self.harmless():
            tables = {table.stem: read_csv(table) for table in sorted(report.path.glob("*.csv"))}
            self._run.log({f"tables/{name}": wandb.Table(dataframe=table) for name, table in tables.items()})
            figures = sorted(report.figure("").parent.glob("*.png"))
            self._run.log({f"figures/{figure.stem}": wandb.Image(str(figure)) for figure in figures})
            of_all = tables[report.summary.stem].query(f"group == '{ALL}'")
            for region, label, dice in zip(of_all.region, of_all.label, of_all.dice_mean, strict=True):
                self._run.summary[f"study/dice_{region}_{label}"] = float(dice)
            kept = wandb.Artifact(
                re.sub(r"[^\w.-]", "-", f"report-{report.path.parent.name}")[:_LONGEST_NAME], "report"
            )
            for file in [*report.path.glob("*.csv"), *report.path.glob("*.tex"), *figures]:  # the page shows every scan
                kept.add_file(str(file), file.relative_to(report.path).as_posix())
            self._run.log_artifact(kept)

    def finish(self, *, failed: bool) -> None:
        """Close the run, so that the next job of the process starts its own."""
        with self.harmless():
            self._run.finish(exit_code=int(failed))


def _image(case: ScoredCase, names: Mapping[int, str]) -> Any:
    masks = {
        name: {"mask_data": getattr(case.overlay, name), "class_labels": names} for name in ("truth", "prediction")
    }
    caption = "{subject} {session} {region} slice {slice}".format(**vars(case.scores[0]))
    return wandb.Image(case.overlay.image, masks=masks, caption=caption)


@dataclass(frozen=True)
class _Place:
    """Where a run of wandb is kept, and what it is called."""

    folder: Path
    id_file: Path
    name: str
    job_type: str
    tags: tuple[str, ...] = ()


def start(settings: Settings) -> Dashboard | None:
    """Open the wandb run of a training, or go on with it where it was interrupted.

    Returns:
        None where wandb cannot be started, which a line tells.
    """
    run, outer, inner = settings.run, f"outer{settings.config.outer}", f"inner{settings.config.inner}"
    place = _Place(run.path, run.wandb_id, run.name.replace("_", "-"), outer, (outer, inner))
    if (dashboard := _attempt(settings, place)) is not None:
        dashboard.show_epochs()
    return dashboard


def summarise(settings: Settings) -> None:
    """Show the report of a study in a wandb run of its own, anew where there is one."""
    report = settings.study.report
    dashboard = _attempt(settings, _Place(settings.study.path, report.wandb_id, "summary", "summary"))
    if dashboard is not None:
        dashboard.show_report(report)
        dashboard.finish(failed=False)


def _attempt(settings: Settings, place: _Place) -> Dashboard | None:
    try:
        return Dashboard(_start(settings, place), settings.run)
    except Exception as error:
        _warn(error)
        return None


def _warn(error: Exception) -> None:
    reason = reason_of(error)[:200]
    log.warning(f"wandb: {reason}; the run goes on without it, with all its figures in the run folder")


def _start(settings: Settings, place: _Place) -> Any:
    global _unreachable
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    quiet = wandb.Settings(silent=True, console="off")
    wandb.setup(settings=quiet)
    mode = _mode(settings.config.logger.mode)
    if mode == "online" and _unreachable:
        mode = "offline"
    try:
        return _open(settings, mode, place)
    except wandb.Error as error:
        if mode != "online":
            raise
        _unreachable = True
        log.warning(
            f"wandb: no answer ({reason_of(error)[:200]}); this and all later runs are kept offline; "
            f"wandb sync {place.folder}/wandb/offline-run-* sends one"
        )
        wandb.teardown()  # or the run's name would count as in use
        wandb.setup(settings=quiet)
        return _open(settings, "offline", place)


def _open(settings: Settings, mode: Any, place: _Place) -> Any:
    asked, shown = settings.config.logger, with_edition(settings.config.plain)
    identity = _stored_id(place.id_file)
    of_study = (shown["edition"]["name"], shown["region"]["name"], "+".join(shown["channels"]))
    for earlier in place.folder.glob(f"wandb/*run-*-{identity}"):  # all that it holds is shown again
        shutil.rmtree(earlier, ignore_errors=True)
    return wandb.init(
        project=asked.project,
        entity=asked.entity,
        group=settings.study.path.name,
        tags=[tag[:_LONGEST_TAG] for tag in (*of_study, *place.tags)],
        id=identity,
        resume="allow",
        dir=place.folder,
        config=shown | {"study": settings.study.path.name},
        mode=mode,
        name=place.name,
        job_type=place.job_type,
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
