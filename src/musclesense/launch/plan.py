"""All runs that a command asks for, built and checked before any work begins."""

import functools
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from musclesense.cohort.table import scan_table
from musclesense.errors import InputError, collected, refuse
from musclesense.launch import overrides as given
from musclesense.storage.paths import require_writable, size_and_change
from musclesense.studies.identity import identity
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_done
from musclesense.training import inputs
from musclesense.training.composition import compose_run, explained, resolved, written
from musclesense.training.machine import devices
from musclesense.training.session import require_trainable
from musclesense.training.settings import Settings, build_runs

_FOLD = re.compile(r"(outer|inner)=-?\d{1,18}")
_ABLATION = re.compile(r"\+*ablation=(.*)", re.DOTALL)
_MOST_STUDIES = 256


@dataclass(eq=False)
class Plan:
    """What a command asks for: runs, Hydra's launcher of them, and whether several may be asked for.

    ``whole``: these are all runs; a sweeper that draws as it goes begins with one that stands for them.
    ``ablation``: the name of that whose arms the studies are, or none.
    """

    runs: tuple[Settings, ...]
    launcher: DictConfig
    multirun: bool
    whole: bool = True
    ablation: str = ""

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

    def _records(self) -> set[tuple[RunFolder, *tuple[object, ...]]]:
        """Give the runs that have ended, each with the times at which it has."""
        drawn = self.runs[0].study.path.parent.glob("*/*")
        folders = [run.run for run in self.runs] if self.whole else map(RunFolder, drawn)
        return {(run, *map(size_and_change, (run.done, run.failed))) for run in folders if run.has_ended}


def make_plan(config: DictConfig, *, multirun: bool) -> Plan:
    """Build every run of a command from what Hydra gives its callbacks, which lacks what is swept.

    Raises:
        InputError: What cannot be composed, swept or used; all such is named.
    """
    launcher, whole = config.hydra.launcher, not multirun or config.hydra.sweeper._target_.endswith(".BasicSweeper")
    jobs = _swept(config) if multirun and whole else [written(config.hydra.overrides.task)]
    ablation = _ablation(written(config.hydra.overrides.task))
    plan = Plan(tuple(build_jobs(config, jobs)), launcher, multirun, whole, ablation)
    if not (plan.here or multirun):
        raise InputError("hydra/launcher: one run is trained here, and several are launched; add -m")
    with explained(["hydra.launcher"]):
        OmegaConf.to_container(launcher, resolve=True)
    return plan


def _ablation(overrides: Sequence[str]) -> str:
    """Name the ablation that is asked for, or several whose arms are combined."""
    asked = next(filter(None, map(_ABLATION.fullmatch, overrides)), None)
    if asked and len(given.choices(asked[0])) > 1:
        raise InputError(f"{asked[0]}: give one ablation, or [{asked[1]}] for each arm with each")
    return "+".join(re.findall(r"\w+", asked[1])) if asked else ""


def _swept(config: DictConfig) -> list[tuple[str, ...]]:
    """Give the overrides of each run of Hydra's basic sweeper."""
    sweeper = config.hydra.sweeper
    if sweeper.max_batch_size is not None and sweeper.max_batch_size < 1:
        raise InputError(f"hydra.sweeper.max_batch_size={sweeper.max_batch_size}: give 1 or more, or null")
    lines = lines_of(config)
    given.require_sound(list(lines.values()))
    choices = {key: given.choices(line) for key, line in lines.items()}
    studies = (own for own in choices.values() if not all(map(_FOLD.fullmatch, own)))
    for what, values, most in (("studies", studies, _MOST_STUDIES), ("runs", choices.values(), given.MOST_VALUES)):
        if (count := math.prod(map(len, values))) > most:
            swept = " ".join(key for key, line in lines.items() if choices[key] != [line])
            raise InputError(f"{swept}: {count} {what} are asked for; ask for {most} at most")
    return list(itertools.product(*choices.values()))


def lines_of(config: DictConfig) -> dict[str, str]:
    """Give the overrides of a sweep by their keys as written; those of the command line count most."""
    params = [f"{key}={value}" for key, value in written(config.hydra.sweeper.params or {}).items()]
    return {line.partition("=")[0]: line for line in (*params, *written(config.hydra.overrides.task))}


def build_jobs(config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[Settings]:
    """Build runs of the overrides that Hydra has for each: composed once for each study, whose folds cost nothing.

    Raises:
        InputError: All that no run could use, a line each.
    """
    studies = defaultdict[tuple[str, ...], dict[int, dict[str, int]]](dict)
    for number, job in enumerate(jobs):
        same = any("$" in one for one in job)  # as seed=${outer}
        folds = [] if same else [one for one in job if _FOLD.fullmatch(one)]
        studies[tuple(one for one in job if one not in folds)][number] = {one[:5]: int(one[6:]) for one in folds}
    runs, problems = dict[int, Settings](), list[str]()
    for overrides, folds_of in studies.items():
        with collected(problems):
            composed = compose_run(config, overrides)
            own = resolved(composed, written(composed.hydra.overrides.task))
            runs |= zip(folds_of, build_runs(own, folds_of.values()), strict=True)
    refuse(problems)
    return [runs[number] for number in range(len(jobs))]


def result_of(run: RunFolder) -> JobReturn:
    """Give Hydra what a run in another process has come to: its mean DSC, not a number where it has none."""
    dice = read_done(run)["scores"].get("dice", math.nan) if run.is_finished else math.nan
    return JobReturn(status=JobStatus.COMPLETED, _return_value=dice)


def check(plan: Plan) -> None:
    """Refuse a plan that cannot be carried out, before anything is written.

    Raises:
        InputError: All that is wrong, each line once.
    """
    if not plan.here:
        from musclesense.launch import slurm

        slurm.require_slurm()
    problems = list(_asked_twice(plan))
    for table in dict.fromkeys(filter(None, (settings.config.cohort.path for settings in plan.studies.values()))):
        with collected(problems):
            scan_table(Path(table)).tell()
    for settings in plan.studies.values():
        with collected(problems):
            inputs.check(settings)
            if plan.here:
                devices.require_here(settings.config.trainer)
            require_trainable(settings)
    look = functools.cache(require_writable)
    for folders in {} if problems else dict.fromkeys(itertools.chain(*map(inputs.folders, plan.unfinished))):
        with collected(problems):
            for folder in folders:  # what lies below a folder that is refused is not told of
                look(folder)
    refuse(problems)


def _asked_twice(plan: Plan) -> Iterator[str]:
    """Say which runs have one folder, and which studies would be the same training in two."""
    if len({run.run for run in plan.runs}) < len(plan.runs):
        named = "leave study=... to be named by the configuration, and give values that make different configurations"
        yield f"the same run is asked for twice under one study; {named}"
    alike = defaultdict[tuple[object, ...], list[str]](list)
    for study, run in plan.studies.items():
        alike[repr(identity(run.config.plain)), run.config.cohort.path, run.config.study].append(str(study.path))
    for studies in (studies for studies in alike.values() if len(studies) > 1):
        yield f"{' and '.join(studies)}: would be the same training; give values that make different configurations"
