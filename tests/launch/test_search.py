"""Searches of settings: what is drawn, how one goes on, and that no test subject is in reach."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.launch import search as searching
from musclesense.launch.search import _distribution, search
from musclesense.storage.records import read_json
from musclesense.studies.layout import SearchFolder
from musclesense.studies.writing import open_study, write_validated
from musclesense.training import inputs, record, run, session
from musclesense.training.config import defaults
from musclesense.training.settings import Settings

from ..shared.runs import rows_of

optuna = pytest.importorskip("optuna", reason="the extra `search` is not installed")
SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.width=2,4", "model.depth=int(interval(2,4))")


class Stopped(BaseException):
    """What ends a search in the middle."""


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Let runs be validated in no time: the nearer the rate to 1e-3 and the wider, the better; those that were."""
    done: list[Settings] = []

    def validate(settings: Settings) -> float:
        done.append(settings)
        open_study(settings.study, settings.config.plain, defaults())
        config = settings.config
        off = abs(np.log10(config.optimizer["lr"]) + 3) / 10 + 0.1 / config.model["width"] + config.inner / 1000
        write_validated(settings.run, **settings.fold, dice=float(1 - off), epoch=0)
        return 0.0

    monkeypatch.setattr(searching, "validate", validate)
    return done


@pytest.fixture
def asked(tmp_path: Path, data: Path) -> Callable[..., list[str]]:
    """Give the words of a search on the smoke phantom."""
    usual = ("experiment=smoke", "trainer=cpu", f"data={data}", "folds.inner=2")
    return lambda *words, runs="runs": [*usual, f"runs={tmp_path / runs}", *(words or SPACE)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("optimizer.lr=interval(0.1,0.2)", optuna.distributions.FloatDistribution(0.1, 0.2)),
        ("optimizer.lr=interval(1,2.5)", optuna.distributions.FloatDistribution(1, 2.5)),
        ("optimizer.lr=tag(log,interval(1e-4,1))", optuna.distributions.FloatDistribution(1e-4, 1, log=True)),
        ("model.depth=int(interval(3,5))", optuna.distributions.IntDistribution(3, 5)),
        ("model.width=8,16", optuna.distributions.CategoricalDistribution(["8", "16"])),
        ("model.width=range(8,33,8)", optuna.distributions.CategoricalDistribution(["8", "16", "24", "32"])),
        ("labels=choice(sides,whole_muscle)", optuna.distributions.CategoricalDistribution(["sides", "whole_muscle"])),
        ("channels=[fat],[fat,water]", optuna.distributions.CategoricalDistribution(["[fat]", "[fat,water]"])),
        ("model.width=8", None),
        ("~optimizer.lr", None),
    ],
)
def test_what_is_drawn_is_said_in_the_words_of_a_sweep(line: str, expected: Any) -> None:
    assert _distribution(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "optimizer.lr=interval(2,1)",
        "optimizer.lr=interval(1,1)",
        "optimizer.lr=tag(log,interval(0,1))",
        "optimizer.lr=interval(1e-4)",
        "model.width=range(8,8)",
        "model=glob(*)",
        "model.width=interval(a,b)",
    ],
)
def test_what_cannot_be_drawn_is_refused(line: str) -> None:
    with pytest.raises(InputError, match=re.escape(line)):
        _distribution(line)


def test_the_best_of_all_trials_is_given_with_the_line_that_trains_it(
    asked: Callable[..., list[str]], trained: list[Settings], tmp_path: Path
) -> None:
    said = search(asked(*SPACE, "outer=1"), 6)
    assert len(trained) == 12 and {(one.config.outer, one.config.inner) for one in trained} == {(1, 0), (1, 1)}
    (folder,) = (SearchFolder(path) for path in (tmp_path / "runs").glob("search-*"))
    rows = rows_of(folder.trials)
    assert [row["trial"] for row in rows] == [*"012345"]
    for row in rows:
        assert float(row["val_dice"]) == pytest.approx((float(row["inner0"]) + float(row["inner1"])) / 2, abs=1e-6)
    best = max(rows, key=lambda row: float(row["val_dice"]))
    shown = [line.split()[0] for line in said.splitlines()[3:9]]
    assert shown[0] == best["trial"] and shown == sorted(shown, key=lambda one: -float(rows[int(one)]["val_dice"]))
    (line,) = (line for line in said.splitlines() if line.startswith("python train.py -m outer=1 inner=0..1 "))
    assert f"model.width={best['model.width']} model.depth={best['model.depth']}" in line
    assert "experiment=smoke" in line and "runs=" not in line and "study=" not in line


