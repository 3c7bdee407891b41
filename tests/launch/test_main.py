"""The command line of ``train.py`` up to the launch of its runs, and what becomes of a run that fails."""

import json
import logging
import math
import os
import pickle
import shutil
import signal
import subprocess
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

from musclesense.endings import GO_ON
from musclesense.errors import DiskError, InputError
from musclesense.launch import main
from musclesense.launch.main import LaunchCallback
from musclesense.launch.plan import Plan
from musclesense.messages import to_console
from musclesense.storage.locks import locked
from musclesense.studies.layout import RunFolder
from musclesense.studies.writing import record_failure
from musclesense.training import run as training
from musclesense.training.composition import compose_config, config_folder
from musclesense.training.settings import Settings

FULL = "last.ckpt: cannot be written (No space left on device); make room there"


@pytest.fixture
def config(tmp_path: Path) -> DictConfig:
    """A run that has not begun."""
    return compose_config(f"runs={tmp_path}", "study=s")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Its folder."""
    return tmp_path / "s" / "outer0_inner0"


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def train(_: Settings) -> None:
        raise error

    monkeypatch.setattr(training, "train", train)


def test_a_failure_is_written_down_and_the_next_run_may_begin(
    config: DictConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError("out of\nmemory"))
    assert main.run(config) != main.run(config), "no number"
    failed = json.loads((folder / "failed.json").read_text())
    assert failed == {"format": 2, "outer": 0, "inner": 0, "error": "out of memory"}
    assert "Traceback" in (folder / "error.txt").read_text()


def test_a_full_disk_ends_the_sweep(config: DictConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DiskError(FULL))
    with pytest.raises(SystemExit) as caught:
        main.run(config)
    assert caught.value.code == 1
    assert json.loads((folder / "failed.json").read_text())["error"] == FULL


def test_a_failure_that_cannot_be_written_down_is_said(
    config: DictConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, DiskError(FULL))
    folder.parent.write_text("in the way")
    with pytest.raises(SystemExit) as caught:
        main.run(config)
    assert caught.value.code == f"error: {FULL}", "printed by the interpreter, with exit code 1"


def test_a_run_whose_folder_alone_is_closed_does_not_end_the_sweep(
    config: DictConfig, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, InputError("outer0_inner0: cannot be written (Permission denied)"))
    folder.parent.mkdir()
    folder.symlink_to("gone")
    to_console()
    assert math.isnan(main.run(config))
    assert capfd.readouterr().err == f"{folder}: outer0_inner0: cannot be written (Permission denied)\n"
    assert folder.is_symlink()


def test_a_run_that_another_sweep_has_taken_up_is_not_called_failed(
    config: DictConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError("out of memory"))
    with locked(folder):
        main.run(config)
    assert not folder.exists()


@pytest.mark.parametrize("there", ["a link that leads nowhere", "a file"])
def test_a_folder_that_hydra_cannot_make_is_a_line(
    launched: Launch, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs").mkdir()
    folder = Path("runs/.sweep")
    folder.touch() if there == "a file" else folder.symlink_to("gone")
    assert launched("-m", "experiment=smoke", "outer=0,1") == 2
    assert capsys.readouterr().err == "error: runs/.sweep: File exists; correct that, or give another place\n"
    assert launched.folds == []


# What Hydra calls before and after the runs


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

    monkeypatch.setattr(main, "announce", broken)
    with pytest.raises(ZeroDivisionError):
        launched("experiment=smoke")
    assert launched.folds == []


def test_the_callback_leaves_the_plan_at_home(launched: Launch) -> None:
    assert launched("experiment=smoke") == 0
    assert main.this.plan is not None
    assert len(pickle.dumps(LaunchCallback())) < 100


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
    monkeypatch.setattr(main, "conclude", lambda plan: 1)
    assert launched("experiment=smoke") == 1
    assert launched("-m", "experiment=smoke") == 1


def test_joblib_is_told_how_many_runs_train_at_once(
    launched: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    class Spy(LaunchCallback):
        def on_multirun_start(self, config: DictConfig, **named: Any) -> None:
            super().on_run_start(config, **named)
            told.append(config.hydra.launcher.n_jobs)
            raise SystemExit(0)

    monkeypatch.setattr(main, "LaunchCallback", Spy)
    monkeypatch.setattr(main, "runs_at_once", lambda trainer: 7)
    joblib = ("-m", "experiment=smoke", "outer=0,1", "hydra/launcher=joblib")
    launched(*joblib)
    launched(*joblib, "hydra.launcher.n_jobs=3")
    assert told == [7, 3]
    launched(*joblib, "hydra.launcher.n_jobs=-1")
    launched.conf = shutil.copytree(config_folder(), tmp_path / "conf")
    (launched.conf / "hydra" / "launcher" / "own.yaml").write_text("defaults: [joblib]\nn_jobs: 4\n")
    launched("-m", "experiment=smoke", "outer=0,1", "hydra/launcher=own")
    assert told[2:] == [-1, 4]


@pytest.mark.parametrize(("number", "said"), [(signal.SIGINT, "Ctrl+C"), (signal.SIGTERM, "SIGTERM")])
def test_a_sweep_that_is_told_to_end_begins_no_other_run(
    launched: Launch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, said: str
) -> None:
    monkeypatch.setattr(launched, "_run", lambda config: os.kill(os.getpid(), number) or launched.folds.append((0, 0)))
    before = {name: signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        assert launched("-m", "outer=0..2", "experiment=smoke") == 128 + number
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
    assert launched.folds == []
    assert capsys.readouterr() == ("", f"stopped by {said}: {GO_ON}\n")


# Past failures, found by `make fuzz`


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_flag_for_several_runs_may_stand_anywhere(launched: Launch, place: int) -> None:
    words = ["outer=0..1", "experiment=smoke"]
    words.insert(place, "-m")
    assert launched(*words) == 0
    assert launched.folds == [(0, 0), (1, 0)]


@pytest.mark.parametrize(
    "flag",
    ["--nope", "-x", "--config-dir=/nope", "--config-name=nope", "--experimental-rerun=x", "--run", "--cfg=nope"],
)
def test_a_flag_that_is_not_ours_is_refused_in_one_line(
    launched: Launch, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launched("outer=1", flag) == 2
    assert capsys.readouterr() == ("", f"error: {flag}: no such option; give KEY=VALUE, -m, --help or --cfg=job\n")
    assert launched.folds == []


def test_what_is_shown_is_checked_first(launched: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    assert launched("--cfg", "job", "wdith=3") == 2
    assert capsys.readouterr().err.startswith("error: wdith: no such key")
    assert launched("grid=coarse", "--cfg", "job") == 0
    assert "spacing_mm: 2.5" in capsys.readouterr().out
    assert launched.folds == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "--cfg", "job", "outer=2..4", "grid=coarse,paper"], "outer: 2\n"),
        (["outer=3,1", "-c", "job", "-m", "--resolve"], "outer: 3\n"),
        (["--cfg", "hydra", "-p", "hydra.launcher", "hydra/launcher=slurm"], "timeout_min: 240\n"),
        (["-h", "-m", "outer=0..4"], "== Configuration groups =="),
        (["--hydra-help"], "Hydra ("),
    ],
)
def test_what_is_to_be_shown_is_shown_of_the_first_run(
    launched: Launch, words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert launched(*words) == 0
    assert said in capfd.readouterr().out
    assert launched.folds == []


def test_what_hydra_logs_of_itself_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "musclesense", "train", "-i", "defaults", "-m", "outer=0,1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Defaults List" in done.stdout


def test_a_former_override_is_answered_with_the_new_one(launched: Launch, capsys: pytest.CaptureFixture[str]) -> None:
    assert launched("labels.threshold=0.4", "callbacks.patience=3") == 2
    assert capsys.readouterr() == (
        "",
        "error: labels.threshold=0.4: is no longer an option; give inference.threshold=0.4\n"
        "error: callbacks.patience=3: is no longer an option; give early_stopping.patience=3\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["outer=0,1"], "outer: several values ask for several runs; add -m"),
        (["outer=0..1"], "outer: several values ask for several runs; add -m"),
        (["--resolve", "-m"], "--resolve: goes with --cfg; add --cfg=job"),
        (["-p", "trainer"], "--package=trainer: goes with --cfg; add --cfg=job"),
        (["-m", "outer=range(0,1000000000)"], "outer=range(0,1000000000): 1000000000 values; give 1 to 2500"),
        (["seed=" + "[" * 1000 + "]" * 1000], "too long or too deep; give"),
        (["-m", "hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0: give 1 or more, or null"),
        (["-m", "hydra/sweeper=x"], "hydra/sweeper=x: no option 'x'; give basic"),
        (["outer"], "outer: not an override ("),
    ],
)
def test_what_hydra_would_say_in_many_lines_is_one(
    launched: Launch, arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launched(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert said in err
    assert launched.folds == []
    assert list(tmp_path.iterdir()) == []


def test_sweeps_may_stand_in_the_configuration_of_the_sweeper(launched: Launch, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(config_folder(), conf)
    overlay = {"defaults": ["smoke"], "hydra": {"sweeper": {"params": {"inner": "0,2", "outer": "0,1,2"}}}}
    (conf / "experiment" / "own.yaml").write_text("# @package _global_\n" + json.dumps(overlay))
    launched.conf = conf
    assert launched("-m", "outer=3", "experiment=own") == 0
    assert launched.folds == [(3, 0), (3, 2)]


def test_a_command_is_recorded_without_paths_on_request() -> None:
    typed = "python train.py -m outer=0..4 'cohort.path=/h/Anna M/c.csv' ++runs=/h/r data=d study=s anonymous=true"
    kept = "python train.py -m outer=0..4 cohort.path=... ++runs=... data=... study=s anonymous=true"
    assert main._without_paths(typed) == kept
