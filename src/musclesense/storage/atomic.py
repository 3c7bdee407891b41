"""Files and folders that are whole or absent: written as a draft, then renamed."""

import errno
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from musclesense.storage.paths import unwritable_errors

# What a draft's name ends with, so that one whose writer was killed is known for what it is.
DRAFT_SUFFIX = ".draft"
_DRAFT = re.compile(rf"\..+\.\w{{8}}{re.escape(DRAFT_SUFFIX)}", re.DOTALL)
_NO_LOCK = -1


@contextmanager
def atomic_path(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends without an error.

    The temporary name keeps the suffixes, since some writers choose the format by them. The file is on the disk itself
    before it takes its name, so that a machine that loses power leaves the earlier file or the new one. The earlier
    file is called ``keep`` from then on; without it, it is gone.

    Raises:
        InputError: There is no writing there; a `DiskError` where the disk is full or read-only.
    """
    with _parents(path):
        with _draft_of(path) as folder:
            draft = folder / path.name
            yield draft
            _sync(draft)
            if keep is not None and path.is_file():
                path.replace(keep)
            draft.replace(path)
        _sync(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that becomes ``path`` when the block ends without an error.

    Raises:
        InputError: There is no writing there; a `DiskError` where the disk is full or read-only.
    """
    with _parents(path), _draft_of(path) as draft:
        yield draft
        for written in draft.rglob("*"):
            _sync(written)
        draft.replace(path)
        _sync(path.parent)


@contextmanager
def _draft_of(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path`` for the block, locked so that others know that its maker is at work.

    Drafts there whose makers are dead are removed: they may be copies of patients' images. Folders made for a group
    stay the group's, as `mkdir` makes them; `tempfile` makes its own for one user alone.
    """
    for left in path.parent.glob(f".*{DRAFT_SUFFIX}"):
        if _DRAFT.fullmatch(left.name) and (lock := _lock(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
    draft, held = path, None
    while held is None:  # another process may take a draft for a dead one before it is locked
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{DRAFT_SUFFIX}")
        draft.mkdir()
        held = _lock(draft, unknown=_NO_LOCK)
    try:
        with unwritable_errors(path):
            yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if held != _NO_LOCK:
            os.close(held)


def _lock(folder: Path, unknown: int | None = None) -> int | None:
    """Lock a folder for this process, for as long as the descriptor is open; None where it is gone or another's.

    Where the file system has no such locks, ``unknown`` is given.
    """
    if sys.platform == "win32":
        return unknown
    import fcntl

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        return None if error.errno == errno.ENOENT else unknown
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        return None if isinstance(error, BlockingIOError) else unknown
    if folder.exists():
        return descriptor
    os.close(descriptor)
    return None


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself, where the system can do so."""
    with suppress(OSError) if path.is_dir() else nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):  # others refuse to do so for what is only read
                raise
        finally:
            os.close(descriptor)


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above ``path`` for the block; when it ends with an error, those that it made go again.

    What a disk lacks is told before they go: room may be there again after that.
    """
    made: list[Path] = []
    try:
        with unwritable_errors(path):
            for folder in reversed([folder for folder in path.parents if not folder.exists()]):
                with suppress(FileExistsError):  # another process was faster
                    folder.mkdir()
                    made.append(folder)
            yield
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # others have put something there
                folder.rmdir()
        raise
