"""Digests are found once, and never taken for those of another content."""

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.storage import digests
from musclesense.storage.digests import digest_of_bytes, digests_of


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled as soon as they are written."""
    monkeypatch.setattr(digests, "_SETTLED_NS", -1)


class Finder:
    """Finds digests of bytes, and counts how often."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, path: Path) -> str:
        self.asked.append(path.name)
        return digest_of_bytes(path)


def _files(folder: Path, *contents: bytes) -> list[Path]:
    files = [folder / f"file{number}.nii.gz" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


def test_each_file_is_digested_once(tmp_path: Path) -> None:
    files, kept, find = _files(tmp_path, b"a", b"b", b"a"), tmp_path / "kept.json", Finder()
    first = digests_of(files, find, kept=kept)
    assert digests_of([*files, files[0]], find, kept=kept) == first
    assert sorted(find.asked) == ["file0.nii.gz", "file1.nii.gz", "file2.nii.gz"]
    assert first[files[0]] == first[files[2]] != first[files[1]]
    assert digests_of([], find, kept=kept) == {}


@pytest.mark.parametrize("change", ["other bytes", "same size and time", "another file in its place", "link"])
def test_a_changed_file_is_digested_again(tmp_path: Path, change: str) -> None:
    (file, other), kept, find = _files(tmp_path, b"aaaa", b"bbbb"), tmp_path / "kept.json", Finder()
    digests_of([file], find, kept=kept)
    state = file.stat()
    if change == "other bytes":
        file.write_bytes(b"longer than before")
    elif change == "same size and time":
        file.write_bytes(b"bbbb")
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    elif change == "another file in its place":
        os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
        other.replace(file)
    else:
        file.unlink()
        file.symlink_to(other)
    assert digests_of([file], find, kept=kept)[file] == digest_of_bytes(file)
    assert len(find.asked) == 2


def test_what_changed_just_now_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,), kept, find = _files(tmp_path, b"a"), tmp_path / "kept.json", Finder()
    monkeypatch.setattr(digests, "_SETTLED_NS", 3600 * 10**9)
    for _ in range(2):
        digests_of([file], find, kept=kept)
    assert len(find.asked) == 2
    assert not kept.exists()


def test_what_changes_while_it_is_read_is_not_kept(tmp_path: Path) -> None:
    (file,), kept = _files(tmp_path, b"a"), tmp_path / "kept.json"

    def find(path: Path) -> str:
        digest = digest_of_bytes(path)
        path.write_bytes(b"another content")
        return digest

    before = digests_of([file], find, kept=kept)
    assert digests_of([file], digest_of_bytes, kept=kept) != before


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"{}", b'{"sum": "", "digests": []}', b"\xff\xfe"])
def test_a_damaged_file_of_digests_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    files, kept = _files(tmp_path, b"a", b"b"), tmp_path / "kept.json"
    right = digests_of(files, digest_of_bytes, kept=kept)
    kept.write_bytes(damage)
    assert digests_of(files, digest_of_bytes, kept=kept) == right
    assert len(json.loads(kept.read_text())["digests"]) == 2


@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_no_changed_byte_gives_another_digest(
    position: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("digests")
    files, kept = _files(folder, b"a", b"b"), folder / "kept.json"
    right = digests_of(files, digest_of_bytes, kept=kept)
    content = bytearray(kept.read_bytes())
    content[position % len(content)] = byte
    kept.write_bytes(content)
    assert digests_of(files, digest_of_bytes, kept=kept) == right


def test_where_nothing_can_be_kept_all_is_digested(tmp_path: Path) -> None:
    (file,), no_folder = _files(tmp_path, b"a"), tmp_path / "file0.nii.gz" / "kept.json"
    assert digests_of([file], digest_of_bytes, kept=no_folder) == {file: digest_of_bytes(file)}


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.nii: no such file"):
        digests_of([tmp_path / "gone.nii"], digest_of_bytes, kept=tmp_path / "kept.json")


def _digest_one(folder: Path, number: int) -> None:
    digests_of([folder / f"file{number}.nii.gz"], digest_of_bytes, kept=folder / "kept.json")


def test_processes_do_not_lose_what_others_keep(tmp_path: Path) -> None:
    files = _files(tmp_path, *(b"%d" % number for number in range(6)))
    for file in files:
        old = time.time_ns() - 10**10
        os.utime(file, ns=(old, old))
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_digest_one, args=(tmp_path, number)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(json.loads((tmp_path / "kept.json").read_text())["digests"]) == 6
