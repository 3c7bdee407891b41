"""``musclesense search``: settings drawn by Optuna, each judged on the validation folds of one outer fold.

Nothing is tested. A trial trains its inner folds by `musclesense.training.run.validate`, which knows no test subject,
and its objective is the mean of their best validation DSC. What is searched is said in Hydra's words of a sweep:
``optimizer.lr=tag(log,interval(1e-4,1e-2))``, ``model.width=16,32``. Optuna's journal is what a search goes on from.
"""

import hashlib
import itertools
import json
import shlex
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Quote, QuotedString
from omegaconf import DictConfig

from musclesense.cohort.table import read_table
from musclesense.endings import GO_ON, told
from musclesense.errors import InputError, collected, reason_of, refuse
from musclesense.evaluation.report.written import Table, number, write_numbers
from musclesense.launch import overrides as given
from musclesense.launch.plan import Plan, build_jobs, check, lines_of
from musclesense.messages import bars, log
from musclesense.storage.locks import locked
from musclesense.storage.paths import is_file, is_there
from musclesense.storage.records import read_json, require_format, write_json
from musclesense.studies.identity import identity
from musclesense.studies.layout import SearchFolder
from musclesense.studies.reading import read_validated
from musclesense.studies.writing import record_failure
from musclesense.training.composition import compose_command, config_folder, explained
from musclesense.training.config import register
from musclesense.training.run import validate
from musclesense.training.settings import Settings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

FORMAT = 1
"""Of ``search.json``."""
_RUN = ("outer", "inner", "study", "runs")
"""Keys that a search gives to each of its runs."""


@dataclass(frozen=True, eq=False)
class Search:
    """What is searched, where, and by which runs.

    Attributes:
        folder: Of the journal, the table and the trials.
        config: As Hydra composed it, with what is swept left open.
        fixed: Overrides of all trials, folders and folds left out.
        space: What is drawn, by its key.
        outer: Outer fold whose subjects no trial sees.
        inner: Inner folds of each trial.
    """

    folder: SearchFolder
    config: DictConfig
    fixed: tuple[str, ...]
    space: "dict[str, BaseDistribution]"
    outer: int
    inner: tuple[int, ...]

    @property
    def content(self) -> dict[str, Any]:
        """What makes it another search, as ``search.json`` has it."""
        config = build_jobs(self.config, [(*self.fixed, *next(self.ends()))])[0].config
        table = None if config.cohort.path is None else read_table(Path(config.cohort.path)).digest
        space = {key: str(one) for key, one in self.space.items()}
        settings = _digest([identity(config.plain), table])
        return {"settings": settings, "space": space, "outer": self.outer, "inner": list(self.inner)}

    def runs(self, drawn: Sequence[str], number: int) -> list[Settings]:
        """Build the runs of a trial.

        Raises:
            InputError: All that no run could use.
        """
        place = (
            f"runs={QuotedString(str(self.folder.path), Quote.single).with_quotes()}",
            f"study={self.folder.trial(number).path.name}",
            f"outer={self.outer}",
        )
        return build_jobs(self.config, [(*self.fixed, *drawn, *place, f"inner={fold}") for fold in self.inner])

    def ends(self) -> Iterator[list[str]]:
        """Give settings in which each key takes each of its ends or choices, with the first of all others."""
        sides = {key: _ends(one) for key, one in self.space.items()}
        first = {key: own[0] for key, own in sides.items()}
        for key, own in sides.items():
            yield from (_lines(first | {key: value}) for value in own)


def search(words: Sequence[str], trials: int, seed: int = 0) -> str:
    """Search, or go on with a search, until there are so many trials; give its table and how to train the best.

    Args:
        words: As for training: overrides, of which some ask for several values, and ``outer=0``.
        trials: How many, earlier ones included.
        seed: Of the draw.

    Raises:
        InputError: Nothing is searched, a value of the space can be used by no run, or another search lies there.
    """
    if trials < 1:
        raise InputError(f"--trials {trials}: give 1 or more")
    register()
    with told(GO_ON), initialize_config_dir(str(config_folder().resolve()), version_base="1.3"):
        asked = read(words)
        _require_usable(asked)
        with locked(asked.folder.path), bars():
            _require_same(asked)
            study = _open(asked.folder)
            for trial in _left(study, asked, trials, seed):
                _try(study, asked, *trial)
    return _told(study, asked)


