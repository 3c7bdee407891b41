"""What is a list of masks, and what is not."""

import json
from pathlib import Path

import httpx
import pytest

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.serve.review.cases import Cases
from musclesense.serve.review.main import source_of
from musclesense.serve.review.scans import Scans

from ...shared.waiting import end
from ..test_main import started
from .conftest import NAMES


def test_what_a_folder_holds_is_found(folder: Path, study: Path) -> None:
    assert isinstance(source_of(folder), Scans) and isinstance(source_of(folder / NAMES[0]), Scans)
    assert isinstance(source_of(study), Cases)


@pytest.mark.parametrize("wanted", ["none", "file", "empty", "corrected", "damaged", "newer"])
def test_what_has_no_masks_is_refused(
    wanted: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given, said = tmp_path / wanted, "holds no results of segment and no study"
    if wanted == "file":
        given.write_text("x")
    elif wanted == "empty":
        given.mkdir()
    elif wanted == "corrected":
        given, said = folder / NAMES[0], "holds a corrected mask; give the folder of the automatic one"
        record = json.loads((given / "run.json").read_text())
        (given / "run.json").write_text(json.dumps(record | {"corrected": {}}))
    elif wanted in ("damaged", "newer"):
        given, said = folder, "review.json: "
        (folder / "review.json").write_text("{" if wanted == "damaged" else '{"format": 9, "entries": []}')
    with pytest.raises(SystemExit) as refused:
        main(["review", str(given), "--port", "0"])
    told = capsys.readouterr().err
    assert refused.value.code == 2 and said in told and told.count("\n") == 1


def test_others_are_not_let_in_without_a_token(folder: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["review", str(folder), "--host", "0.0.0.0"])
    assert refused.value.code == 2


def test_a_folder_of_a_scan_that_is_no_longer_there_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        source_of(tmp_path / "none")


def test_it_says_where_it_is(folder: Path) -> None:
    process, address = started(folder, verb=("review", str(folder)))
    try:
        assert [one["scan"] for one in httpx.get(f"{address}/api/scans").json()] == [NAMES[1], NAMES[2], NAMES[0]]
        process.terminate()
        _, said = process.communicate()
        assert f"3 masks; what is said of them is kept in {folder / 'review.json'}" in said
    finally:
        end(process)
