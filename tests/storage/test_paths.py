"""Paths are refused before they are opened."""

import errno
import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from musclesense.errors import DiskError, InputError
from musclesense.storage.paths import (
    is_dicom,
    is_file,
    is_folder,
    require_file,
    require_free,
    require_within,
    require_writable,
    size_and_change,
    unwritable_errors,
)


def test_places_that_can_be_written(tmp_path, monkeypatch):
    require_writable(tmp_path / "not" / "there")
    monkeypatch.chdir(tmp_path)
    require_writable(Path("data"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", [".", "study", "study/outer0_inner0"])
def test_a_link_that_leads_nowhere_is_named(tmp_path, below):
    (tmp_path / "runs").symlink_to(tmp_path / "unmounted")
    said = f"{tmp_path}/runs: a link that leads nowhere; correct or remove it"
    with pytest.raises(InputError, match=said):
        require_writable(tmp_path / "runs" / below)
    (tmp_path / "unmounted").mkdir()
    require_writable(tmp_path / "runs" / below)


def test_links_out_of_a_folder_are_refused_and_others_are_not(tmp_path):
    study, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    study.mkdir()
    elsewhere.mkdir()
    (tmp_path / "link").symlink_to(study)
    (study / "kept").mkdir()
    (study / "inside").symlink_to("kept")
    (study / "out").symlink_to(elsewhere)
    for folder in (study, tmp_path / "link"):
        require_within(folder, folder / "report", folder / "inside", folder / "kept" / "x")
        with pytest.raises(InputError, match=f"{folder}/out/figures: a link out of {folder}; remove it"):
            require_within(folder, folder / "report", folder / "out" / "figures")


@pytest.mark.parametrize("reason", ["Not a directory", "Permission denied", "No space left on device"])
def test_places_that_cannot_be_written(tmp_path, monkeypatch, reason):
    if reason == "Not a directory":
        (tmp_path / "runs").write_text("")
    if reason == "Permission denied":
        monkeypatch.setattr(os, "access", lambda *_: False)
    if reason == "No space left on device":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=2**30, used=2**30 - 1, free=1))
    with pytest.raises(InputError, match=rf"runs: cannot be written \({reason}\)"):
        require_writable(tmp_path / "runs")


@pytest.mark.parametrize(("files", "free", "taken"), [(100, 0, False), (100, 1, True), (0, 0, True)])
def test_a_disk_that_takes_no_more_files_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, free: int, taken: bool
) -> None:
    disk = SimpleNamespace(f_files=files, f_favail=free, f_bavail=2**20, f_bfree=2**20, f_blocks=2**21, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    with nullcontext() if taken else pytest.raises(DiskError, match=r"no more inodes\) and give the same command"):
        require_writable(tmp_path / "runs")
    remedy = "make room there" if taken else "remove files there"
    said = rf"runs: cannot be written \(No space left on device\); {remedy}"
    with pytest.raises(DiskError, match=said), unwritable_errors(tmp_path / "runs"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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


def test_a_folder_to_be_made_must_have_a_free_name(tmp_path):
    require_free(tmp_path / "not" / "there")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    require_free(tmp_path / "empty", or_empty=True)
    taken = "exists already; remove it or give another name"
    cases = [("empty", False, taken), *((name, True, taken) for name in ("file", "loop", "."))]
    cases += [("file/x", True, "cannot be written (Not a directory); give a writable place with free space")]
    for long in ("x" * 300, f"{'x' * 300}/y"):
        cases.append((long, True, "cannot be written (File name too long); give a shorter name"))
    for name, or_empty, said in cases:
        with pytest.raises(InputError) as caught:
            require_free(tmp_path / name, or_empty=or_empty)
        assert caught.value.problems == (f"{tmp_path / name}: {said}",)


@pytest.mark.parametrize("kind", ["file", "folder", "below", "link"])
def test_what_is_dicom_is_called_so(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    (folder / "series").mkdir(parents=True)
    file = folder / "series" / "IM0001" if kind == "below" else folder / "IM0001"
    file.write_bytes(bytes(128) + b"DICM" + bytes(50))
    (tmp_path / "link").symlink_to(folder)
    path = {"file": file, "link": tmp_path / "link"}.get(kind, folder)
    with pytest.raises(InputError) as caught:
        require_file(path)
    called, scan = ("file", folder) if kind == "file" else ("folder", path)
    assert str(caught.value) == (
        f"{path}: is a DICOM {called}; make images of it first, by musclesense import-dicom {scan} --out DIR"
    )


@pytest.mark.parametrize("content", [b"DICM", bytes(127) + b"DICM", bytes(400), b"subject,region\n" * 20])
def test_what_is_no_dicom_is_not_called_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    assert require_file(tmp_path / "x") == len(content)
    assert not is_dicom(tmp_path)
    assert not is_dicom(tmp_path / "pipe")
    assert not is_dicom(tmp_path / "nothing")