def _require_usable(asked: Search) -> None:
    """Refuse a search of which some end can be used by no run, before anything is written."""
    problems: list[str] = []
    for drawn in asked.ends():
        with collected(problems):
            asked.runs(drawn, 0)
    refuse(problems)
    new = next(number for number in itertools.count() if not is_there(asked.folder.trial(number).path))
    check(Plan(tuple(asked.runs(next(asked.ends()), new)), asked.config.hydra.launcher, multirun=True))


def read(words: Sequence[str]) -> Search:
    """Read what is to be searched.

    Raises:
        InputError: It cannot be composed, or nothing is searched.
    """
    overrides = given.read(["-m", *words])[1]
    with explained(overrides):
        config = compose_command(overrides)
    lines = {key.lstrip("+"): line for key, line in lines_of(config).items()}
    for key in ("outer", "study", "runs"):
        if key in lines and len(given.choices(lines[key])) > 1:
            raise InputError(f"{lines[key]}: a search has one; give one, and search each by itself")
    if not config.hydra.launcher._target_.endswith(".BasicLauncher"):
        raise InputError("hydra/launcher: a search trains one run after another; leave it out")
    outer = int(lines.get("outer", "outer=0").partition("=")[2])
    inner = given.choices(lines.get("inner", f"inner=range(0,{config.folds.inner})"))
    swept = {key: own for key, line in lines.items() if key not in _RUN and (own := _distribution(line)) is not None}
    if not swept:
        raise InputError("search: nothing to search; give search=learning, or KEY=interval(LOW,HIGH), KEY=A,B")
    fixed = tuple(line for key, line in lines.items() if key not in (*_RUN, *swept))
    numbers = tuple(int(one.partition("=")[2]) for one in inner)
    unnamed = Search(SearchFolder(Path(config.runs)), config, fixed, swept, outer, numbers)
    name = config.study or f"search-{_digest(unnamed.content)}"
    return replace(unnamed, folder=SearchFolder(Path(config.runs) / name))


