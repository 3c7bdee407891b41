"""One run: train, validate after each epoch, test the best epoch."""

import gc
import time
import traceback
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import lightning
import torch

from musclesense.errors import DiskError, InputError, reason_of
from musclesense.messages import log
from musclesense.storage.locks import locked, locked_if_free
from musclesense.storage.paths import is_file
from musclesense.studies.reading import read_done, read_validated
from musclesense.studies.writing import begin_run, record_failure, write_done, write_validated
from musclesense.training import checkpoints, inputs
from musclesense.training.machine import devices, threads
from musclesense.training.machine.hardware import choose
from musclesense.training.record import MONITOR
from musclesense.training.session import Scores, open_dashboard, set_up
from musclesense.training.settings import Settings
from musclesense.training.watch.progress import RunBar
from musclesense.version import __version__


class _Work(Protocol):
    def __call__(
        self, settings: Settings, data: inputs.Inputs, own: tuple[int, ...], *, first: bool = True
    ) -> None: ...


def train(settings: Settings) -> Scores:
    """Train and test one run, unless it is finished; go on from its last epoch where it was interrupted.

    Returns:
        Mean DSC over the test cases: ``dice``, and by region, such as ``dice_calf``.

    Raises:
        InputError: The cohort or the study's folder cannot be used.
        RuntimeError: A process failed, of those that train a run on several devices.
    """
    _once(settings, settings.run.done, _train)
    return dict(read_done(settings.run)["scores"])


def validate(settings: Settings) -> float:
    """Train one run as `train` does and test nothing: no part of it is told who the test subjects are.

    Returns:
        Mean DSC over the validation cases at the epoch where it is best.

    Raises:
        InputError: The cohort or the study's folder cannot be used.
        RuntimeError: A process failed, of those that train a run on several devices.
    """
    try:
        _once(settings, settings.run.validated, _validate)
    finally:
        _give_back()
    return read_validated(settings.run)


def _once(settings: Settings, record: Path, do: "_Work") -> None:
    """Do the work of a run whose record, written last, is not there."""
    run, asked = settings.run, settings.config.trainer
    inputs.require_own_study(settings)
    if is_file(record):
        return
    inputs.check(settings)
    data = inputs.prepare(settings)
    with locked(run.path):
        if not is_file(record):  # a second sweep on the same study has waited here
            begin_run(run, settings.config.plain)
            accelerator = choose(asked).accelerator
            on_cpu = threads.agreed(settings.study) if accelerator == "cpu" else nullcontext()
            with devices.reserved(asked.devices, accelerator) as own, on_cpu:
                if len(own) == 1:
                    do(settings, data, own)
                else:
                    _together(settings, own, do)


def attempt(settings: Settings) -> float:
    """Train and test one run of several: a failure is written down, and what it took of the machine is given back.

    Returns:
        Mean DSC over the test cases, not a number where the run failed.

    Raises:
        SystemExit: The disk is full, say, and the runs that follow would fare no better.
    """
    try:
        return train(settings)["dice"]
    except Exception as error:
        _record(error, settings)
        if isinstance(error, DiskError):
            raise SystemExit(1) from error
        return float("nan")
    finally:
        _give_back()


def _give_back() -> None:
    """Free what a run took: networks of earlier runs must not fill the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _record(error: Exception, settings: Settings) -> None:
    reason = reason_of(error)
    try:
        with locked_if_free(settings.run.path) as mine:  # another sweep may be at the same run by now
            if mine:
                record_failure(settings.run, reason, details=traceback.format_exc(), **settings.fold)
    except InputError as unwritten:
        if isinstance(error, DiskError) or isinstance(unwritten, DiskError):
            raise SystemExit(f"error: {reason}") from error
        log.error(f"{settings.run.path}: {reason}")  # the folders of other runs may be written


def _together(settings: Settings, own: tuple[int, ...], do: "_Work") -> None:
    """Train with a process for each device, and show how far they are from what they write."""
    run, epochs = settings.run, RunBar(settings.run.name, settings.config.trainer.max_epochs)
    checkpoints.to_go_on_from(run.checkpoints)  # removes damaged ones before the processes look, all at once
    try:
        devices.train_in_step(_as_rank, (settings, own, do), devices=len(own), look=lambda: epochs.follow(run))
    finally:
        epochs.close()


def _as_rank(rank: int, settings: Settings, own: tuple[int, ...], do: "_Work | None" = None) -> None:
    (do or _train)(settings, inputs.prepare(settings), own, first=rank == 0)


def _validate(settings: Settings, data: inputs.Inputs, own: tuple[int, ...], *, first: bool = True) -> None:
    """Train in this process, and write down how well the best epoch did on the validation cases."""
    session = set_up(settings, replace(data, split=replace(data.split, test=())), own, None)
    session.fit()
    if first:
        settings.run.checkpoints.previous.unlink(missing_ok=True)
        best = session.best_row
        write_validated(settings.run, **settings.fold, dice=best[MONITOR], epoch=int(best["epoch"]))


def _train(settings: Settings, data: inputs.Inputs, own: tuple[int, ...], *, first: bool = True) -> None:
    """Train and test in this process, on one of the run's devices; the ``first`` one keeps the record."""
    started = time.monotonic()
    logger = open_dashboard(settings) if first else None
    failed = True
    try:
        session = set_up(settings, data, own, logger)
        session.fit()
        scores, best_epoch = session.test_best(logger)
        if first:
            settings.run.checkpoints.previous.unlink(missing_ok=True)
            write_done(
                settings.run,
                **settings.fold,
                scores=scores,
                best_epoch=best_epoch,
                epochs=len(session.history.rows),
                seconds=round(time.monotonic() - started, 1),
                accelerator=session.hardware.accelerator,
                devices=len(own),
                threads=torch.get_num_threads(),
                precision=session.hardware.precision,
                compiled=session.compiled,
                pretrained_sha256=session.begun and session.begun.sha256,
                versions={"musclesense": __version__, "torch": torch.__version__, "lightning": lightning.__version__},
            )
        failed = False
    finally:
        if logger is not None:
            logger.finish(failed=failed)
