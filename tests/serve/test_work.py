"""A job's own process: how it ends, what it says, the example."""

import json
import logging
from pathlib import Path

import pytest

from musclesense.messages import log
from musclesense.serve import work
from musclesense.serve.store import OUTCOME, SAID, Kind
from musclesense.serve.work import Task, run
from musclesense.storage.records import read_json


@pytest.fixture(autouse=True)
def this_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "end_with_parent", lambda: None)
    monkeypatch.setattr("os.nice", lambda _: 0)


def done(folder: Path, monkeypatch: pytest.MonkeyPatch, does: object) -> dict[str, object]:
    monkeypatch.setitem(work._DO, Kind.SEGMENT, does)
    before = (list(log.handlers), log.level)
    run(Task(folder, Kind.SEGMENT, {}, 100))
    assert (list(log.handlers), log.level) == before
    told: dict[str, object] = read_json(folder / OUTCOME, remedy="")
    return told


def test_what_is_said_is_kept_without_the_places_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(task: Task, said: work._Said) -> None:
        said.step("segmenting")
        log.info(f"{task.folder / 'input'}: taken: fat image-001_fat.nii.gz")
        log.warning(f"{task.folder / 'input' / 'image-001_fat.nii.gz'}: dark")
        log.info("segment: 8 of 96 slices, about 2 min left")

    told = done(tmp_path, monkeypatch, says)
    assert told == {
        "state": "done",
        "notes": [
            {"level": "info", "text": "upload: taken: fat image-001_fat.nii.gz"},
            {"level": "warning", "text": "image-001_fat.nii.gz: dark"},
        ],
    }
    assert json.loads((tmp_path / SAID).read_text()) == {"step": "segmenting", "done": 8, "of": 96}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Meyer, Anna"), "this scan could not be segmented; the fault is the program's"),
        (MemoryError(), "the scan needs more memory than this machine has; give fewer slices"),
    ],
)
def test_an_error_that_nobody_foresaw_tells_nothing_of_a_scan(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks(task: Task, _: work._Said) -> None:
        raise error

    with caplog.at_level(logging.INFO):
        told = done(tmp_path, monkeypatch, breaks)
    assert told == {"state": "failed", "problems": [said], "notes": []}
    assert "Meyer" not in caplog.text


@pytest.mark.parametrize("region", work.EXAMPLES)
def test_an_example_is_a_scan_of_its_region(region: str, tmp_path: Path) -> None:
    from musclesense.intake.found import read

    work._write_example(tmp_path / "input", region)
    scan = read(tmp_path / "input")
    assert scan.geometry.shape[2] == 5 and {*scan.channels} == {"fat", "water"}
    assert scan.places.region == region