@pytest.mark.parametrize("after", [1, 2, 5])
def test_a_search_that_is_stopped_goes_on_as_if_it_had_not_been(
    after: int,
    asked: Callable[..., list[str]],
    trained: list[Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    search(asked(runs="whole"), 4)
    whole, validate = len(trained), vars(searching)["validate"]

    def stops(settings: Settings) -> float:
        if len(trained) == whole + after:
            raise Stopped
        return validate(settings)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(searching, "validate", stops)
        search(asked(), 4)
    search(asked(), 4)
    tables = [next((tmp_path / runs).glob("search-*/trials.csv")).read_text() for runs in ("whole", "runs")]
    assert tables[0] == tables[1]
    more = len(trained)
    search(asked(), 4)
    assert len(trained) == more, "nothing is left"
    search(asked(), 6)
    assert len(trained) == more + 4


def test_a_trial_that_ended_while_it_was_drawn_is_left_out(
    asked: Callable[..., list[str]], trained: list[Settings], tmp_path: Path
) -> None:
    search(asked(), 1)
    (folder,) = (SearchFolder(path) for path in (tmp_path / "runs").glob("search-*"))
    searching._open(folder).ask()
    assert "failed: 1 trials" in search(asked(), 3)
    assert [row["val_dice"] != "" for row in rows_of(folder.trials)] == [True, False, True]


def test_a_trial_that_fails_is_told_of_and_the_next_begins(
    asked: Callable[..., list[str]], trained: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = vars(searching)["validate"]

    def fails(settings: Settings) -> float:
        if not trained:
            trained.append(settings)
            raise RuntimeError("out of memory")
        return validate(settings)

    monkeypatch.setattr(searching, "validate", fails)
    said = search(asked(), 2)
    assert "failed: 1 trials" in said and "best: trial 1" in said
    assert "out of memory" in trained[0].run.error.read_text()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("model.width=4",), "nothing to search"),
        (("model.width=2,4", "outer=0,1"), "outer=0,1: a search has one"),
        (("model.width=2,4", "outer=0..4"), "a search has one"),
        (("model.width=2,4", "study=a,b"), "study=a,b: a search has one"),
        (("model.width=2,4", "hydra/launcher=joblib"), "hydra/launcher: a search trains one run after another"),
        (("model.width=2,4", "outer=9"), "outer=9: no such fold"),
        (("model.width=2,4", "inner=0..4"), "inner=2: no such fold"),
        (("inference.threshold=interval(0.5,1.5)",), "threshold"),
        (("loader.batch_size=interval(1,4)",), "loader.batch_size=1.0: not a whole number"),
        (("loader.batch_size=int(interval(0,4))",), "loader.batch_size=0: give 1 or more"),
        (("modle.width=2,4",), "modle"),
        (("search=learnin",), "search=learnin: no option"),
    ],
)
def test_what_cannot_be_searched_is_refused_and_nothing_is_written(
    words: tuple[str, ...], problem: str, asked: Callable[..., list[str]], trained: list[Settings], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(problem)):
        search(asked(*words), 2)
    assert not trained and not (tmp_path / "runs").exists()


def test_no_trial_at_all_is_refused(asked: Callable[..., list[str]]) -> None:
    with pytest.raises(InputError, match="--trials 0: give 1 or more"):
        search(asked(), 0)


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (Path(__file__).parents[2] / "conf/search").glob("*.yaml"))
)
def test_each_search_of_the_configuration_can_begin(
    name: str, asked: Callable[..., list[str]], trained: list[Settings]
) -> None:
    assert "best: trial 0" in search(asked(f"search={name}"), 1)


def test_under_a_name_another_search_is_refused_and_the_same_goes_on(
    asked: Callable[..., list[str]], trained: list[Settings], tmp_path: Path
) -> None:
    search(asked(*SPACE, "study=mine"), 1)
    assert read_json(tmp_path / "runs" / "mine" / "search.json", remedy="")["outer"] == 0
    for other in ("outer=1", "seed=3", "trainer.max_epochs=7", "inner=0", "model.width=2,4,8"):
        words = [word for word in SPACE if word.partition("=")[0] != other.partition("=")[0]]
        with pytest.raises(InputError, match=r"search\.json: another search .* give study=ANOTHER_NAME"):
            search(asked(*words, "study=mine", other), 1)
    before = len(trained)
    for same in ("logger.project=other", "anonymous=true", "loader.workers=0"):
        search(asked(*SPACE, "study=mine", same), 1)
    assert len(trained) == before


def test_no_test_subject_is_in_reach(configured: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Their scans are spoilt and testing is out of order: the search is told the same."""
    prepare, sessions = inputs.prepare, []

    def spoilt(settings: Settings) -> inputs.Inputs:
        found = prepare(settings)
        images = np.array(found.slices.images)
        tested = [at for at, one in enumerate(found.slices.cases) if one.acquisition.subject in found.split.test]
        assert tested
        images[tested] = np.nan
        return replace(found, slices=replace(found.slices, images=images))

    def set_up(*arguments: Any) -> session.Session:
        sessions.append(made(*arguments))
        return sessions[-1]

    words = ("trainer.max_epochs=2", "model.width=2")
    plain, settings = configured(*words, "study=plain"), configured(*words, "study=spoilt")
    whole, made = run.validate(plain), session.set_up
    monkeypatch.setattr(inputs, "prepare", spoilt)
    monkeypatch.setattr(record, "score_scan", None)
    monkeypatch.setattr(run, "set_up", set_up)
    assert run.validate(settings) == whole
    for one in (plain, settings):
        assert not one.run.is_finished and not one.run.cases.exists() and not one.run.overlays.exists()
        assert run.validate(one) == whole, "it is not trained again"
    assert len(sessions) == 1 and sessions[0].test_best(None)[0] == {}, "there is nothing to test"
