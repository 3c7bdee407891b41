"""Where a cohort comes from: one's own table, or a phantom that is made where it is missing.

What makes a phantom is imported where one is made: a run that finds its own starts sooner.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from musclesense.cohort.table import CohortTable, read_table, scan_table
from musclesense.errors import InputError
from musclesense.phantom.cohorts.presets import find_preset
from musclesense.phantom.version import PHANTOM_VERSION, version_of
from musclesense.storage.locks import locked
from musclesense.storage.records import read_json


@dataclass(frozen=True)
class OwnTable:
    """A table of one's own scans."""

    path: Path

    def scan(self) -> CohortTable:
        """Read the table with its problems, none of which is raised.

        Raises:
            InputError: There is no such table.
        """
        return scan_table(self.path)

    def read(self) -> CohortTable:
        """Read the table.

        Raises:
            InputError: All that is wrong with it.
        """
        return read_table(self.path)


@dataclass(frozen=True)
class Phantom:
    """A phantom cohort.

    Attributes:
        data: The folder in which phantoms lie.
        preset: Who is in it.
        seed: Of all that is random.
        slices: ``all``, or ``mid`` for the labelled ones alone.
    """

    data: Path
    preset: str
    seed: int
    slices: str

    @property
    def folder(self) -> Path:
        """Where this phantom lies, or will lie."""
        part = "" if self.slices == "all" else f"-{self.slices}"
        return self.data / f"phantom-{self.preset}-{self.seed}{part}"

    def scan(self) -> None:
        """Refuse a phantom that cannot be made, or that another version made; its table is not read.

        Raises:
            InputError: Says what is wrong.
        """
        find_preset(self.preset)
        if self.folder.is_dir():
            self._require_this_version()
        else:
            from musclesense.phantom.cohorts.generate import require_known_slices

            require_known_slices(self.slices)

    def read(self) -> CohortTable:
        """Read the phantom's table; the phantom is made first where it is missing, once among processes.

        Raises:
            InputError: Another version made the phantom.
        """
        if not self.folder.is_dir():
            with locked(self.folder):
                if not self.folder.is_dir():
                    self._make()
        self._require_this_version()
        return read_table(self.folder / "cohort.csv")

    def _make(self) -> None:
        from musclesense.phantom.cohorts.generate import generate

        slices: Literal["all", "mid"] = self.slices  # type: ignore[assignment]  # it refuses others
        generate(self.folder, preset=self.preset, seed=self.seed, workers=os.cpu_count() or 1, slices=slices)

    def _require_this_version(self) -> None:
        """Refuse a phantom of another version: the same arguments would give other scans now."""
        try:
            record = read_json(self.folder / "phantom.json", remedy="remove the folder")
        except InputError:
            record = None
        made_by = version_of(record) if isinstance(record, dict) else None
        if made_by != PHANTOM_VERSION:
            versions = f"made by version {made_by or 'unknown'} of the phantom, and this is version {PHANTOM_VERSION}"
            raise InputError(f"{self.folder}: {versions}; remove the folder")
