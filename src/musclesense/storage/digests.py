"""What files hold, as digests: found once, and kept in a small file as long as nobody touches what was digested."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from musclesense.errors import InputError
from musclesense.storage.locks import locked
from musclesense.storage.paths import is_dicom, is_folder, require_file, size_and_change
from musclesense.storage.records import read_json, write_json

_FORMAT = 1
"""Of the kept digests: to be raised where an image gets another one, since its file need not have changed then."""
_MOST_WORKERS = 8
_SETTLED_NS = 2 * 10**9
"""Clocks of file systems are coarse: a file that changed just now may change again without being seen to."""


def digest_of_bytes(path: Path) -> str:
    """Give the SHA-256 of a file's bytes as they are.

    Raises:
        InputError: There is no file, or it is empty.
    """
    require_file(path)
    return sha256_of(path)


def sha256_of(path: Path) -> str:
    """Give the same of any file that is there, be it empty."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def digest_of_input(path: Path) -> str:
    """Give the digest of a file or, of DICOM, one of all files: their names and their order do not count.

    Raises:
        InputError: There is no file, or it is empty.
    """
    if not is_dicom(path):
        return digest_of_bytes(path)
    files = [file for file in (path.rglob("*") if is_folder(path) else [path]) if size_and_change(file)]
    return hashlib.sha256(bytes.fromhex("".join(sorted(map(sha256_of, files))))).hexdigest()


def digests_of(files: Iterable[Path], find: Callable[[Path], str], *, kept: Path, keep: bool = True) -> dict[Path, str]:
    """Give the digest of each file, found by ``find`` unless it was before; safe among processes.

    Args:
        files: Of any number; several are read at once.
        find: From a file to its digest.
        kept: The JSON file that keeps what ``find`` found, one for each ``find``. It is a help, no more: a missing,
            damaged or unwritable one costs time.
        keep: Whether it may be written. If not, what was found is kept for this process.

    Raises:
        InputError: As ``find``.
    """
    states = {file: _state(file) for file in dict.fromkeys(files)}
    before = (_read(kept) if states else {}) | _found.setdefault(kept, {})
    found = {
        file: known[1] for file, state in states.items() if (known := before.get(_key(file))) and known[0] == state
    }
    new = [file for file in states if file not in found]
    if new:
        with ThreadPoolExecutor(min(_MOST_WORKERS, os.cpu_count() or 1)) as pool:
            found |= zip(new, pool.map(find, new), strict=True)
        _found[kept] |= {_key(file): (states[file], found[file]) for file in new if _settled(file, states[file])}
    if keep:
        _keep(kept)
    return {file: found[file] for file in states}


_State = tuple[int, ...] | None
_found: dict[Path, dict[str, tuple[_State, str]]] = {}
"""What this process has found and not yet written, by the file to be written."""


def _key(file: Path) -> str:
    return str(file.absolute())


def _state(file: Path) -> _State:
    """Give what changes whenever a file does: a time of modification can be set, one of change cannot."""
    try:
        state = file.stat()
    except (OSError, ValueError):
        return None
    return (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)


def _settled(file: Path, state: _State) -> bool:
    return state is not None and state == _state(file) and time.time_ns() - max(state[1:3]) > _SETTLED_NS


def _read(kept: Path) -> dict[str, tuple[_State, str]]:
    try:
        content = read_json(kept, remedy="")
        entries = content["digests"]
        if content["format"] != _FORMAT or content["sum"] != _sum(entries):
            return {}
        return {file: (tuple(state), digest) for file, (state, digest) in entries.items()}
    except (InputError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _keep(kept: Path) -> None:
    """Write down what this process has found since it last did."""
    if _found[kept]:
        with suppress(InputError), locked(kept):
            entries = _read(kept) | _found[kept]
            write_json(kept, {"format": _FORMAT, "sum": _sum(entries), "digests": entries})
            del _found[kept]


def _sum(entries: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()
