"""Files and folders are whole or absent."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


@pytest.mark.parametrize("writer", [atomic_path, atomic_folder])
@pytest.mark.parametrize("files", [1, 2])
def test_what_a_disk_lacks_is_told_before_what_took_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: Any, files: int
) -> None:
    def free() -> int:
        return files - len(list(tmp_path.rglob("*")))

    def mkdir(folder: Path, make: Any = Path.mkdir) -> None:
        require_free()
        make(folder)

    def require_free() -> None:
        if not free():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=files, f_favail=free()))
    said = r"a/x: cannot be written .*; remove files there"
    with pytest.raises(DiskError, match=said), writer(tmp_path / "a" / "x"):
        require_free()
    assert list(tmp_path.iterdir()) == []


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


# Drafts of the dead, groups, and file systems that cannot do all


def begun(writer: Any, path: Path, draft: Any) -> None:
    with writer(path) as place:
        (place / "mask.nii.gz" if place.is_dir() else place).write_text("a patient")
        draft.put(str(place))
        signal.pause()


@pytest.mark.parametrize("writer", [atomic_path, atomic_folder])
def test_the_draft_of_a_killed_command_goes_with_the_next_one_and_that_of_a_living_one_stays(tmp_path, writer):
    context = multiprocessing.get_context("fork")
    makers, drafts = [], []
    for name in ("mask", "mask", "fat"):
        queue = context.SimpleQueue()
        makers.append(context.Process(target=begun, args=(writer, tmp_path / name, queue)))
        makers[-1].start()
        drafts.append(Path(queue.get()))
    makers[0].kill()
    makers[2].kill()
    makers[0].join()
    makers[2].join()
    assert all(draft.exists() for draft in drafts)
    with writer(tmp_path / "mask") as place:
        assert [draft.exists() for draft in drafts] == [False, True, False]
        if writer is atomic_path:
            place.write_text("x")
    assert drafts[1].exists()
    makers[1].kill()
    makers[1].join()


def test_what_only_looks_like_a_draft_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".mask.01234567.draft").symlink_to(tmp_path / "elsewhere")
    for name in (".draft", ".x.draft", ".mask.short.draft", "mask.01234567.draft"):
        (tmp_path / name).mkdir()
    (tmp_path / ".fat.01234567.draft").write_text("a file")
    before = sorted(tmp_path.iterdir())
    with atomic_path(tmp_path / "mask") as draft:
        draft.write_text("x")
    assert sorted({*tmp_path.iterdir()} - {tmp_path / "mask"}) == before


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_what_is_made_for_a_group_stays_the_group_s(tmp_path, umask):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    before = os.umask(umask)
    try:
        with atomic_folder(shared / "phantom") as draft:
            (draft / "cohort.csv").write_text("x")
        write_json(shared / "deep" / "x.json", {})
    finally:
        os.umask(before)
    for folder in ("phantom", "deep"):
        assert (shared / folder).stat().st_mode & 0o7777 == 0o2777 & ~umask
    for file in ("phantom/cohort.csv", "deep/x.json"):
        assert (shared / file).stat().st_mode & 0o777 == 0o666 & ~umask
        assert (shared / file).stat().st_gid == shared.stat().st_gid


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.EACCES, errno.EROFS])
def test_a_file_system_that_syncs_nothing_is_no_failure(tmp_path, monkeypatch, number):
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "x.json", {})
    assert (tmp_path / "x.json").read_text() == "{}\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_what_could_not_be_written_out_is_one(tmp_path, monkeypatch, number):
    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InputError, match="cannot be written"):
        write_json(tmp_path / "x.json", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EINVAL])
def test_without_locks_drafts_are_left_alone(tmp_path, monkeypatch, number):
    def flock(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".mask.01234567.draft").mkdir()
    write_json(tmp_path / "x.json", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mask.01234567.draft", "x.json"]
