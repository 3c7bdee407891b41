"""What a list of masks is made of, be they results of `segment` or cases of a study."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from musclesense.segmentation.measuring import DOUBTFUL, LEFT_OUT


class ChangedError(Exception):
    """Somebody else has changed a mask since it was shown."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A mask of the list.

    Attributes:
        name: What it is called, unlike all others.
        cells: What is shown of it, by columns of the source.
        flags: What is to be looked at.
        score: How good it is, the worst part of it; None where that is not known.
        mask: Its file, or the image of it, as far as there is one.
        mask_sha256: Digest of the mask that is shown.
        image: The image that it is drawn on, as it was given.
        corrected: Who corrected it and when (``by``, ``at``); None where nobody has.
    """

    name: str
    cells: Mapping[str, str]
    flags: tuple[str, ...] = ()
    score: float | None = None
    mask: str = ""
    mask_sha256: str = ""
    image: str = ""
    corrected: Mapping[str, str] | None = None

    @property
    def id(self) -> str:
        """What names it in addresses; the same whenever it is served."""
        return hashlib.sha256(self.name.encode()).hexdigest()[:16]

    @property
    def order(self) -> tuple[int, float, str]:
        """Doubtful masks are first, then flagged ones; among them the worst."""
        flagged = {*self.flags} - {LEFT_OUT}
        rank = 0 if DOUBTFUL in flagged else 1 if flagged else 2
        return rank, 2.0 if self.score is None else self.score, self.name


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A mask that is looked at.

    Attributes:
        told: What the viewer is told, as of `musclesense.serve.shown.view_of`.
        arrays: What it shows, of (slices, rows, columns).
        rows: Measurements, as numbers; None where the mask is scored instead.
        changes: What was changed by hand, likewise.
        scores: A table: titles, then rows of texts.
        held: What the source needs to correct it.
    """

    told: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    rows: Sequence[Mapping[str, Any]] | None = None
    changes: Sequence[Mapping[str, Any]] = ()
    scores: Sequence[Sequence[str]] = ()
    held: Any = field(default=None, repr=False)


class Source(Protocol):
    """Where masks come from.

    Attributes:
        folder: In which the record of what was said lies.
        columns: What is shown of each.
        paints: Whether masks can be corrected.
    """

    folder: Path
    columns: Sequence[str]
    paints: bool

    def listed(self) -> list[Listed]:
        """Give all masks that are there now."""

    def failed(self) -> Mapping[str, str]:
        """Give what has no mask, and why."""

    def open(self, name: str) -> Opened:
        """Open a mask of the list.

        Raises:
            InputError: It cannot be shown.
        """

    def correct(self, name: str, edits: bytes, base: str, by: str) -> None:
        """Save and measure a mask with slices that were painted.

        Args:
            name: Of the mask.
            edits: As `musclesense.serve.view.painted` takes them.
            base: Digest of the mask that was painted on.
            by: Who painted.

        Raises:
            InputError: They are no slices of it, or it cannot be saved.
            ChangedError: Another mask is there by now.
        """

    def files(self, name: str) -> Mapping[str, Sequence[Path]]:
        """Give what can be downloaded of a mask, by a heading."""
