"""The script that makes a view in wandb: Python that runs, for studies of any regions and names."""

import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from musclesense.training.watch.dashboard import write_dashboard

from ...shared.studies import StudyWriter


class Noted:
    """What stands for a class of the library: it remembers what it was made with."""

    default_entity = "me"

    def __init__(self, *given: Any, **named: Any) -> None:
        self.given, self.named = given, named


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for wandb and wandb-workspaces, which is not installed everywhere."""
    packages = ("wandb_workspaces", "wandb_workspaces.reports")
    for name in (*packages, "wandb", "wandb_workspaces.reports.v2", "wandb_workspaces.workspaces"):
        module = ModuleType(name)
        vars(module)["__getattr__"] = lambda _: Noted
        monkeypatch.setitem(sys.modules, name, module)
    for name in (*packages, "wandb_workspaces.reports.v2", "wandb_workspaces.workspaces"):
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], own, sys.modules[name])


def with_logger(folder: Path, entity: str | None) -> Path:
    settings = yaml.safe_load((folder / "study.yaml").read_text())
    settings["logger"] = {"name": "wandb", "project": "mine", "entity": entity}
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.mark.parametrize("entity", [None, "clinic", 'o\'neill "x" {y}'])
@pytest.mark.parametrize("name", ["demo", "phantom-demo-lower_limb-fat+water-1a2b3c4d"])
def test_the_script_asks_for_the_runs_of_the_study(
    name: str, entity: str | None, write_study: StudyWriter, library: None
) -> None:
    folder = with_logger(write_study(name, finished=[(0, 0)]), entity)
    script = write_dashboard(folder)
    assert script == folder / "report" / "dashboard.py"
    view = runpy.run_path(str(script))["view"]
    assert (view.named["entity"], view.named["project"], view.named["name"]) == (entity or "me", "mine", name)
    assert view.named["runset_settings"].named["filters"] == f"Config('study') = '{name}'"
    test = next(section for section in view.named["sections"] if section.named["name"] == "Test")
    shown = [panel.named["metrics"] for panel in test.named["panels"]]
    assert shown == [["test/dice_calf"], ["test/dice_thigh"]]


def test_a_study_that_was_never_shown_in_wandb_has_a_script_too(write_study: StudyWriter, library: None) -> None:
    view = runpy.run_path(str(write_dashboard(write_study(finished=[]))))["view"]
    assert (view.named["entity"], view.named["project"]) == ("me", "musclesense")


def test_the_view_is_one_that_wandb_takes(write_study: StudyWriter) -> None:
    pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")
    folder = with_logger(write_study(finished=[(0, 0)]), "clinic")
    view = runpy.run_path(str(write_dashboard(folder)))["view"]
    said = view._to_model().model_dump_json(by_alias=True)
    for word in ("val_dice", "test/dice_thigh", "test/cases", "tables/statistics", "demo", "clinic"):
        assert word in said, word
