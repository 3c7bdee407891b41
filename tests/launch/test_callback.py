"""What happens around the runs of a command, whatever draws and launches them."""

import logging
import pickle
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from tests.shared.commands import Launch

from musclesense.launch import callback
from musclesense.launch.callback import EscapedError, LaunchCallback
from musclesense.launch.plan import Plan
from musclesense.studies.layout import RunFolder
from musclesense.studies.writing import record_failure


class DrawingSweeper(Sweeper):
    """Draws as many seeds as it is told, as a random search would; what it draws depends on no earlier result."""

    launcher: Launcher

    def __init__(self, draws: int) -> None:
        self._draws = draws

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> None:
        fixed = [argument for argument in arguments if "interval" not in argument]
        for draw in range(self._draws):
            self.launcher.launch([[*fixed, f"outer={draw}"]], initial_job_idx=draw)


DrawingSweeper.__module__ = "hydra_plugins.drawing"  # Hydra takes plugins from there alone


@dataclass
class DrawingConfig:
    _target_: str = "hydra_plugins.drawing.DrawingSweeper"
    draws: int = 2


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let Hydra know a sweeper that draws as it goes."""
    Plugins.instance().register(DrawingSweeper)
    module = ModuleType("hydra_plugins.drawing")
    module.DrawingSweeper = DrawingSweeper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hydra_plugins.drawing", module)
    monkeypatch.setattr(sys.modules["hydra_plugins"], "drawing", module, raising=False)
    ConfigStore.instance().store(group="hydra/sweeper", name="drawing", node=DrawingConfig)
    yield
    del ConfigStore.instance().repo["hydra"]["sweeper"]["drawing.yaml"]


@pytest.mark.usefixtures("drawing")
@pytest.mark.parametrize("sweep", ["seed=interval(0,9)", "seed=1"])
def test_any_sweeper_draws_the_runs(launched: Launch, sweep: str) -> None:
    assert launched("-m", "experiment=smoke", "hydra/sweeper=drawing", "hydra.sweeper.draws=3", sweep) == 0
    assert launched.folds == [(0, 0), (1, 0), (2, 0)]


@pytest.mark.usefixtures("drawing")
def test_what_a_sweeper_begins_with_is_checked_before_it_draws(
    launched: Launch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launched("-m", "hydra/sweeper=drawing", "model.width=0", "seed=interval(0,9)") == 2
    assert capsys.readouterr().err.startswith("error: model.width=0 is no size of a network")
    assert launched.folds == []


def test_runs_that_a_sweeper_draws_are_found_by_what_they_leave(launched: Launch, plan_of: Any) -> None:
    earlier = RunFolder(Path("runs/other/outer0_inner0"))
    record_failure(earlier, "of an earlier sweep", outer=0, inner=0, details="")
    whole = plan_of("experiment=smoke", "runs=runs")
    plan = Plan(whole.runs, whole.launcher, multirun=True, whole=False)
    assert plan.ended() == []
    drawn = RunFolder(Path("runs/drawn/outer1_inner2"))
    record_failure(drawn, "out of memory", outer=1, inner=2, details="")
    assert plan.ended() == [drawn]


def test_an_error_in_a_callback_ends_the_command(launched: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra would make a warning of it, and train."""

    def broken(plan: Plan) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(callback, "announce", broken)
    with pytest.raises(ZeroDivisionError):
        launched("experiment=smoke")
    assert launched.folds == []


def test_the_callback_leaves_the_plan_at_home(launched: Launch) -> None:
    assert launched("experiment=smoke") == 0
    assert callback.this.plan is not None
    assert len(pickle.dumps(LaunchCallback())) < 100
    assert not issubclass(EscapedError, Exception)


def test_what_is_finished_is_not_launched(launched: Launch, caplog: pytest.LogCaptureFixture) -> None:
    assert launched("experiment=smoke", "study=mine") == 0
    done = Path("runs/mine/outer0_inner0/done.json")
    done.parent.mkdir(parents=True)
    done.write_text("{}")
    with caplog.at_level(logging.INFO, "musclesense"):
        assert launched("experiment=smoke", "study=mine") == 0
    assert "runs/mine/outer0_inner0: finished before" in caplog.messages
    assert launched("-m", "experiment=smoke", "study=mine") == 0
    assert launched.folds == [(0, 0)]


def test_the_exit_code_is_that_of_the_conclusion(launched: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback, "conclude", lambda plan: 1)
    assert launched("experiment=smoke") == 1
    assert launched("-m", "experiment=smoke") == 1


def test_joblib_is_told_how_many_runs_train_at_once(launched: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    class Spy(LaunchCallback):
        def on_multirun_start(self, config: DictConfig, **named: Any) -> None:
            super().on_run_start(config, **named)
            told.append(config.hydra.launcher.n_jobs)
            raise SystemExit(0)

    monkeypatch.setattr(callback, "LaunchCallback", Spy)
    monkeypatch.setattr(callback, "runs_at_once", lambda trainer: 7)
    joblib = ("-m", "experiment=smoke", "outer=0,1", "hydra/launcher=joblib")
    launched(*joblib)
    launched(*joblib, "hydra.launcher.n_jobs=3")
    assert told == [7, 3]
