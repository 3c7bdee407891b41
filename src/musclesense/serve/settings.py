"""How the page is served: where, for whom, how much and how long."""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from musclesense.errors import ArgumentError, InputError
from musclesense.storage.records import read_text

TOKEN_VARIABLE = "MUSCLESENSE_TOKEN"
_SHORTEST_TOKEN = 16
_MIB = 1024**2
MOST_FILES = 20_000
"""Of an upload, and of an archive: scanners write a file for each slice of each echo."""
_UNPACKED = 4
"""So many times the size of an upload may unpacked files take: images compress to a half, masks to a hundredth."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the page is served.

    Attributes:
        data: Folder of uploads and results.
        host: Address to listen at.
        port: Port to listen at; 0: any that is free.
        names: Names under which others reach the page, beside that address.
        token: What a visitor has to know; None: nothing, which only this machine's own address allows.
        model: As of ``segment``; None: of the networks of the package the one that takes the images.
        device: Where networks compute.
        jobs: How many scans are segmented at once.
        queue: How many wait at most.
        minutes: How long a job may take.
        keep_hours: How long uploads and results are kept.
        upload_mb: How large an upload may be, in MiB.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    token: str | None = None
    model: str | None = None
    device: str = "auto"
    jobs: int = 1
    queue: int = 20
    minutes: float = 60.0
    keep_hours: float = 24.0
    upload_mb: int = 1024

    @classmethod
    def asked(cls, *, token_file: Path | None = None, **asked: object) -> Self:
        """Understand what a user asks for; the token comes from a file or the environment, never from a command line.

        Raises:
            InputError: A number is none of use, or others could reach the page without a token.
        """
        remedy = f"write one of {_SHORTEST_TOKEN} characters or more, on one line"
        told = os.environ.get(TOKEN_VARIABLE) if token_file is None else read_text(token_file, remedy=remedy).strip()
        if told is not None and (len(told) < _SHORTEST_TOKEN or not told.isascii() or not told.isprintable()):
            place = TOKEN_VARIABLE if token_file is None else token_file
            raise InputError(f"{place}: no token of {_SHORTEST_TOKEN} or more plain letters and digits; {remedy}")
        own = cls(token=told, **asked)  # type: ignore[arg-type]
        own._require_sense()
        return own

    def _require_sense(self) -> None:
        for name, least, most in (
            ("port", 0, 65535),
            ("jobs", 1, 64),
            ("queue", 1, 10_000),
            ("minutes", 0.1, 10_000),
            ("keep_hours", 0.01, 10_000),
            ("upload_mb", 1, 100_000),
        ):
            if not least <= (value := getattr(self, name)) <= most:
                raise ArgumentError(f"{{{name}}}: give {least:g} to {most:g}", **{name: f"{value:g}"})
        if self.token is None and not (self.is_local and not self.names):
            raise ArgumentError(
                "{host}: others can reach the page there, which needs a token; give {token_file}, "
                f"or set {TOKEN_VARIABLE}",
                host=" ".join((self.host, *self.names)),
                token_file="FILE",
            )

    @property
    def is_local(self) -> bool:
        """Whether this machine alone reaches the address."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def upload_bytes(self) -> int:
        """How large an upload may be."""
        return self.upload_mb * _MIB

    @property
    def unpacked_bytes(self) -> int:
        """How large it may be when it is unpacked."""
        return _UNPACKED * self.upload_bytes
