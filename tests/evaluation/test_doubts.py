"""Cases that are missing, or that contradict their record, in studies whose runs wrote no digests."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from musclesense.errors import InputError
from musclesense.evaluation.doubts import doubts
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.tables import study_table
from musclesense.storage.records import write_csv
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_study

from ..shared.networks import BEFORE
from ..shared.runs import rows_of

StudyWriter = Callable[..., Path]
Rows = list[dict[str, str]]


def write_rows(run: RunFolder, rows: Rows) -> None:
    write_csv(run.cases, tuple(rows[0]), rows)


@pytest.fixture
def study(write_study: StudyWriter) -> StudyFolder:
    """A study of three runs, of which each wrote its mean Dice and no digests."""
    folder = StudyFolder(write_study(finished=[(0, 0), (0, 1), (1, 1)]))
    for fold in ((0, 0), (0, 1), (1, 1)):
        run = folder.run(*fold)
        dice = [float(row["dice"]) for row in rows_of(run.cases)]
        record = json.loads(run.done.read_text()) | {"scores": {"dice": sum(dice) / len(dice)}}
        record.pop("files", None)
        run.done.write_text(json.dumps(record))
    return folder


def test_a_sound_study_is_in_no_doubt(study: StudyFolder) -> None:
    assert doubts(read_study(study.path)) == []
    assert "in doubt" not in study_table(study.path)
    assert "in doubt" not in write_report(study.path).read_text()


def test_studies_of_the_release_before_are_in_no_doubt() -> None:
    assert doubts(read_study(BEFORE / "study")) == []


@pytest.mark.parametrize("fold", [(0, 0), (1, 1)])
@pytest.mark.parametrize("gone", [1, 3])
def test_missing_cases_are_told(study: StudyFolder, fold: tuple[int, int], gone: int) -> None:
    run = study.run(*fold)
    write_rows(run, rows_of(run.cases)[gone:])
    said = doubts(read_study(study.path))
    assert any("mean Dice of its cases is" in line for line in said)
    if fold == (0, 0):  # which has a sibling
        assert f"{run.name}: {gone} of 4 cases of its outer fold are missing" in said
    assert all(line.startswith(run.name) for line in said)
    assert all(line in study_table(study.path) for line in said)
    assert "; ".join(said) in write_report(study.path).read_text()


@pytest.mark.parametrize("dice", ["", "nan", "inf", "0", "0.5", "1"])
def test_a_dice_that_is_not_that_of_its_voxels_is_told(study: StudyFolder, dice: str) -> None:
    run = study.run(0, 1)
    rows = rows_of(run.cases)
    rows[2]["dice"] = dice
    write_rows(run, rows)
    said = doubts(read_study(study.path))
    assert "outer0_inner1: 1 of 4 cases have a Dice that is not that of their tp, fp and fn" in said
    assert any("mean Dice of its cases is" in line for line in said)


@pytest.mark.parametrize("times", [2, 3])
def test_cases_that_stand_twice_are_refused(study: StudyFolder, times: int) -> None:
    run = study.run(0, 1)
    rows = rows_of(run.cases)
    write_rows(run, rows + [rows[1]] * (times - 1))
    with pytest.raises(InputError, match=f"cases.csv: the case of line 2?.*stands {times} times") as caught:
        write_report(study.path)
    assert "\n" not in str(caught.value)


def test_cases_of_another_study_are_refused(study: StudyFolder) -> None:
    run = study.run(1, 1)
    write_rows(run, [row | {"outer": "1", "inner": "1"} for row in rows_of(study.run(0, 0).cases)])
    with pytest.raises(InputError, match=r"cases\.csv: "):
        write_report(study.path)


def test_cases_of_a_run_that_another_configuration_made_are_told(study: StudyFolder) -> None:
    """The same people, other scores."""
    one, other = study.run(0, 0), study.run(0, 1)
    write_rows(one, [row | {"outer": "0", "inner": "0"} for row in rows_of(other.cases)])
    (said,) = doubts(read_study(study.path))
    assert said.startswith("outer0_inner0: mean Dice of its cases is")
