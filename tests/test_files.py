"""Files that are whole or absent, and locks between processes."""

import errno
import json
import multiprocessing
import os
import socket
from pathlib import Path

import pytest

from musclesense import files
from musclesense.errors import DiskError, InputError
from musclesense.files import (
    atomic_folder,
    atomic_path,
    is_file,
    is_folder,
    locked,
    locked_if_free,
    read_json,
    read_yaml,
    require_file,
    require_free,
    require_writable,
    size_and_change,
    write_csv,
    write_json,
    write_text,
)


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


def killed_while_writing(path: Path) -> None:
    with locked(path), atomic_path(path) as draft, atomic_folder(path.parent / "folder") as folder:
        (path.parent / "run").mkdir()
        with atomic_path(path.parent / "run" / "inner"):
            draft.write_text("half")
            (folder / "part").write_text("half")
            os._exit(9)


@pytest.mark.parametrize("lock", [locked, locked_if_free])
def test_what_a_killed_holder_left_is_removed_by_the_next_one(tmp_path, lock):
    process = multiprocessing.get_context("fork").Process(target=killed_while_writing, args=(tmp_path / "x",))
    process.start()
    process.join()
    (tmp_path / ".x.draft").mkdir()
    (tmp_path / ".x.y.abc_1.draft").mkdir()

    def drafts() -> list[str]:
        return sorted(path.name.split(".")[1] for path in tmp_path.rglob(".*.*.draft") if path.name.count(".") == 3)

    assert drafts() == ["folder", "inner", "x"]
    with lock(tmp_path / "x"):
        assert drafts() == ["folder", "inner"], "others may be at work on the rest"
    with lock(tmp_path / "run"):
        assert drafts() == ["folder"]
    with lock(tmp_path / "folder"):
        assert drafts() == []
    assert (tmp_path / ".x.draft").is_dir() and (tmp_path / ".x.y.abc_1.draft").is_dir(), "of another name"


def hold(path: Path, held, release) -> None:
    with locked(path):
        held.set()
        release.wait()


def test_who_waits_is_told_whom_for(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(files, "_QUIET_SECONDS", 0.01)
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "x", held, release))
    process.start()
    held.wait()
    original = files._holder
    monkeypatch.setattr(files, "_holder", lambda lock: (original(lock), release.set())[0])
    with locked(tmp_path / "x"):
        pass
    process.join()
    line = f"{tmp_path}/x: waiting for process {process.pid} on {socket.gethostname()}, which is at work on it\n"
    assert capfd.readouterr().err == line


def test_places_that_can_be_written(tmp_path, monkeypatch):
    require_writable(tmp_path / "not" / "there")
    monkeypatch.chdir(tmp_path)
    require_writable(Path("data"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", ["Not a directory", "Permission denied", "No space left on device"])
def test_places_that_cannot_be_written(tmp_path, monkeypatch, reason):
    if reason == "Not a directory":
        (tmp_path / "runs").write_text("")
    if reason == "Permission denied":
        monkeypatch.setattr(os, "access", lambda *_: False)
    if reason == "No space left on device":
        usage = files.shutil._ntuple_diskusage(2**30, 2**30 - 1, 1)
        monkeypatch.setattr(files.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=rf"runs: cannot be written \({reason}\)"):
        require_writable(tmp_path / "runs")


# Reading records: past failures, found by `make fuzz`


@pytest.mark.parametrize("kind", ["nothing", "folder", "loop", "pipe", "device", "empty", "long"])
def test_what_is_no_file_is_refused_before_it_is_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300 if kind == "long" else "x")
    match kind:
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to("x")
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "empty":
            path.touch()
    with pytest.raises(InputError, match=r"no such file|is empty|cannot be read"):
        require_file(path)
    if kind != "empty":
        assert not is_file(path)
        assert size_and_change(path) is None
    else:
        assert size_and_change(path) == (0, path.stat().st_mtime_ns)
    assert is_folder(path) == (kind == "folder")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5000, "{", "\ud800"])
def test_json_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"x\.json: cannot be read \(.*\); do this"):
        read_json(path, remedy="do this")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: [*a, *a]",
        "&a {x: *a}",
        "[" * 5000 + "]" * 5000,
        "!!python/object/apply:os.system [ls]",
        "a: [",
        "x: 2001-99-99",
        "x: " + "9" * 5000,
    ],
    ids=["anchors", "itself", "deep", "code", "open", "no date", "number"],
)
def test_yaml_that_cannot_be_read_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"x\.yaml: cannot be read \(.*\); do this"):
        read_yaml(path, remedy="do this")


def test_a_record_of_endless_length_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="larger than 64 MiB; do this"):
        read_json(tmp_path / "x.json", remedy="do this")


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_folders_made_for_a_file_that_never_came_go_again(tmp_path, atomic):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="stop"), atomic(tmp_path / "there" / "a" / "b" / "x"):
        raise ValueError("stop")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]


# Past failures: a traceback where a name is too long


def test_a_folder_to_be_made_must_have_a_free_name(tmp_path):
    require_free(tmp_path / "not" / "there")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    require_free(tmp_path / "empty", or_empty=True)
    taken = "exists already; remove it or give another folder"
    cases = [("empty", False, taken), *((name, True, taken) for name in ("file", "loop", "."))]
    cases += [("file/x", True, "cannot be written (Not a directory); give a writable place with free space")]
    for long in ("x" * 300, f"{'x' * 300}/y"):
        cases.append((long, True, "cannot be written (File name too long); give a shorter name"))
    for name, or_empty, said in cases:
        with pytest.raises(InputError) as caught:
            require_free(tmp_path / name, or_empty=or_empty)
        assert caught.value.problems == (f"{tmp_path / name}: {said}",)


def test_a_draft_whose_name_is_too_long_is_refused(tmp_path):
    with pytest.raises(InputError) as caught, atomic_folder(tmp_path / ("x" * 250)):
        pass
    assert caught.value.problems == (
        f"{tmp_path}/{'x' * 250}: cannot be written (File name too long); give a shorter name",
    )
