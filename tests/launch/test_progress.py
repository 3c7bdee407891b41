"""The lines and the bar of a sweep, read from run folders."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from musclesense.launch.plan import Plan
from musclesense.launch.progress import progress_of
from musclesense.messages import in_words
from musclesense.studies.layout import RunFolder, StudyFolder


def plan_of(folders: list[Path]) -> Plan:
    """A plan of these runs, of which nothing but the folders is looked at."""
    runs = [SimpleNamespace(run=RunFolder(folder), study=StudyFolder(folder.parent)) for folder in folders]
    return Plan(tuple(runs), launcher=None, multirun=True)  # type: ignore[arg-type]


def finish(folder: Path, dice: float) -> None:
    folder.mkdir(parents=True)
    (folder / "done.json").write_text(json.dumps({"scores": {"dice": dice, "dice_calf": dice}}))


def test_each_ended_run_is_one_line_and_earlier_ones_none(tmp_path: Path) -> None:
    folders = [tmp_path / "study" / f"outer0_inner{inner}" for inner in range(4)]
    finish(folders[0], 0.5)
    folders[3].mkdir(parents=True)
    (folders[3] / "failed.json").write_text(json.dumps({"error": "of an earlier sweep"}))
    written = io.StringIO()
    with progress_of(plan_of(folders), Console(file=written, width=200)):
        finish(folders[1], 0.91)
        folders[2].mkdir()
        (folders[2] / "failed.json").write_text(json.dumps({"error": "out of memory"}))
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("outer0_inner1  DSC 0.910  DSC calf 0.910  (2 of 4, ")
    assert lines[1].startswith("outer0_inner2  failed: out of memory  (3 of 4, ")


def test_a_terminal_shows_one_bar_for_the_sweep(tmp_path: Path) -> None:
    folders = [tmp_path / "study" / f"outer0_inner{inner}" for inner in range(2)]
    written = io.StringIO()
    with progress_of(plan_of(folders), Console(file=written, width=100, force_terminal=True)):
        finish(folders[0], 0.9)
        finish(folders[1], 0.8)
    assert "2/2" in written.getvalue()
    assert written.getvalue().count("outer0_inner1  DSC 0.800") == 1


@pytest.mark.parametrize(("seconds", "words"), [(12.4, "12 s"), (600, "10 min"), (9000, "2.5 h")])
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
