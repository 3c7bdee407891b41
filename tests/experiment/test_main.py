"""What becomes of a run that fails."""

import json
from pathlib import Path

import pytest

from musclesense.errors import DiskError
from musclesense.experiment import main
from musclesense.experiment.plan import make_plan
from musclesense.files import locked
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
