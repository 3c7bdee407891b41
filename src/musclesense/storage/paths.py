"""Paths that a user gave: what is there, and whether it can be read or written."""

import errno
import itertools
import os
import shlex
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from musclesense.errors import DiskError, InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
_LEAST_FREE_BYTES = 2**16
_NO_FILE = "no such file; correct the path"
_MOST_LOOKED_AT = 50


def at_home(path: Path) -> Path:
    """Give a path that begins with ``~`` as the file below the home folder that a shell would give; others as they are.

    >>> at_home(Path("scans/~x.nii.gz")).as_posix()
    'scans/~x.nii.gz'
    """
    with suppress(RuntimeError):  # nobody of that name
        return path.expanduser()
    return path


def is_file(path: Path) -> bool:
    """Tell whether ``path`` leads to a file; where it is too long or lies in a closed folder, it leads to none."""
    return _holds(path.is_file)


def size_and_change(path: Path) -> tuple[int, int] | None:
    """Give the size of a file in bytes and the time of its last change in ns, or None where there is no file."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return None
    return (state.st_size, state.st_mtime_ns) if stat.S_ISREG(state.st_mode) else None


def is_folder(path: Path) -> bool:
    """Tell whether ``path`` leads to a folder, likewise."""
    return _holds(path.is_dir)


def is_dicom(path: Path) -> bool:
    """Tell whether ``path`` leads to a DICOM file, or to a folder of which an early file is one."""
    with suppress(OSError, ValueError):
        files = path.rglob("*") if path.is_dir() else [path]
        return any(map(_begins_as_dicom, itertools.islice(files, _MOST_LOOKED_AT)))
    return False


def refuse_dicom(path: Path) -> None:
    """Call a DICOM folder or file by its name, wherever it was given.

    Raises:
        InputError: ``path`` is one.
    """
    if is_dicom(path):
        kind, folder = ("folder", path) if is_folder(path) else ("file", path.parent)
        command = f"musclesense import-dicom {shlex.quote(str(folder))} --out DIR"
        raise InputError(f"{path}: is a DICOM {kind}; make images of it first, by {command}")


def _begins_as_dicom(file: Path) -> bool:
    if not (size_and_change(file) or (0,))[0]:  # a pipe or a device would be waited for
        return False
    with file.open("rb") as content:
        return content.read(132)[128:] == b"DICM"


def is_there(path: Path) -> bool:
    """Tell whether ``path`` leads to anything, likewise."""
    return _holds(path.exists)


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
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
    refuse_dicom(path)
    if not stat.S_ISREG(state.st_mode):
        raise InputError(f"{path}: {_NO_FILE}")
    if not state.st_size:
        raise InputError(f"{path}: is empty; give the whole file")
    return state.st_size


def require_free(folder: Path, *, or_empty: bool = False) -> None:
    """Refuse the name of a file or folder to be made where something is already, be it a link that leads nowhere.

    With ``or_empty``, an empty folder may be there, which `atomic_folder` replaces.

    Raises:
        InputError: The name is taken, or nothing can have it: it is too long, or lies in a closed folder.
    """
    with unwritable_errors(folder), suppress(FileNotFoundError):
        folder.lstat()
        if not (or_empty and folder.is_dir() and not any(folder.iterdir())):
            raise InputError(f"{folder}: exists already; remove it or give another name")


def require_writable(folder: Path) -> None:
    """Refuse a folder, there or to be made, that nothing can be written into; writes nothing itself.

    Raises:
        InputError: There is no writing there; a `DiskError` where the disk is full or read-only.
    """
    with unwritable_errors(folder):
        places = (folder, *folder.parents)
        there = next(place for place in places if place.exists() or place.is_symlink())
        if not there.exists():
            raise InputError(f"{there}: a link that leads nowhere; correct or remove it")
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
            reason = errno.EROFS if read_only else errno.EACCES
            raise OSError(reason, os.strerror(reason))
        if shutil.disk_usage(there).free < _LEAST_FREE_BYTES or not _takes_files(there):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def require_within(folder: Path, *parts: Path) -> None:
    """Refuse parts of a folder that are links out of it: what is written there would lie elsewhere.

    Raises:
        InputError: Names the link.
    """
    for part in parts:
        if not part.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{part}: a link out of {folder}; remove it")


def _takes_files(folder: Path) -> bool:
    """Tell whether a disk has room for one more file, however small; not all have such a bound."""
    if not hasattr(os, "statvfs"):
        return True
    state = os.statvfs(next(place for place in (folder, *folder.parents) if is_there(place)))
    return not state.f_files or state.f_favail > 0


@contextmanager
def unwritable_errors(path: Path) -> Iterator[None]:
    """Turn what the system says of writing ``path`` in the block into an `InputError`, a `DiskError` of a full disk."""
    try:
        yield
    except OSError as error:
        folder, failed = path.parent.resolve(), Path(error.filename or path).resolve()
        if not (failed.is_relative_to(folder) or folder.is_relative_to(failed)):
            raise  # another file than the one to be written
        said = f"{path}: cannot be written ({error.strerror or error})"
        if error.errno in _FULL:
            remedy = "make room there" if _takes_files(folder) else "remove files there (it takes no more inodes)"
            raise DiskError(f"{said}; {remedy} and give the same command again") from error
        if error.errno in _NO_LOCKS:
            locks = "the file system has no locks; mount it with locks (flock), or give another place"
            raise InputError(f"{path}: cannot be locked ({error.strerror}): {locks}") from error
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"{said}; give a shorter name") from error
        kind = DiskError if error.errno == errno.EROFS else InputError
        raise kind(f"{said}; give a writable place with free space") from error
