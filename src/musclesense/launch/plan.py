"""All runs that a command asks for, composed and checked before any work begins."""

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from musclesense.errors import InputError
from musclesense.launch import overrides as given
from musclesense.storage.paths import require_writable
from musclesense.training import inputs
from musclesense.training.config import Config
from musclesense.training.folders import is_finished, run_folder, study_folder
from musclesense.training.run import make_module

CONFIG_NAME = "train"
_FOLDS = ("outer", "inner")
_MOST_STUDIES = 256


@dataclass(frozen=True)
class Launching:
    """Where the runs of a plan run.

    Attributes:
        here: On this machine, rather than on a cluster's.
        waits: The command waits for them.
        side_by_side: Several at once, by joblib.
    """

    here: bool = True
    waits: bool = True
    side_by_side: bool = False


@dataclass(frozen=True)
class Plan:
    """The runs of a command, in the order in which they are launched.

    Attributes:
        runs: One configuration each.
        launching: Where they run.
    """

    runs: tuple[Config, ...]
    launching: Launching

    @property
    def studies(self) -> dict[Path, Config]:
        """One configuration of each study, by its folder."""
        return {study_folder(run): run for run in self.runs}

    @property
    def folders(self) -> list[Path]:
        """The folder of each run."""
        return [run_folder(run) for run in self.runs]

    @property
    def unfinished(self) -> list[Config]:
        """The runs that are left to do."""
        return [run for run in self.runs if not is_finished(run_folder(run))]


def make_plan(arguments: Sequence[str], *, config_dir: Path, multirun: bool) -> Plan:
    """Compose every run that the overrides ask for.

    Raises:
        InputError: An override that cannot be read, composed or swept; all such are named.
    """
    parsed = dict(zip(arguments, given.parse(arguments), strict=True))
    swept = [override.get_key_element() for override in parsed.values() if override.is_sweep_override()]
    if swept and not multirun:
        raise InputError(f"{swept[0]}: several values ask for several runs; add -m")
    choices = {
        line: given.values(override) if override.is_sweep_override() else [line] for line, override in parsed.items()
    }
    folds = {line: own for line, own in choices.items() if line.partition("=")[0] in _FOLDS}
    others = [own for line, own in choices.items() if line not in folds]
    for what, count, most in (
        ("studies", math.prod(map(len, others)), _MOST_STUDIES),
        ("runs", math.prod(map(len, choices.values())), given.MOST_VALUES),
    ):
        if count > most:
            raise InputError(f"{' '.join(swept)}: {count} {what} are asked for; ask for {most} at most")
    runs: list[Config] = []
    with initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
        launching = _launching([own for override in others for own in override[:1]], config_dir)
        for combination in itertools.product(*others):
            composed = _compose(combination, config_dir)
            for fold in itertools.product(*folds.values()):
                runs.append(_resolved(_at_fold(composed, fold), arguments))
    if not launching.here and not multirun:
        raise InputError("hydra/launcher: one run is trained here, and several are launched; add -m")
    return Plan(tuple(runs), launching)


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out, before anything is written.

    Raises:
        InputError: All that is wrong, each line once.
    """
    problems: dict[str, None] = {}
    if not plan.launching.here:
        from musclesense.launch import slurm

        slurm.require_slurm()
    if len({*plan.folders}) < len(plan.runs):
        problems[
            "the same run is asked for twice under one study; leave study=... to be named by the configuration"
        ] = None
    for config in plan.studies.values():
        problems |= dict.fromkeys(_problems_of_study(config))
    for config in plan.runs:
        problems |= dict.fromkeys(inputs.fold_problems(config))
    if not problems:
        for folder in {Path(place): None for config in plan.unfinished for place in (config.data, config.runs)}:
            problems |= dict.fromkeys(_problems_of_place(folder))
    if problems:
        raise InputError(*problems)


def _launching(overrides: Sequence[str], config_dir: Path) -> Launching:
    launcher = _compose(overrides, config_dir, hydra=True).hydra.launcher
    if not launcher._target_.endswith(".SlurmLauncher"):
        return Launching(side_by_side=launcher._target_.endswith(".JoblibLauncher"))
    try:
        OmegaConf.to_container(launcher, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(f"hydra.launcher: {given.first_line(error)}; correct the value") from error
    return Launching(here=False, waits=launcher.get("wait", True))


def _problems_of_place(folder: Path) -> tuple[str, ...]:
    try:
        require_writable(folder)
    except InputError as error:
        return error.problems
    return ()


def _problems_of_study(config: Config) -> tuple[str, ...]:
    try:
        inputs.check(config)
        module = make_module(config)
        module.require_fit()
        module.make_optimizer(steps=config.trainer.max_epochs)
    except InputError as error:
        return error.problems
    return ()


def _compose(overrides: Sequence[str], config_dir: Path, *, hydra: bool = False) -> DictConfig:
    try:
        return compose(CONFIG_NAME, list(overrides), return_hydra_config=hydra)
    except Exception as error:  # Hydra raises many kinds, AssertionError and ValueError among them
        raise given.explain(error, overrides, config_dir=config_dir, base=compose(CONFIG_NAME)) from error


def _at_fold(composed: DictConfig, fold: Sequence[str]) -> DictConfig:
    config = copy.deepcopy(composed)
    for choice in fold:
        key, _, value = choice.partition("=")
        try:
            OmegaConf.update(config, key, value)
        except OmegaConfBaseException as error:
            raise InputError(f"{choice}: not a whole number; give a fold such as {key}=0") from error
    return config


def _resolved(config: DictConfig, arguments: Sequence[str]) -> Config:
    """Put values in the place of interpolations, and refuse what then has none."""
    try:
        OmegaConf.resolve(config)
        missing = sorted(OmegaConf.missing_keys(config))
    except Exception as error:  # a resolver can raise anything, and one that names itself ends in RecursionError
        raise given.unresolved(error, arguments) from error
    if missing:
        raise InputError(f"{missing[0]}: has no value; give {missing[0]}=VALUE")
    return cast(Config, config)
