"""``train.py``: from the command line to finished runs and a study's report."""

import gc
import logging
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import torch
from rich.console import Console

from musclesense.errors import DiskError, InputError, report_input_errors
from musclesense.launch import estimate
from musclesense.launch.overrides import expand_ranges
from musclesense.launch.plan import CONFIG_NAME, Plan, check, make_plan
from musclesense.launch.progress import sweep_progress
from musclesense.messages import in_words, to_console
from musclesense.storage.locks import locked_if_free
from musclesense.storage.processes import end_with_parent
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.writing import write_command
from musclesense.training import inputs
from musclesense.training.config import Config, register
from musclesense.training.folders import is_finished, record_failure, run_folder
from musclesense.training.machine.devices import runs_at_once
from musclesense.training.machine.hardware import choose
from musclesense.training.run import train

_MULTIRUN = ("-m", "--multirun")
_ASKS = re.compile("-h|--help|--hydra-help|--version|--info|--cfg=(job|hydra|all)|--resolve")
_LONG_SECONDS = 2 * 3600


def main(config_dir: Path) -> None:
    """Run what the command line asks for, with the groups and the root ``train.yaml`` in ``config_dir``.

    Exits with 0 when every run is finished, 1 when some failed, 2 when the input cannot be used.
    """
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    with report_input_errors(debug="--debug" in sys.argv[1:]):
        sys.exit(_main(arguments, config_dir))


def _main(spoken: list[str], config_dir: Path) -> int:
    arguments = _joined(expand_ranges(spoken))
    to_console()
    register()
    logging.getLogger("hydra").setLevel(logging.CRITICAL)  # what it would log is raised, too
    overrides = [argument for argument in arguments if not argument.startswith("-")]
    flags = [argument for argument in arguments if argument.startswith("-")]
    asked = [flag for flag in flags if flag not in _MULTIRUN]
    if unknown := [flag for flag in asked if not _ASKS.fullmatch(flag)]:
        raise InputError(f"{unknown[0]}: no such option; give KEY=VALUE, -m, --help or --cfg=job")
    plan = make_plan(overrides, config_dir=config_dir, multirun=len(flags) > len(asked))
    if asked:
        _hydra(_job, [*flags, *overrides], config_dir)  # Hydra answers and nothing is trained
        return 0
    check(plan)
    console = Console(stderr=True)
    if plan.unfinished:
        _say_what_comes(plan, console)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # what a launcher raises comes through as it is
        with sweep_progress(plan.folders, console):
            # Flags first: Hydra takes none amid overrides.
            _hydra(_job, [*flags, *overrides, *_side_by_side(overrides, plan)], config_dir)
    elif not flags:
        console.print(f"{plan.folders[0]}: finished before", highlight=False)
    return _conclude(plan, console, command=shlex.join(["python", "train.py", *spoken]) if flags else None)


def _joined(arguments: list[str]) -> list[str]:
    """Write ``--cfg job`` as the one word ``--cfg=job``."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--cfg", "-c"):
            joined[-1] = f"--cfg={argument}"
        else:
            joined.append(argument)
    return joined


def _hydra(job: Callable[[Any], Any], arguments: list[str], config_dir: Path) -> None:
    sys.argv[1:] = arguments
    hydra.main(config_path=str(config_dir.resolve()), config_name=CONFIG_NAME, version_base="1.3")(job)()


def _side_by_side(overrides: list[str], plan: Plan) -> list[str]:
    """Say how many runs joblib is to train at once, unless that is said: by itself it takes a core for each."""
    said = any(override.startswith("hydra.launcher.n_jobs=") for override in overrides)
    if said or not plan.launching.side_by_side:
        return []
    return [f"hydra.launcher.n_jobs={runs_at_once(plan.runs[0].trainer)}"]


def _job(config: Config) -> float:
    """Do one run; a failure is written down and does not stop the runs that follow."""
    end_with_parent()  # joblib's workers would do the runs they have been given, and then wait for it for ever
    try:
        return train(config)["dice"]
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        try:
            with locked_if_free(run_folder(config)) as mine:  # another sweep may be at the same run by now
                if mine:
                    record_failure(config, reason, details=traceback.format_exc())
        except InputError:
            raise SystemExit(f"error: {reason}") from error
        if isinstance(error, DiskError):
            raise SystemExit(1) from error  # the runs that follow would fare no better
        return float("nan")
    finally:
        gc.collect()  # networks of earlier runs must not fill the device
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _say_what_comes(plan: Plan, console: Console) -> None:
    """Make or find the cohorts, and warn of work that takes hours on this machine."""
    config, here = plan.runs[0], plan.launching.here
    tables = {}
    for folder, study in plan.studies.items():
        with console.status("reading the cohort, or making the phantom"):
            tables[folder.name] = inputs.find_table(study)
            if not here:
                inputs.prepare(study)  # else the jobs wait for the one among them that makes the slices
    said = f"{len(plan.unfinished)} of {len(plan.runs)} runs to do; cohort {tables[next(iter(plan.studies)).name].path}"
    if here:
        hardware = choose(config.trainer)
        said += f"; {hardware.accelerator}, {hardware.precision} ({hardware.reason})"
    console.print(said, highlight=False, soft_wrap=True)
    if here and (seconds := estimate.seconds_of(plan, tables)) > _LONG_SECONDS:
        drawn = any(study.synthesis.name != "none" for study in plan.studies.values())
        console.print(
            f"this may take about {in_words(seconds)} on this machine"
            + (", drawing slices not included" if drawn else "")
            + "; experiment=demo is lighter, and takes minutes",
            highlight=False,
            soft_wrap=True,
        )


def _conclude(plan: Plan, console: Console, *, command: str | None) -> int:
    """Report on each study of a multirun, of which ``command`` is the command, and name the runs that failed."""
    if command is not None:
        from musclesense.evaluation.report.page import write_report
        from musclesense.evaluation.report.tables import study_table

        for study in plan.studies:
            if study.is_dir():
                write_command(StudyFolder(study), command)
            if any(is_finished(folder) for folder in plan.folders if folder.parent == study):
                page = write_report(study)
                print(study_table(study))
                print(f"report: {page}")
    if not plan.launching.waits:
        for study in plan.studies:
            console.print(f"later: musclesense report {study}", highlight=False, soft_wrap=True)
        return 0
    failed = [folder for folder in plan.folders if not is_finished(folder)]
    for folder in failed:
        console.print(
            f"failed: {folder} (see {RunFolder(folder).error.name} there)", highlight=False, soft_wrap=True, style="red"
        )
    return 1 if failed else 0
