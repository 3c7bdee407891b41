"""The command line of ``train.py`` up to the launch of its runs, and what becomes of a run that fails."""

import json
from pathlib import Path

import pytest

from musclesense.errors import DiskError
from musclesense.launch import main
from musclesense.launch.plan import make_plan
from musclesense.storage.locks import locked
from musclesense.training.config import Config
from musclesense.training.folders import run_folder

FULL = "last.ckpt: cannot be written (No space left on device); make room there"


@pytest.fixture
def config(config_dir: Path, tmp_path: Path) -> Config:
    """A run that has not begun."""
    return make_plan([f"runs={tmp_path}", "study=s"], config_dir=config_dir, multirun=False).runs[0]


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def train(_: Config) -> None:
        raise error

    monkeypatch.setattr(main, "train", train)


def test_a_failure_is_written_down_and_the_next_run_may_begin(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("out of\nmemory"))
    assert main._job(config) != main._job(config), "no number"
    failed = json.loads((run_folder(config) / "failed.json").read_text())
    assert failed == {"outer": 0, "inner": 0, "error": "out of memory"}
    assert "Traceback" in (run_folder(config) / "error.txt").read_text()


def test_a_full_disk_ends_the_sweep(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DiskError(FULL))
    with pytest.raises(SystemExit) as caught:
        main._job(config)
    assert caught.value.code == 1
    assert json.loads((run_folder(config) / "failed.json").read_text())["error"] == FULL


def test_a_failure_that_cannot_be_written_down_is_said(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, DiskError(FULL))
    run_folder(config).parent.write_text("in the way")
    with pytest.raises(SystemExit) as caught:
        main._job(config)
    assert caught.value.code == f"error: {FULL}", "printed by the interpreter, with exit code 1"


def test_a_run_that_another_sweep_has_taken_up_is_not_called_failed(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError("out of memory"))
    with locked(run_folder(config)):
        main._job(config)
    assert not run_folder(config).exists()


@pytest.fixture
def launched(config_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Launch":
    """Run a command line, and give its exit code and the folds that were launched."""
    monkeypatch.chdir(tmp_path)
    return Launch(config_dir, monkeypatch)


class Launch:
    def __init__(self, config_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._config_dir, self._monkeypatch = config_dir, monkeypatch
        self.folds: list[tuple[int, int]] = []
        for name in ("_say_what_comes", "_conclude"):
            monkeypatch.setattr(main, name, lambda *_, **__: 0)
        monkeypatch.setattr(main, "_job", lambda config: self.folds.append((config.outer, config.inner)))

    def __call__(self, *arguments: str) -> int:
        self._monkeypatch.setattr("sys.argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main.main(self._config_dir)
        return int(stopped.value.code or 0)


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
