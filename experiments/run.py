"""Runs the published studies one after the other and keeps their small results; what is done is skipped.

``python experiments/run.py [NAME ...] [--size paper] [--list] [--runs runs] [--data data] [OVERRIDE ...]``

The studies are those of ``studies.yaml``. Stop it at any time: the same command goes on. Results of each lie in
``experiments/NAME/results/SIZE``; ``record.json`` there, written last, holds the commands that they were made by.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from hydra import initialize_config_dir

from musclesense.cohort.table import Acquisition, CohortTable, read_table
from musclesense.endings import GO_ON, held, stopped_together, told
from musclesense.errors import InputError, report_input_errors
from musclesense.evaluation.report.written import LATEX
from musclesense.launch import overrides as given
from musclesense.launch.plan import Plan, make_plan
from musclesense.messages import in_words, to_console
from musclesense.phantom.cohorts.generate import generate
from musclesense.phantom.cohorts.presets import find_preset
from musclesense.phantom.cohorts.subjects import list_subjects
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.paths import is_file
from musclesense.storage.records import write_json, write_text
from musclesense.studies.identity import identity
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_done
from musclesense.training.composition import compose_command, config_folder
from musclesense.training.config import Config, register
from musclesense.training.estimate import seconds_of
from musclesense.training.inputs import find_table
from musclesense.training.settings import Settings
from musclesense.version import __version__

HERE = Path(__file__).parent
RECORD, PRINTED = "record.json", "printed.txt"
SMALL_BYTES = 300_000
"""Larger files are left where they were made."""
Work = tuple[tuple[object, ...], int, int]
"""A run, whatever its study is called: its configuration, outer and inner fold."""


@dataclass(frozen=True)
class Task:
    """A study of ``studies.yaml`` at one size.

    ``results``: the folder of its results. ``train``: words of each command of training. ``common``: those that follow
    in all of them, places left out.
    """

    name: str
    results: Path
    train: tuple[tuple[str, ...], ...]
    common: tuple[str, ...]
    then: tuple[str, ...]
    phantom: str | None
    keep: bool

    @property
    def commands(self) -> dict[str, list[str]]:
        """What makes its results, whatever the places on this machine."""
        trained = [shlex.join(["python", "train.py", "-m", *words, *self.common]) for words in self.train]
        return {"train": trained, "then": [f"musclesense {line}" for line in self.then]}

    @property
    def is_done(self) -> bool:
        """Whether the results there were made by these commands."""
        try:
            record = json.loads((self.results / RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(record, dict) and record.get("commands") == self.commands


@dataclass(frozen=True)
class Places:
    """Where training writes: as words of its commands, and the folder of phantoms."""

    runs: Path
    data: Path

    @property
    def words(self) -> tuple[str, ...]:
        """For the command line."""
        return f"runs={self.runs}", f"data={self.data}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, say what is left, and do it; give 1 where a study could not be made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    table = yaml.safe_load((HERE / "studies.yaml").read_text(encoding="utf-8"))
    known = f"of {', '.join(table['studies'])} (default: all); or KEY=VALUE for all trainings"
    parser.add_argument("words", nargs="*", metavar="NAME|OVERRIDE", help=known)
    parser.add_argument("--size", choices=table["sizes"], default="paper")
    parser.add_argument("--list", action="store_true", help="say what is left, and do nothing")
    parser.add_argument("--out", type=Path, default=HERE, help="of the results (default: beside this file)")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    asked = parser.parse_intermixed_args(arguments)
    with told(GO_ON), report_input_errors(debug=False):
        to_console()
        register()
        tasks, places = tasks_of(table, asked.size, asked.words, asked.out), Places(asked.runs, asked.data)
        say_left(tasks, places)
        failed = [] if asked.list else [task.name for task in tasks if not task.is_done and not make(task, places)]
    if failed:
        print(f"not made: {', '.join(failed)}; the same command tries again")
    return 1 if failed else 0


def tasks_of(table: dict[str, Any], size: str, words: Sequence[str], out: Path = HERE) -> list[Task]:
    """Give the studies that are asked for, all of them where none is named."""
    names, more = [word for word in words if "=" not in word], tuple(word for word in words if "=" in word)
    if unknown := [name for name in names if name not in table["studies"]]:
        raise InputError(f"{unknown[0]}: no study; give some of {', '.join(table['studies'])}")
    own = table["sizes"][size]
    return [
        Task(
            name=name,
            results=out / name / "results" / size,
            train=tuple(tuple(line.format(outer=own["outer"], inner=own["inner"]).split()) for line in study["train"]),
            common=(*own["overrides"], *own.get("more", {}).get(study["kind"], ()), *more),
            then=tuple(study["then"]),
            phantom=study.get("phantom"),
            keep=study.get("keep", False),
        )
        for name, study in table["studies"].items()
        if name in (names or table["studies"])
    ]


def say_left(tasks: Sequence[Task], places: Places) -> None:
    """Say of each study what is left and about how long it takes; a run of several studies counts once."""
    seen, total = set[Work](), 0.0
    for task in tasks:
        if task.is_done:
            print(f"{task.name}: done")
            continue
        plans = list(plans_of(task, places))
        new = [replace(plan, runs=own) for plan in plans if (own := unseen(plan, seen))]
        left, every = sum(len(plan.unfinished) for plan in new), sum(len(plan.runs) for plan in plans)
        seconds = sum(map(seconds_left, new))
        total += seconds
        print(f"{task.name}: {left} of {every} runs" + (f", about {in_words(seconds)}" if left else ", and tables"))
    print(f"left in all: about {in_words(total)}" if total else "no run is left", flush=True)


def plans_of(task: Task, places: Places) -> Iterator[Plan]:
    """Plan each command of training, as `train.py` does."""
    for words in task.train:
        _, overrides = given.read(["-m", *words, *task.common, *places.words])
        with initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
            yield make_plan(compose_command(overrides), multirun=True)


def unseen(plan: Plan, seen: set[Work]) -> tuple[Settings, ...]:
    """Give the runs of a plan that no plan before has, and note them."""
    new = []
    for run in plan.runs:
        settings = tuple(sorted((key, str(value)) for key, value in identity(run.config.plain).items()))
        work = (settings, run.config.outer, run.config.inner)
        new += [] if work in seen else [run]
        seen.add(work)
    return tuple(new)


def seconds_left(plan: Plan) -> float:
    """Estimate by what finished runs of each study took, or by a training step where there is none yet."""
    total = 0.0
    for study, settings in plan.studies.items():
        took = [float(read_done(run)["seconds"]) for run in study.finished_runs()]
        if left := sum(run.study == study for run in plan.unfinished):
            total += left * (fmean(took) if took else seconds_of(settings, rows_of(settings.config)))
    return total


def rows_of(config: Config) -> CohortTable:
    """Give the rows that a cohort has, or will have: of a phantom, its images need not be there."""
    if config.cohort.path is not None:
        return read_table(Path(config.cohort.path))
    subjects = list_subjects(find_preset(config.cohort.phantom.preset))
    rows = [(subject.name, region) for subject in subjects for visit in subject.visits for region in visit.regions]
    made = (Acquisition(line=line, subject=name, region=region) for line, (name, region) in enumerate(rows, start=2))
    return CohortTable(Path(), tuple(made), "")


def make(task: Task, places: Places) -> bool:
    """Train what is left of a study, and write its results; tell whether they are whole."""
    print(f"{task.name}:", flush=True)
    try:
        for words in task.train:
            train = [sys.executable, str(HERE.parent / "train.py"), "-m", *words, *task.common, *places.words]
            run(train)
        write_results(task, places)
    except subprocess.CalledProcessError as error:
        if (code := error.returncode) < 0 or code > 128:  # a signal has ended it: what follows is not begun
            raise SystemExit(code if code > 0 else 128 - code) from error
        return False
    print(f"{task.name}: {task.results}", flush=True)
    return True


def run(words: Sequence[str], stdout: int | None = None) -> str:
    """Run a command, which ends with this one where a signal stops it; give what it printed into a pipe."""
    commands: list[subprocess.Popen[str]] = []
    with stopped_together(commands):
        with held():
            commands.append(subprocess.Popen(words, stdout=stdout, text=True))
        printed, _ = commands[0].communicate()
    if code := commands[0].returncode:
        raise subprocess.CalledProcessError(code, words)
    return printed or ""


def write_results(task: Task, places: Places) -> None:
    """Run the commands that make the results of a study that is trained, and keep what is small."""
    trained = {study: settings for plan in plans_of(task, places) for study, settings in plan.studies.items()}
    found = {"table": str(find_table(next(iter(trained.values()))).path)}
    found |= {"cohort": str(table_of(task.phantom, places.data))} if task.phantom else {}
    studies = [*trained]
    with atomic_folder(task.results) as draft:
        said = ""
        for line in task.then:
            words = [sys.executable, "-m", "musclesense", *filled(line, studies, out=str(draft), **found)]
            printed = run(words, stdout=subprocess.PIPE)
            print(printed, end="", flush=True)
            said += f"$ musclesense {line}\n\n{without_places(printed, places)}\n"
        write_text(draft / PRINTED, said)
        keep_small(draft, studies if task.keep else [])
        write_json(draft / RECORD, {"commands": task.commands, "musclesense": __version__})
        shutil.rmtree(task.results, ignore_errors=True)  # of other commands


def without_places(printed: str, places: Places) -> str:
    """Name folders of studies as where nothing else is said, wherever they lie on this machine."""
    return printed.replace(f"{places.runs}{os.sep}", "runs/")


def filled(line: str, studies: Sequence[StudyFolder], **places: str) -> list[str]:
    """Put folders into a command, each as one word, whatever its name holds."""
    every = [str(study.path) for study in studies]
    words = ([word.format(*every, **places)] if word != "{studies}" else every for word in line.split())
    return [word for own in words for word in own]


def table_of(preset: str, data: Path) -> Path:
    """Find the table of a phantom, or make it."""
    folder = data / f"phantom-{preset}-1"
    if not folder.is_dir():
        generate(folder, preset=preset, seed=1, workers=os.cpu_count() or 1)
    return folder / "cohort.csv"


def keep_small(draft: Path, studies: Sequence[StudyFolder]) -> None:
    """Add tables of the studies, and leave out what is large."""
    for study in studies:
        tables = study.report
        latex = tables.statistics.with_suffix(LATEX)
        for file in filter(is_file, (tables.summary, tables.nested_cv, tables.agreement, latex)):
            (draft / study.path.name).mkdir(exist_ok=True)
            shutil.copyfile(file, draft / study.path.name / file.name)
    for file in [path for path in draft.rglob("*") if path.is_file() and path.stat().st_size > SMALL_BYTES]:
        file.unlink()


if __name__ == "__main__":
    sys.exit(main())
