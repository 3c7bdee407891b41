"""All runs of a study train on one number of threads."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from musclesense.studies.layout import StudyFolder
from musclesense.training.machine.threads import agree, agreed


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StudyFolder]:
    """A study that has not begun, on a machine of eight cores of which PyTorch takes four."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield StudyFolder(tmp_path / "s")
    torch.set_num_threads(before)


def taken(study: StudyFolder) -> int:
    before = torch.get_num_threads()
    with agreed(study):
        number = torch.get_num_threads()
    assert torch.get_num_threads() == before, "the next study may have another"
    return number


@pytest.mark.parametrize(("side_by_side", "number"), [(1, 4), (2, 4), (4, 2), (8, 1), (-1, 1), (100, 1)])
def test_the_command_that_begins_a_study_decides(study: StudyFolder, side_by_side: int, number: int) -> None:
    agree(study, side_by_side=side_by_side)
    assert taken(study) == number
    for later in (1, 2, 3, -1):
        agree(study, side_by_side=later)
        assert taken(study) == number, "serial and joblib alike"


def test_a_job_without_a_command_here_decides_by_itself(study: StudyFolder) -> None:
    assert taken(study) == 4
    torch.set_num_threads(2)
    assert taken(study) == 4, "on another node"
    assert json.loads(study.threads.read_text()) == {"format": 2, "threads": 4}


def test_another_machine_goes_on_as_the_study_began_which_is_told(
    study: StudyFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    agree(study)
    torch.set_num_threads(2)
    agree(study)
    assert taken(study) == 4
    said = "trains on 4 threads, as its runs before; OMP_NUM_THREADS=2 would be this machine's number"
    assert capsys.readouterr().err == f"{study.path}: {said}, and scores may then differ a little\n"


def test_what_the_environment_asks_for_is_obeyed_and_told(
    study: StudyFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    agree(study)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)  # as PyTorch does when it starts
    agree(study, side_by_side=8)
    said = f"{study.path}: OMP_NUM_THREADS=3, and earlier runs trained on 4 threads; scores may differ a little\n"
    assert capsys.readouterr().err == said
    assert taken(study) == 3
    agree(study)
    assert capsys.readouterr().err == ""


def test_a_worker_of_joblib_s_takes_the_study_s_number_whatever_it_was_given(
    study: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    agree(study, side_by_side=2)
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    assert taken(study) == 4


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"threads": 0}', '{"threads": true}', '{"threads": 1e9}'])
def test_a_damaged_record_is_written_anew(study: StudyFolder, content: str) -> None:
    study.path.mkdir()
    study.threads.write_text(content)
    assert taken(study) == 4
    assert json.loads(study.threads.read_text())["threads"] == 4
