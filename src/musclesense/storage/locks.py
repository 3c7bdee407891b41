"""Locks between processes that write the same place."""

import os
import re
import shutil
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from musclesense.messages import log
from musclesense.storage.atomic import DRAFT_SUFFIX
from musclesense.storage.paths import unwritable_errors

_QUIET_SECONDS = 2.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` among processes; the lock file ``.<name>.lock`` lies beside it.

    The holder alone writes ``path`` and what lies below it; what a killed holder left of drafts is removed. Who waits
    for long is told on stderr whom for.
    """
    with unwritable_errors(path):
        lock = _lock(path)
        try:
            _acquire(lock, _QUIET_SECONDS)
        except Timeout:
            log.warning(f"{path}: waiting for {_holder(lock)}, which is at work on it")
            _acquire(lock, -1)
    try:
        _take_over(path, lock)
        yield
    finally:
        lock.release()


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock that `locked` takes if nobody else does; tells whether it is held, and never waits."""
    with unwritable_errors(path):
        lock = _lock(path)
        with suppress(Timeout):
            _acquire(lock, 0)
    try:
        if lock.is_locked:
            _take_over(path, lock)
        yield lock.is_locked
    finally:
        lock.release()


def _lock(path: Path) -> BaseFileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.parent / f".{path.name}.lock")


def _acquire(lock: BaseFileLock, timeout: float) -> None:
    with warnings.catch_warnings():  # that the file system has no locks: filelock then goes by the file's existence
        warnings.simplefilter("ignore")
        lock.acquire(timeout=timeout)


def _take_over(path: Path, lock: BaseFileLock) -> None:
    """Write down who holds a lock, and remove what its last holder left half-written.

    Where a file system has no locks, filelock writes its own record of the holder, and goes by it.
    """
    if not isinstance(lock, SoftFileLock):
        with suppress(OSError):  # a help to whoever waits, no more
            Path(lock.lock_file).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    left = re.compile(rf"\.{re.escape(path.name)}\.\w+{re.escape(DRAFT_SUFFIX)}")
    drafts = [draft for draft in path.parent.glob(f".*{DRAFT_SUFFIX}") if left.fullmatch(draft.name)]
    for draft in [*drafts, *(path.rglob(f".*{DRAFT_SUFFIX}") if path.is_dir() and not path.is_symlink() else ())]:
        shutil.rmtree(draft, ignore_errors=True)


def _holder(lock: BaseFileLock) -> str:
    if isinstance(lock, SoftFileLock):
        return f"process {lock.pid}" if lock.pid else "another process"
    with suppress(OSError, UnicodeDecodeError):
        return Path(lock.lock_file).read_text(encoding="utf-8") or "another process"
    return "another process"
