"""Files and folders that are whole or absent: written as a draft, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from musclesense.storage.paths import unwritable_errors

# What a draft's name ends with, so that one whose writer was killed is known for what it is.
DRAFT_SUFFIX = ".draft"


@contextmanager
def atomic_path(path: Path, *, keep: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block ends without an error.

    The temporary name keeps the suffixes, since some writers choose the format by them. The file is on the disk itself
    before it takes its name, so that a machine that loses power leaves the earlier file or the new one. The earlier
    file is called ``keep`` from then on; without it, it is gone.

    Raises:
        InputError: There is no writing there; a `DiskError` where the disk is full or read-only.
    """
    with unwritable_errors(path), _parents(path):
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=DRAFT_SUFFIX, dir=path.parent) as folder:
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
    with unwritable_errors(path), _parents(path):
        draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=DRAFT_SUFFIX, dir=path.parent))
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
    with suppress(OSError) if path.is_dir() else nullcontext():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
