"""``python train.py`` and ``musclesense train``: Hydra drives.

Hydra calls back before the runs and after them, whatever sweeper draws and whatever launcher starts them: all of them
are checked before, one bar stands beside them, and the report comes after. `LaunchCallback` goes along with the runs
that a launcher sends to other processes, so it holds nothing itself: `this` command does.
"""

import logging
import os
import re
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig
from rich.console import Console

from musclesense.cohort.table import CohortTable
from musclesense.endings import GO_ON, told
from musclesense.errors import InputError, report_input_errors
from musclesense.launch import overrides as given
from musclesense.launch.plan import Plan, check, make_plan
from musclesense.launch.progress import progress_of
from musclesense.messages import in_words, log, to_console
from musclesense.storage.paths import is_file
from musclesense.storage.processes import end_with_parent
from musclesense.studies.layout import StudyFolder
from musclesense.studies.writing import write_command
from musclesense.training import estimate, inputs
from musclesense.training.composition import explain
from musclesense.training.config import register
from musclesense.training.machine import threads
from musclesense.training.machine.devices import runs_at_once
from musclesense.training.machine.hardware import choose
from musclesense.training.run import attempt
from musclesense.training.settings import Settings, build

_DEBUG = "--debug"
_LONG_SECONDS = 2 * 3600


@dataclass
class Command:
    """A command at work: as it was typed, what it asks for once that is checked, and the bars that it shows."""

    typed: str = "python train.py"
    plan: Plan | None = None
    shown: ExitStack = field(default_factory=ExitStack)


this = Command()


def command(main: Callable[[], Any], name: Sequence[str] = ("python", "train.py")) -> None:
    """Do what the command line asks for.

    Exits with 0 when every run is finished, 1 when some failed, 2 when the input cannot be used.

    Args:
        main: `run`, decorated by ``hydra.main``.
        name: What a user types before the arguments.
    """
    words = [argument for argument in sys.argv[1:] if argument != _DEBUG]
    to_console()
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # what is raised comes through as it is
    with told(GO_ON), report_input_errors(debug=_DEBUG in sys.argv[1:]), ExitStack() as shown:
        this.typed, this.plan, this.shown = shlex.join([*name, *words]), None, shown
        flags, overrides = given.read(words)
        info = any(flag.startswith("--info") for flag in flags)  # which Hydra logs; what else it would, it raises, too
        logging.getLogger("hydra").setLevel(logging.NOTSET if info else logging.CRITICAL)
        sys.argv[1:] = [*flags, *overrides]
        warnings.filterwarnings("error", r"Callback \w+\.on_\w+ raised")  # else Hydra goes on
        try:
            main()
        except Exception as error:
            if isinstance(error, UserWarning) and error.__context__:
                raise error.__context__ from None
            if this.plan is not None:
                raise
            raise explain(error, overrides) from error


def run(config: DictConfig) -> float:
    """Do one run, whose failure does not stop the runs that follow.

    Returns:
        Mean DSC of the test cases, not a number where the run failed.
    """
    end_with_parent()  # joblib's workers would do the runs they have been given, and then wait for it for ever
    try:
        return attempt(build(config))
    except InputError as error:  # of a sweeper that draws as it goes; all others have been checked
        log.error(f"not run: {error}")
        return float("nan")


class LaunchCallback(Callback):
    """Checks, announces, shows and concludes what a command asks for."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Begin, and say how many runs joblib is to train at once: by itself it takes a core for each."""
        plan = make_plan(config, multirun=config.hydra.mode is RunMode.MULTIRUN)
        check(plan)
        this.plan = plan
        if not plan.unfinished:
            if not plan.multirun:
                log.info(f"{plan.runs[0].run.path}: finished before")
            self.on_run_end(config)
            raise SystemExit(0)
        if plan.launcher._target_.endswith(".JoblibLauncher"):
            plan.launcher._target_ = "hydra_plugins.musclesense_joblib.JoblibLauncher"
            asked = any(line.startswith("hydra.launcher.n_jobs=") for line in config.hydra.overrides.hydra)
            if plan.launcher.n_jobs == -1 and not asked:  # nor does a launcher of one's own say so
                plan.launcher.n_jobs = runs_at_once(plan.runs[0].config.trainer)
        announce(plan)
        this.shown.enter_context(progress_of(plan))

    def on_run_end(self, config: DictConfig, **_: Any) -> None:
        """End with the exit code of the command."""
        this.shown.close()
        if this.plan and (code := conclude(this.plan)):
            raise SystemExit(code)

    on_multirun_start, on_multirun_end = on_run_start, on_run_end


