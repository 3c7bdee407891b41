"""A study that the release before wrote goes on and is reported as that release did."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from musclesense.evaluation.report.page import write_report
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_study
from musclesense.training import run

BEFORE = Path(__file__).parents[1] / "fixtures" / "before"
REACHED = 5e-3
"""What the numbers of a training may be off on another kind of processor."""


@pytest.fixture
def before(tmp_path: Path) -> StudyFolder:
    """A copy of the study, with its phantom beside it."""
    shutil.copytree(BEFORE / "phantom-smoke-1", tmp_path / "data" / "phantom-smoke-1")
    shutil.copytree(BEFORE / "study", tmp_path / "runs" / "before")
    return StudyFolder(tmp_path / "runs" / "before")


def same_but_for_processors(made: Path, expected: Path) -> None:
    with made.open(newline="") as one, expected.open(newline="") as other:
        rows, wanted = list(csv.DictReader(one)), list(csv.DictReader(other))
    assert len(rows) == len(wanted)
    for row, want in zip(rows, wanted, strict=True):
        assert [name for name in row if name in want] == list(want)
        for name, value in want.items():
            try:
                assert float(row[name]) == pytest.approx(float(value), rel=REACHED, abs=REACHED), name
            except ValueError:
                assert row[name] == value


def test_an_interrupted_run_goes_on_and_ends_as_it_would_have(before: StudyFolder, tmp_path: Path, composed) -> None:
    others = {path: path.read_bytes() for path in before.path.rglob("*") if before.run(0, 2).path not in path.parents
              and path.is_file()}  # fmt: skip
    config = composed(
        *("outer=0", "inner=2", "seed=3", "study=before"), f"data={tmp_path / 'data'}", f"runs={tmp_path / 'runs'}"
    )
    run.train(config)
    ended, expected = before.run(0, 2), RunFolder(BEFORE / "study_expected" / "outer0_inner2")
    same_but_for_processors(ended.cases, expected.cases)
    same_but_for_processors(ended.metrics, expected.metrics)
    done, wanted = json.loads(ended.done.read_text()), json.loads(expected.done.read_text())
    assert done["best_epoch"] == wanted["best_epoch"] and done["epochs"] == wanted["epochs"]
    assert done["scores"] == pytest.approx(wanted["scores"], rel=REACHED)
    assert {path: path.read_bytes() for path in others} == others


def test_it_is_found_again_by_its_configuration(before: StudyFolder, tmp_path: Path, composed) -> None:
    unnamed = before.path.rename(before.path.with_name("phantom-smoke-lower_limb-fat+water+te345+te575-12345678"))
    config = composed("outer=0", "inner=0", "seed=3", f"data={tmp_path / 'data'}", f"runs={tmp_path / 'runs'}")
    assert run.train(config) == json.loads((unnamed / "outer0_inner0" / "done.json").read_text())["scores"]
    assert [path.name for path in unnamed.parent.iterdir() if path.is_dir()] == [unnamed.name]


def test_its_report_is_the_same(before: StudyFolder) -> None:
    write_report(before.path)
    expected = StudyFolder(BEFORE / "study_expected").report.nested_cv.read_text().splitlines()
    columns = expected[0].count(",") + 1  # new ones stand behind them
    assert [
        ",".join(line.split(",")[:columns]) for line in before.report.nested_cv.read_text().splitlines()
    ] == expected
    dice = [case.dice for run in read_study(before.path).runs[:2] for case in run.cases]
    assert len(dice) == 12 and None not in dice
    text = before.report.page.read_text()
    assert "fat, water, te345, te575" in text and "unet, width 4, depth 3" in text
