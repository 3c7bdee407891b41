"""Files that are whole or absent: atomic writing and locks between processes."""

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from musclesense.errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends without an error.

    The temporary name keeps the suffixes, since some writers choose the format by them.
    """
    with _input_error_when_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            yield draft
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            draft.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that becomes ``path`` when the block ends without an error."""
    with _input_error_when_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            draft.chmod(0o755)
            yield draft
            draft.replace(path)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _input_error_when_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder, failed = path.parent.resolve(), Path(error.filename or path).resolve()
        if not (failed.is_relative_to(folder) or folder.is_relative_to(failed)):
            raise  # another file than the one to be written
        reason = error.strerror or str(error)
        raise InputError(f"{path}: cannot be written ({reason}); give a writable place with free space") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` among processes; the lock file ``.<name>.lock`` lies beside it."""
    with _input_error_when_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.parent / f".{path.name}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock that `locked` takes if nobody else does; tells whether it is held, and never waits."""
    with _input_error_when_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.parent / f".{path.name}.lock", timeout=0)
        with suppress(Timeout):
            lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` to ``path`` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write ``rows`` under a header of ``columns`` to ``path``, atomically."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, buffer.getvalue())