def announce(plan: Plan) -> None:
    """Make or find the cohorts, say what comes, and warn of work that takes hours on this machine."""
    tables = {}
    with Console(stderr=True).status("reading the cohort, or making the phantom"):
        for study, settings in plan.studies.items():
            tables[study] = inputs.find_table(settings)
            for other in inputs.studies_alike(settings, tables[study]):
                log.info(f"{study.path}: a new study, and {other.path} has the same settings and cohort")
            if not plan.here:
                inputs.prepare(settings)  # else the jobs wait for the one among them that makes the slices
    left = f"{len(plan.unfinished)} of {len(plan.runs)} runs to do" if plan.whole else "runs as the sweeper draws them"
    said = f"{left}; cohort {next(iter(tables.values())).path}"
    if not plan.here:
        log.info(said)
        return
    hardware = choose(plan.runs[0].config.trainer)
    log.info(f"{said}; {hardware.accelerator}, {hardware.precision} ({hardware.reason})")
    if hardware.accelerator == "cpu":
        for study in plan.studies:
            threads.agree(study, side_by_side=plan.launcher.get("n_jobs", 1))
    if (seconds := seconds_of(plan, tables)) > _LONG_SECONDS:
        drawn = any(settings.synthesis is not None for settings in plan.studies.values())
        left_out = ", drawing slices not included" if drawn else ""
        lighter = "experiment=demo is lighter, and takes minutes"
        log.info(f"this may take about {in_words(seconds)} on this machine{left_out}; {lighter}")


def seconds_of(plan: Plan, tables: Mapping[StudyFolder, CohortTable]) -> float:
    """Estimate the training of every unfinished run."""
    runs = Counter(run.study for run in plan.unfinished)
    return sum(runs[study] * estimate.seconds_of(run, tables[study]) for study, run in plan.studies.items())


def _without_paths(command: str) -> str:
    """Give a command without the paths of the table and of folders."""
    return shlex.join(re.sub(r"(?s)^(\+*(cohort\.path|runs|data)=).*", r"\1...", word) for word in shlex.split(command))


def compare_arms(plan: Plan) -> None:
    """Print how the arms of an ablation differ from its first, and write it beside the studies."""
    from musclesense.evaluation.compare import compare

    arms = list(dict.fromkeys(run.study.path for run in plan.runs if run.run.is_finished))
    try:
        found = compare(arms)
        print(found)
        folder = arms[0].parent / "compared" / f"{plan.ablation}-{arms[0].name[-8:]}"
        log.info(f"compared: {found.save(folder)}")
    except InputError as error:
        for problem in error.problems:
            log.warning(f"not compared: {problem}")


def summarise(settings: Settings | None) -> None:
    """Show the report of a study in wandb, where its runs are shown."""
    if settings is not None and settings.config.logger.name != "none" and find_spec("wandb"):
        from musclesense.training.watch import tracking

        tracking.summarise(settings)


def conclude(plan: Plan) -> int:
    """Report on each study of a multirun, name the runs that failed, and give the exit code of the command."""
    runs = [run.run for run in plan.runs] if plan.whole else plan.ended()
    if plan.multirun:
        from musclesense.evaluation.report.page import show_report

        for study in dict.fromkeys(StudyFolder(run.path.parent) for run in runs):
            if study.path.is_dir():
                write_command(study, _without_paths(this.typed) if plan.runs[0].config.anonymous else this.typed)
            if any(run.is_finished for run in runs if run.path.parent == study.path):
                show_report(study.path)
                summarise(plan.studies.get(study))
    if not plan.waits:
        for study in plan.studies:
            log.info(f"later: musclesense report {study.path}")
        return 0
    if plan.ablation:
        compare_arms(plan)
    failed = [run for run in runs if not run.is_finished]
    for run in failed:
        log.error(f"failed: {run.path}" + (f" (see {run.error.name} there)" if is_file(run.error) else ""))
    return 1 if failed or not runs else 0
