"""The command line of ``train.py`` up to the launch of its runs, and what becomes of a run that fails."""

import json
import shutil
from pathlib import Path

import pytest
from omegaconf import DictConfig
from tests.shared.commands import Launch

from musclesense.errors import DiskError
from musclesense.launch import main
from musclesense.storage.locks import locked
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


def test_a_run_that_another_sweep_has_taken_up_is_not_called_failed(
    config: DictConfig, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError("out of memory"))
    with locked(folder):
        main.run(config)
    assert not folder.exists()


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
        (["-m", "--cfg=job"], "--cfg=job: does not go with several runs; leave -m out"),
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
