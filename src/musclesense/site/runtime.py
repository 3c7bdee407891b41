"""ONNX Runtime for browsers, from the npm registry or from a folder: one release, file by file as it was tried."""

import hashlib
import tarfile
import urllib.request
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from musclesense.errors import InputError, reason_of
from musclesense.messages import log
from musclesense.storage.paths import is_file

REGISTRY = "https://registry.npmjs.org"
PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
_DIGESTS = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""SHA-256 of the files that a page takes, in ``dist`` of the package."""
_LARGEST, _SECONDS = 64 * 1024**2, 60.0


def runtime_files(given: Path | None, registry: str = REGISTRY) -> Mapping[str, bytes]:
    """Give the files of ONNX Runtime Web by their names.

    Args:
        given: The package's archive or its folder; None: fetch it.
        registry: Address of the npm registry.

    Raises:
        InputError: They are not there, or are not those of `VERSION`.
    """
    where = f"{registry.rstrip('/')}/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz" if given is None else str(given)
    try:
        if given is not None and given.is_dir():
            found = {name: _of_folder(given, name).read_bytes() for name in _DIGESTS}
        else:
            found = _of_archive(_fetched(where) if given is None else given.read_bytes())
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        remedy = f"npm pack {PACKAGE}@{VERSION} fetches it; give its file as --runtime"
        raise InputError(f"{where}: cannot be read ({reason_of(error)}); {remedy}") from error
    for name, digest in _DIGESTS.items():
        if hashlib.sha256(found.get(name, b"")).hexdigest() != digest:
            said = "holds another" if name in found else "lacks"
            raise InputError(
                f"{where}: {said} {name}; give {PACKAGE} {VERSION}, as npm pack {PACKAGE}@{VERSION} gives it"
            )
    return MappingProxyType(found)


def _fetched(where: str) -> bytes:
    if urlsplit(where).scheme not in ("https", "http"):
        raise ValueError("no address of a registry")
    log.info(f"fetching {where}")
    with urllib.request.urlopen(where, timeout=_SECONDS) as answer:
        content: bytes = answer.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("larger than the package")
    return content


def _of_folder(folder: Path, name: str) -> Path:
    return next((file for file in (folder / "dist" / name, folder / name) if is_file(file)), folder / name)


def _of_archive(content: bytes) -> dict[str, bytes]:
    """Read the files that are wanted out of an archive, and nothing else of it."""
    found, wanted = dict[str, bytes](), {f"package/dist/{name}": name for name in _DIGESTS}
    with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            if member.name in wanted and member.size <= _LARGEST and (stream := archive.extractfile(member)):
                found[wanted[member.name]] = stream.read()
    return found
