"""All runs that a command asks for, built and checked before any work begins."""

import functools
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from musclesense.cohort.table import scan_table
from musclesense.errors import InputError, collected, first_line
from musclesense.launch import overrides as given
from musclesense.storage.paths import require_writable, size_and_change
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.training import inputs
from musclesense.training.composition import resolved
from musclesense.training.machine import devices
from musclesense.training.machine.hardware import Hardware
from musclesense.training.run import make_module, make_trainer
from musclesense.training.settings import Settings, build, build_runs

_FOLD = re.compile(r"(outer|inner)=-?\d{1,18}")
_MOST_STUDIES = 256


@dataclass(eq=False)
class Plan:
    """What a command asks for: runs, Hydra's launcher of them, and whether several may be asked for.

    ``whole``: these are all runs; a sweeper that draws as it goes begins with one that stands for them.
    """

    runs: tuple[Settings, ...]
    launcher: DictConfig
    multirun: bool
    whole: bool = True

    def __post_init__(self) -> None:
        # An earlier sweep's failures are tried again: only a record written from now on counts.
        self._before = self._records()

    @property
    def here(self) -> bool:
        """Whether the runs train on this machine, rather than on a cluster's."""
        return not self.launcher._target_.endswith(".SlurmLauncher")

    @property
    def waits(self) -> bool:
        """Whether the command waits for them."""
        return self.here or bool(self.launcher.get("wait", True))

    @property
    def studies(self) -> dict[StudyFolder, Settings]:
        """One run of each study, by its folder."""
        return {run.study: run for run in self.runs}

    @property
    def unfinished(self) -> list[Settings]:
        """The runs that are left to do."""
        return [run for run in self.runs if not run.run.is_finished]

    def ended(self) -> list[RunFolder]:
        """Give the runs that have ended, well or not, since the plan was made."""
        return sorted({run for run, *_ in self._records() - self._before}, key=lambda run: run.path)

    def _records(self) -> set[tuple[RunFolder, object, object]]:
        """Give the runs that have ended, each with the times at which it has."""
        drawn = self.runs[0].study.path.parent.glob("*/*")
        folders = [run.run for run in self.runs] if self.whole else map(RunFolder, drawn)
        found = {(run, size_and_change(run.done), size_and_change(run.failed)) for run in folders}
        return {record for record in found if any(record[1:])}


def make_plan(config: DictConfig, *, multirun: bool) -> Plan:
    """Build every run of a command from what Hydra gives its callbacks, which lacks what is swept.

    Raises:
        InputError: What cannot be composed, swept or used; all such is named.
    """
    launcher, whole = config.hydra.launcher, config.hydra.sweeper._target_.endswith(".BasicSweeper")
    runs = _swept(config) if multirun and whole else build_runs(resolved(config))
    plan = Plan(tuple(runs), launcher, multirun, whole or not multirun)
    if not plan.here:
        if not multirun:
            raise InputError("hydra/launcher: one run is trained here, and several are launched; add -m")
        try:
            OmegaConf.to_container(launcher, resolve=True)
        except OmegaConfBaseException as error:
            raise InputError(f"hydra.launcher: {first_line(error)}; correct the value") from error
    return plan


def _swept(config: DictConfig) -> list[Settings]:
    """Build the runs of Hydra's basic sweeper: composed once for each study, whose folds cost nothing."""
    sweeper = config.hydra.sweeper
    if sweeper.max_batch_size is not None and sweeper.max_batch_size < 1:
        raise InputError(f"hydra.sweeper.max_batch_size={sweeper.max_batch_size}: give 1 or more, or null")
    params = [f"{key}={value}" for key, value in _plain(sweeper.params or {}).items()]
    lines = {line.partition("=")[0]: line for line in (*params, *_plain(config.hydra.overrides.task))}
    given.require_sound(list(lines.values()))
    choices = {key: given.choices(line) for key, line in lines.items()}
    folds = {key: own for key, own in choices.items() if all(map(_FOLD.fullmatch, own))}
    others = [own for key, own in choices.items() if key not in folds]
    swept = " ".join(key for key, line in lines.items() if choices[key] != [line])
    for what, count, most in (
        ("studies", math.prod(map(len, others)), _MOST_STUDIES),
        ("runs", math.prod(map(len, choices.values())), given.MOST_VALUES),
    ):
        if count > most:
            raise InputError(f"{swept}: {count} {what} are asked for; ask for {most} at most")
    numbers = {key: [int(line.partition("=")[2]) for line in own] for key, own in folds.items()}
    runs, problems = list[Settings](), list[str]()
    for combination in itertools.product(*others):
        with collected(problems):
            runs += build_runs(resolved(_composed(config, combination)), **numbers)
    if problems:
        raise InputError(*problems)
    return runs


def _plain(node: Any) -> Any:
    """Give a part of a configuration as it was written: what looks like an interpolation there is none yet."""
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def _composed(config: DictConfig, combination: Sequence[str]) -> DictConfig:
    if {*combination} <= {*_plain(config.hydra.overrides.task)}:
        return config
    try:
        return GlobalHydra.instance().config_loader().load_sweep_config(config, list(combination))
    except Exception as error:  # Hydra raises many kinds, AssertionError and ValueError among them
        raise given.explain(error, combination) from error


def launched_runs(launcher: Any, job_overrides: Sequence[Sequence[str]]) -> list[Settings]:
    """Build the runs that Hydra hands to a launcher, in their order."""
    load = launcher.hydra_context.config_loader.load_sweep_config
    return [build(resolved(load(launcher.config, list(overrides)))) for overrides in job_overrides]


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out, before anything is written.

    Raises:
        InputError: All that is wrong, each line once.
    """
    if not plan.here:
        from musclesense.launch import slurm

        slurm.require_slurm()
    problems: list[str] = []
    if len({run.run for run in plan.runs}) < len(plan.runs):
        named = "leave study=... to be named by the configuration"
        problems.append(f"the same run is asked for twice under one study; {named}")
    told = set[str]()
    for settings in plan.studies.values():
        with collected(problems):
            if (table := settings.config.cohort.path) is not None and table not in told:
                told.add(table)
                scan_table(Path(table)).tell()
            inputs.check(settings)
            if plan.here:
                devices.require_here(settings.config.trainer)
            module = make_module(settings)
            module.require_fit()
            module.make_optimizer(steps=settings.config.trainer.max_epochs)
            if settings.config.trainer.lightning:
                make_trainer(settings, Hardware("cpu", "32-true", "alone to see what Lightning takes"), (0,), [])
    look = functools.cache(require_writable)
    for run, places in itertools.product(() if problems else plan.unfinished, (inputs.folders, _folders)):
        with collected(problems):
            for place in places(run):  # what lies below a folder that is refused is not told of
                look(place)
    if problems:
        raise InputError(*problems)


def _folders(run: Settings) -> tuple[Path, ...]:
    """Give the folders that a run writes its results to, from the outermost."""
    return (run.study.path.parent, run.study.path, run.run.path, run.run.checkpoints.path)
