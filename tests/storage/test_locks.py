"""Locks between processes."""

import errno
import fcntl
import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest

from musclesense.errors import InputError
from musclesense.storage import locks
from musclesense.storage.atomic import atomic_folder, atomic_path
from musclesense.storage.locks import locked, locked_if_free

from ..shared.waiting import LONGEST_SECONDS


def killed_while_writing(path: Path) -> None:
    with locked(path), atomic_path(path) as draft, atomic_folder(path.parent / "folder") as folder:
        (path.parent / "run").mkdir()
        with atomic_path(path.parent / "run" / "inner"):
            draft.write_text("half")
            (folder / "part").write_text("half")
            os._exit(9)


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
    process.join(timeout=LONGEST_SECONDS)
    alive = process.is_alive()
    process.kill()
    assert not alive
    assert (tmp_path / "x").read_text() == "1"


def test_a_lock_that_is_taken_is_not_waited_for(tmp_path):
    with locked_if_free(tmp_path / "x") as first, locked_if_free(tmp_path / "x") as second:
        assert (first, second) == (True, False)
    with locked_if_free(tmp_path / "x") as again:
        assert again


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
    monkeypatch.setattr(locks, "_QUIET_SECONDS", 0.01)
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "x", held, release))
    process.start()
    held.wait()
    original = locks._holder
    monkeypatch.setattr(locks, "_holder", lambda lock: (original(lock), release.set())[0])
    with locked(tmp_path / "x"):
        pass
    process.join()
    line = f"{tmp_path}/x: waiting for process {process.pid} on {socket.gethostname()}, which is at work on it\n"
    assert capfd.readouterr().err == line


# File systems without locks, links, and groups


@pytest.fixture
def without_flock(monkeypatch):
    """Pretend a file system on which `flock` fails with an error."""

    def fail(number: int) -> None:
        def flock(descriptor: int, how: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return fail


def killed_while_holding(path: Path) -> None:
    with locked(path):
        os._exit(9)


def test_locks_hold_where_the_file_system_has_none(tmp_path, without_flock, monkeypatch, capfd):
    without_flock(errno.ENOSYS)
    monkeypatch.setattr(locks, "_QUIET_SECONDS", 0.01)
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "x", held, release))
    process.start()
    held.wait()
    for _ in range(3):
        time.sleep(1)  # filelock takes over what looks malformed to it after two seconds
        with locked_if_free(tmp_path / "x") as mine:
            assert not mine, "one run is trained once"
    original = locks._holder
    monkeypatch.setattr(locks, "_holder", lambda lock: (original(lock), release.set())[0])
    with locked(tmp_path / "x"):
        pass
    process.join()
    said = f"{tmp_path}/x: waiting for process {process.pid}, which is at work on it\n"
    assert capfd.readouterr().err == said
    killed = context.Process(target=killed_while_holding, args=(tmp_path / "x",))
    killed.start()
    killed.join()
    with locked(tmp_path / "x"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("lock", [locked, locked_if_free])
def test_where_locks_fail_the_message_names_locks(tmp_path, without_flock, number, lock):
    without_flock(number)
    with pytest.raises(InputError) as caught, lock(tmp_path / "x"):
        pytest.fail("nothing is locked")
    assert str(caught.value).startswith(f"{tmp_path}/x: cannot be locked ({os.strerror(number)}): ")
    assert "space" not in str(caught.value)


def test_a_lock_writes_nothing_through_a_link(tmp_path):
    (tmp_path / "mine").write_text("kept")
    (tmp_path / ".x.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="x: cannot be written"), locked(tmp_path / "x"):
        pytest.fail("it is somebody else's")
    elsewhere = tmp_path / "elsewhere" / ".a.12345678.draft"
    elsewhere.mkdir(parents=True)
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with locked(tmp_path / "run"):
        pass
    assert (tmp_path / "mine").read_text() == "kept" and elsewhere.is_dir()


def test_a_lock_is_the_group_s_where_the_folder_is(tmp_path):
    before = os.umask(0o002)
    try:
        with locked(tmp_path / "x"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / ".x.lock").stat().st_mode & 0o777 == 0o664
