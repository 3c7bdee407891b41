"""Packages of the npm registry, fetched or from a folder: one release, file by file as it was tried."""

import hashlib
import tarfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from musclesense.errors import InputError, reason_of
from musclesense.messages import log
from musclesense.storage.paths import is_file

REGISTRY = "https://registry.npmjs.org"
_LARGEST, _SECONDS = 64 * 1024**2, 60.0


@dataclass(frozen=True)
class Package:
    """A release of a package.

    Attributes:
        name: At the registry.
        version: Of the release that was tried.
        digests: SHA-256 of the files that are taken, by their names in the package's folder ``dist``.
        option: Of the command line, which names the package where it is not fetched.
    """

    name: str
    version: str
    digests: Mapping[str, str]
    option: str

    def files(self, given: Path | None, registry: str = REGISTRY) -> Mapping[str, bytes]:
        """Give the files of `digests` by their names.

        Args:
            given: The package's archive or its folder; None: fetch it.
            registry: Address of the npm registry.

        Raises:
            InputError: They are not there, or are not those of the release.
        """
        archive = f"{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"
        where = f"{registry.rstrip('/')}/{archive}" if given is None else str(given)
        packed = f"npm pack {self.name}@{self.version}"
        try:
            if given is not None and given.is_dir():
                found = {name: _of_folder(given, name).read_bytes() for name in self.digests}
            else:
                found = self._of_archive(_fetched(where) if given is None else given.read_bytes())
        except (OSError, EOFError, ValueError, tarfile.TarError) as error:
            remedy = f"{packed} fetches it; give its file as {self.option}"
            raise InputError(f"{where}: cannot be read ({reason_of(error)}); {remedy}") from error
        for name, digest in self.digests.items():
            if hashlib.sha256(found.get(name, b"")).hexdigest() != digest:
                said = "holds another" if name in found else "lacks"
                raise InputError(f"{where}: {said} {name}; give {self.name} {self.version}, as {packed} gives it")
        return MappingProxyType(found)

    def _of_archive(self, content: bytes) -> dict[str, bytes]:
        """Read the files that are wanted out of an archive, and nothing else of it."""
        found, wanted = dict[str, bytes](), {f"package/dist/{name}": name for name in self.digests}
        with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                if member.name in wanted and member.size <= _LARGEST and (stream := archive.extractfile(member)):
                    found[wanted[member.name]] = stream.read()
        return found


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
