"""Files that are whole or absent: atomic writing and locks between processes."""

import csv
import errno
import io
import json
import os
import re
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from filelock import BaseFileLock, FileLock, Timeout

from musclesense.errors import DiskError, InputError

# What a draft's name ends with, so that one whose writer was killed is known for what it is.
_DRAFT = ".draft"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_LEAST_FREE_BYTES = 2**16
_QUIET_SECONDS = 2.0

LARGEST_RECORD_BYTES = 64 * 1024**2
"""Of records that runs write; the longest are the scores of some ten thousand cases."""
_NO_FILE = "no such file; correct the path"


def is_file(path: Path) -> bool:
    """Tell whether ``path`` leads to a file; where it is too long or lies in a closed folder, it leads to none."""
    try:
        return path.is_file()
    except OSError:
        return False


def size_and_change(path: Path) -> tuple[int, int] | None:
    """Give the size of a file in bytes and the time of its last change in ns, or None where there is no file."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return (state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def is_folder(path: Path) -> bool:
    """Tell whether ``path`` leads to a folder, likewise."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_there(path: Path) -> bool:
    """Tell whether ``path`` leads to anything, likewise."""
    try:
        return path.exists()
    except OSError:
        return False


def require_file(path: Path, *, missing: str = _NO_FILE) -> int:
    """Refuse what is no file before it is opened: a pipe or a device would be waited for or read for ever.

    Args:
        path: The file.
        missing: What is said where nothing is there.

    Returns:
        Its size in bytes.

    Raises:
        InputError: The path leads to no regular file, or to an empty one.
    """
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: {missing}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', error)}); correct the path") from error
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{path}: {_NO_FILE}")
    if not state.st_size:
        raise InputError(f"{path}: is empty; give the whole file")
    return state.st_size


def require_free(folder: Path, *, or_empty: bool = False) -> None:
    """Refuse the name of a folder to be made where something is already, be it a link that leads nowhere.

    Args:
        folder: What is to be made.
        or_empty: Take an empty folder as well, which `atomic_folder` replaces.

    Raises:
        InputError: The name is taken, or nothing can have it: it is too long, or lies in a closed folder.
    """
    with _error_when_unwritable(folder), suppress(FileNotFoundError):
        folder.lstat()
        if not (or_empty and folder.is_dir() and not any(folder.iterdir())):
            raise InputError(f"{folder}: exists already; remove it or give another folder")


@contextmanager
def atomic_path(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends without an error.

    The temporary name keeps the suffixes, since some writers choose the format by them. The file is on the disk itself
    before it takes its name, so that a machine that loses power leaves the earlier file or the new one.

    Args:
        path: The file.
        keep: What the earlier file is called from then on; without it, it is gone.

    Raises:
        InputError: There is no writing there; a `DiskError` where the disk is full or read-only.
    """
    with _error_when_unwritable(path), _parents(path):
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=_DRAFT, dir=path.parent) as folder:
            draft = Path(folder) / path.name
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
    with _error_when_unwritable(path), _parents(path):
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_DRAFT, dir=path.parent))
        try:
            draft.chmod(0o755)
            yield draft
            for written in draft.rglob("*"):
                _sync(written)
            draft.replace(path)
            _sync(path.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself; not every system can do so for folders."""
    if path.is_dir():
        with suppress(OSError):
            _sync_descriptor(path)
    else:
        _sync_descriptor(path)


def _sync_descriptor(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Refuse a folder, there or to be made, that nothing can be written into; writes nothing itself.

    Raises:
        InputError: There is no writing there; a `DiskError` where the disk is full or read-only.
    """
    with _error_when_unwritable(folder):
        there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            reason = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(reason, os.strerror(reason))
        if shutil.disk_usage(there).free < _LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Make the folders above ``path`` for the block; when it ends with an error, those that it made go again."""
    made: list[Path] = []
    try:
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


@contextmanager
def _error_when_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder, failed = path.parent.resolve(), Path(error.filename or path).resolve()
        if not (failed.is_relative_to(folder) or folder.is_relative_to(failed)):
            raise  # another file than the one to be written
        said = f"{path}: cannot be written ({error.strerror or error})"
        if error.errno in _FULL:
            raise DiskError(f"{said}; make room there and give the same command again") from error
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{said}; give a shorter name") from error
        kind = DiskError if error.errno == errno.EROFS else InputError
        raise kind(f"{said}; give a writable place with free space") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` among processes; the lock file ``.<name>.lock`` lies beside it.

    The holder alone writes ``path`` and what lies below it; what a killed holder left of drafts is removed. Who waits
    for long is told on stderr whom for.
    """
    with _error_when_unwritable(path):
        lock = _lock(path)
        try:
            lock.acquire(timeout=_QUIET_SECONDS)
        except Timeout:
            print(f"{path}: waiting for {_holder(lock)}, which is at work on it", file=sys.stderr, flush=True)
            lock.acquire()
    try:
        _take_over(path, lock)
        yield
    finally:
        lock.release()


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock that `locked` takes if nobody else does; tells whether it is held, and never waits."""
    with _error_when_unwritable(path):
        lock = _lock(path)
        with suppress(Timeout):
            lock.acquire(timeout=0)
    try:
        if lock.is_locked:
            _take_over(path, lock)
        yield lock.is_locked
    finally:
        lock.release()


def _lock(path: Path) -> BaseFileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.parent / f".{path.name}.lock")


def _take_over(path: Path, lock: BaseFileLock) -> None:
    """Write down who holds a lock, and remove what its last holder left half-written."""
    with suppress(OSError):  # a help to whoever waits, no more
        Path(lock.lock_file).write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    left = re.compile(rf"\.{re.escape(path.name)}\.\w+{re.escape(_DRAFT)}")
    drafts = [draft for draft in path.parent.glob(f".*{_DRAFT}") if left.fullmatch(draft.name)]
    for draft in [*drafts, *(path.rglob(f".*{_DRAFT}") if path.is_dir() else ())]:
        shutil.rmtree(draft, ignore_errors=True)


def _holder(lock: BaseFileLock) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return Path(lock.lock_file).read_text(encoding="utf-8") or "another process"
    return "another process"


def read_text(path: Path, *, remedy: str) -> str:
    """Read a record of this project, which is UTF-8 and of modest size.

    Args:
        path: The file.
        remedy: What is said where it cannot be read.

    Raises:
        InputError: It is missing, too large or no text.
    """
    if require_file(path, missing=f"cannot be read (no such file); {remedy}") > LARGEST_RECORD_BYTES:
        raise InputError(f"{path}: larger than {LARGEST_RECORD_BYTES // 1024**2} MiB; {remedy}")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}); {remedy}") from error


def read_json(path: Path, *, remedy: str) -> Any:
    """Read a JSON record of this project.

    Raises:
        InputError: It is missing, too large or no JSON.
    """
    text = read_text(path, remedy=remedy)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}); {remedy}") from error


def read_yaml(path: Path, *, remedy: str) -> Any:
    """Read a YAML record of this project, which has no anchors: with them, a few lines can stand for endless ones.

    Raises:
        InputError: It is missing, too large or no such YAML.
    """
    text = read_text(path, remedy=remedy)
    try:
        return yaml.load(text, _PlainLoader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}); {remedy}") from error


class _PlainLoader(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias, which no record of this project has")
        return super().compose_node(parent, index)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write ``content`` to ``path`` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows`` under a header of ``columns`` to ``path``, atomically."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
