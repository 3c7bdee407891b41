"""Command lines up to their plan, as Hydra composes them, and up to their launch."""

from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
from hydra import initialize_config_dir
from hydra.types import RunMode
from omegaconf import DictConfig

from musclesense.launch import main as launching
from musclesense.launch.main import command
from musclesense.launch.overrides import read
from musclesense.launch.plan import Plan, make_plan
from musclesense.training.composition import NAME, compose_command, config_folder, explain
from musclesense.training.config import register

PlanOf = Callable[..., Plan]


@pytest.fixture(scope="session")
def plan_of() -> PlanOf:
    """Make the plan of overrides."""
    register()

    def of(*words: str, multirun: bool = True) -> Plan:
        _, overrides = read(words)
        mode = RunMode.MULTIRUN if multirun else RunMode.RUN
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            try:
                config = compose_command(overrides, mode)
            except Exception as error:
                raise explain(error, overrides) from error
            return make_plan(config, multirun=multirun)

    return of


class Launch:
    """A command line, with what is launched left out.

    Attributes:
        folds: Of the runs that were launched.
        conf: Where the configuration lies.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.folds: list[tuple[int, int]] = []
        self.conf = config_folder()
        patch.setattr(launching, "announce", lambda plan: None)
        patch.setattr(launching, "conclude", lambda plan: 0)

    def __call__(self, *arguments: str) -> int:
        """Do what the arguments say, and give the exit code."""
        self._patch.setattr("sys.argv", ["train.py", *arguments])
        decorated = hydra.main(config_path=str(self.conf), config_name=NAME, version_base="1.3")(self._run)
        with pytest.raises(SystemExit) as stopped:
            command(decorated)
            raise SystemExit(0)
        return int(stopped.value.code or 0)

    def _run(self, config: DictConfig) -> float:
        self.folds.append((config.outer, config.inner))
        return 0.0


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Do a command line in an empty folder; its runs are counted and not trained."""
    monkeypatch.chdir(tmp_path)
    return Launch(monkeypatch)