def _distribution(line: str) -> "BaseDistribution | None":
    """Give what Optuna draws of an override; None where it has one value."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    with explained([line]):
        (override,) = OverridesParser.create().parse_overrides([line])
    if not override.is_sweep_override():
        return None
    sweep = override.value()
    if not isinstance(sweep, IntervalSweep):
        return CategoricalDistribution([one.partition("=")[2] for one in given.choices(line)])
    low, high, along = sweep.start, sweep.end, "log" in sweep.tags
    if low is None or high is None or not low < high or (along and low <= 0):
        raise InputError(f"{line}: give interval(LOW, HIGH), LOW below HIGH" + " and above 0" * along)
    whole = isinstance(low, int) and isinstance(high, int)
    return IntDistribution(int(low), int(high), log=along) if whole else FloatDistribution(low, high, log=along)


def _ends(one: Any) -> list[Any]:
    return list(one.choices) if hasattr(one, "choices") else [one.low, one.high]


def _lines(drawn: dict[str, Any]) -> list[str]:
    """Write settings as overrides."""
    return [f"{key}={value}" for key, value in drawn.items()]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]


def _require_same(asked: Search) -> None:
    """Write down what is searched, or refuse another search than the one that lies there."""
    content = {"format": FORMAT, **asked.content}
    if not is_file(asked.folder.asked):
        write_json(asked.folder.asked, content)
        return
    there = read_json(asked.folder.asked, remedy="give study=ANOTHER_NAME")
    require_format(asked.folder.asked, there, newest=FORMAT)
    if changed := [key for key in content if there.get(key) != content[key]]:
        differ = f"{changed[0]} is {there.get(changed[0])} there and {content[changed[0]]} here"
        raise InputError(f"{asked.folder.asked}: another search ({differ}); give study=ANOTHER_NAME or the same search")


def _open(folder: SearchFolder) -> "Study":
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder.journal)))
    return optuna.create_study(storage=storage, study_name="search", direction="maximize", load_if_exists=True)


def _left(study: "Study", asked: Search, trials: int, seed: int) -> Iterator[tuple[int, list[str]]]:
    """Give the trials that are left, by number and settings: one that was interrupted, then new ones.

    Each is drawn by a generator of its own, so that a search that goes on draws what an uninterrupted one does.
    """
    import optuna
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if trial.params.keys() == asked.space.keys():
            yield trial.number, _lines(trial.params)
        else:  # ended while it was being drawn
            study.tell(trial.number, state=TrialState.FAIL)
    while len(study.trials) < trials:
        number = len(study.trials)
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        study.sampler = optuna.samplers.TPESampler(seed=own)
        yield number, _lines(study.ask(asked.space).params)


def _try(study: "Study", asked: Search, number: int, drawn: list[str]) -> None:
    """Train a trial and tell Optuna; one that fails is told of and left out."""
    from optuna.trial import TrialState

    runs = asked.runs(drawn, number)
    for settings in runs:
        try:
            validate(settings)
        except InputError:
            raise
        except Exception as error:
            record_failure(settings.run, reason_of(error), details=traceback.format_exc(), **settings.fold)
            study.tell(number, state=TrialState.FAIL)
            log.error(f"trial {number}  failed: {reason_of(error)} (see {settings.run.error})")
            return
    study.tell(number, fmean(read_validated(settings.run) for settings in runs))
    best = study.best_trial
    said = f"(best {best.value:.3f}, trial {best.number})"
    log.info(f"trial {number}  validation DSC {study.trials[number].value:.3f}  {said}  {' '.join(drawn)}")


def _told(study: "Study", asked: Search) -> str:
    """Write the table of trials, and give it with the best on top and the line that trains the best."""
    from optuna.trial import TrialState

    folds = [f"inner{fold}" for fold in asked.inner]
    rows = [_row(asked, trial) for trial in study.trials]
    write_numbers(asked.folder.trials, ("trial", *asked.space, "val_dice", *folds), rows)
    known = sorted((row for row in rows if row["val_dice"] is not None), key=lambda row: -row["val_dice"])
    shown = tuple(
        (str(row["trial"]), number(row["val_dice"], ".4f"), *(_short(row[key]) for key in asked.space)) for row in known
    )
    table = Table("Trials by mean validation DSC", ("trial", "validation DSC", *asked.space), shown)
    failed = len(study.get_trials(states=(TrialState.FAIL,)))
    lines = [table.caption, "", table.text, "", *([f"failed: {failed} trials"] if failed else [])]
    if known:
        drawn = _lines(study.best_trial.params)
        words = ("python", "train.py", "-m", f"outer={asked.outer}", f"inner=0..{asked.config.folds.inner - 1}")
        lines += [
            f"best: trial {study.best_trial.number}. To train and test it:",
            shlex.join([*words, *asked.fixed, *drawn]),
        ]
    return "\n".join([*lines, f"table: {asked.folder.trials}"])


def _row(asked: Search, trial: "FrozenTrial") -> dict[str, Any]:
    runs = {fold: asked.folder.trial(trial.number).run(asked.outer, fold) for fold in asked.inner}
    scores = {f"inner{fold}": read_validated(run) if is_file(run.validated) else None for fold, run in runs.items()}
    drawn = {key: trial.params.get(key) for key in asked.space}
    return {"trial": trial.number, **drawn, "val_dice": trial.value, **scores}


def _short(value: Any) -> str:
    return format(value, ".4g") if isinstance(value, float) else str(value)
