"""Files that are whole or absent, and locks between processes."""

import json
import multiprocessing
from pathlib import Path

import pytest

from musclesense.errors import InputError
from musclesense.files import atomic_folder, atomic_path, locked, locked_if_free, write_csv, write_json, write_text


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


def test_text_json_and_csv(tmp_path):
    write_text(tmp_path / "x.txt", "µ\n")
    assert (tmp_path / "x.txt").read_bytes() == "µ\n".encode()
    write_json(tmp_path / "x.json", {"b": [1, 2], "a": None})
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": [1, 2], "a": None}
    assert (tmp_path / "x.json").read_text().endswith("}\n")
    write_csv(tmp_path / "x.csv", ("a", "b"), [{"a": 1, "b": "x, y"}, {"a": 2}])
    assert (tmp_path / "x.csv").read_bytes() == b'a,b\n1,"x, y"\n2,\n'
    with pytest.raises(ValueError, match="not in fieldnames"):
        write_csv(tmp_path / "x.csv", ("a",), [{"a": 1, "c": 2}])
    assert (tmp_path / "x.csv").read_text().startswith("a,b")


def count_up(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path):
            path.write_text(str(int(path.read_text()) + 1))


def test_a_lock_keeps_processes_from_overwriting_each_other(tmp_path):
    path = tmp_path / "count"
    path.write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(path, 100)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert path.read_text() == "300"


def test_a_lock_is_released_by_an_error(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path / "x"):
        raise RuntimeError
    process = multiprocessing.get_context("fork").Process(target=count_up, args=(tmp_path / "x", 0))
    (tmp_path / "x").write_text("0")
    process = multiprocessing.get_context("fork").Process(target=count_up, args=(tmp_path / "x", 1))
    process.start()
    process.join(timeout=20)
    alive = process.is_alive()
    process.kill()
    assert not alive
    assert (tmp_path / "x").read_text() == "1"


def test_a_lock_that_is_taken_is_not_waited_for(tmp_path):
    with locked_if_free(tmp_path / "x") as first, locked_if_free(tmp_path / "x") as second:
        assert (first, second) == (True, False)
    with locked_if_free(tmp_path / "x") as again:
        assert again
