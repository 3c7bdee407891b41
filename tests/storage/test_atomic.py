"""Files and folders are whole or absent."""

import errno
import json
import os

import pytest

from musclesense.errors import DiskError, InputError
from musclesense.storage.atomic import atomic_folder, atomic_path
from musclesense.storage.locks import locked
from musclesense.storage.records import write_json


def test_a_file_appears_whole_with_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "mask.nii.gz"
    with atomic_path(path) as draft:
        assert draft.name.endswith(".nii.gz")
        assert draft.parent.parent == path.parent
        draft.write_bytes(b"12")
        assert not path.exists()
    assert path.read_bytes() == b"12"
    assert [p.name for p in path.parent.iterdir()] == ["mask.nii.gz"]


def test_an_error_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError, match="in the middle"), atomic_path(path) as draft:
        draft.write_text("half")
        raise RuntimeError("in the middle")
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(RuntimeError), atomic_folder(path) as draft:
        (draft / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(path) as draft:
        (draft / "one").write_text("x")
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (path / "one").read_text() == "x"
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("writer", [atomic_path, atomic_folder, locked])
def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path, writer, deep):
    (tmp_path / "file").write_text("not a folder")
    path = tmp_path / "file" / "sub" / "x" if deep else tmp_path / "file" / "x"
    with pytest.raises(InputError, match="cannot be written"), writer(path):
        pytest.fail("there is no place to write to")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_full_folder_in_the_way_is_an_input_error(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("x")
    with pytest.raises(InputError, match="out: cannot be written"), atomic_folder(tmp_path / "out") as draft:
        (draft / "new").write_text("y")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "kept").read_text() == "x"


def test_a_missing_input_elsewhere_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "out" / "x") as draft:
        draft.write_bytes((tmp_path / "elsewhere" / "missing").read_bytes())


def test_what_was_there_before_is_kept_under_another_name(tmp_path):
    for number in "123":
        with atomic_path(tmp_path / "x", keep=tmp_path / "before") as draft:
            draft.write_text(number)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"x": "3", "before": "2"}


def test_a_full_disk_is_told_with_what_to_do(tmp_path):
    with pytest.raises(DiskError) as caught, atomic_path(tmp_path / "x") as draft:
        draft.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == (
        f"{tmp_path}/x: cannot be written (No space left on device); make room there and give the same command again"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_folders_made_for_a_file_that_never_came_go_again(tmp_path, atomic):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="stop"), atomic(tmp_path / "there" / "a" / "b" / "x"):
        raise ValueError("stop")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


def test_a_draft_whose_name_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError) as caught, atomic_folder(tmp_path / ("x" * 250)):
        pass
    assert caught.value.problems == (
        f"{tmp_path}/{'x' * 250}: cannot be written (File name too long); give a shorter name",
    )
