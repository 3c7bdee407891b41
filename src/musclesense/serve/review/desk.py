"""What the routes of the list need: its rows in their order, with what was said; the masks that were opened last."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import anyio
from fastapi import HTTPException, Request

from musclesense.serve.desk import edits_of
from musclesense.serve.review.listed import Listed, Opened, Source
from musclesense.serve.review.record import Entry, Record, Verdict, text_of_name

_KEPT_OPEN = 3
"""Masks of which images are held in memory."""


@dataclass(frozen=True)
class Row:
    """A mask, and the last that was said of its scan."""

    listed: Listed
    entry: Entry

    COLUMNS: ClassVar = (
        *("scan", "verdict", "comment", "by", "at", "flags", "score", "verdict_before", "corrected_by", "corrected_at"),
        *("mask", "mask_sha256"),
    )
    """Of the table to take along."""

    @property
    def _is_of_this_mask(self) -> bool:
        return self.entry.mask_sha256 == self.listed.mask_sha256

    @property
    def verdict(self) -> Verdict:
        """What is said of the mask as it is now."""
        return self.entry.verdict if self._is_of_this_mask else Verdict.OPEN

    @property
    def before(self) -> Verdict:
        """What was said of another mask of the scan, where nothing is said of this one."""
        return Verdict.OPEN if self._is_of_this_mask else self.entry.verdict

    def as_cells(self) -> Mapping[str, object]:
        """Give its values for the table."""
        seen, entry = self.listed, self.entry
        corrected = seen.corrected or {}
        score = "" if seen.score is None else f"{seen.score:.3f}"
        own = (seen.name, self.verdict, entry.comment, entry.by, entry.at, " ".join(seen.flags), score, self.before)
        more = (corrected.get("by", ""), corrected.get("at", ""), seen.mask, seen.mask_sha256)
        return dict(zip(self.COLUMNS, map(str, (*own, *more)), strict=True))


class Desk:
    """A source of masks, and what was said of them."""

    def __init__(self, source: Source) -> None:
        self.source, self.record = source, Record(source.folder)
        self._opened = OrderedDict[tuple[str, str], Opened]()
        self._lock = threading.Lock()

    def rows(self) -> list[Row]:
        """Give all masks in the order in which they are looked at."""
        said = self.record.latest()
        listed = sorted(self.source.listed(), key=lambda one: one.order)
        return [Row(one, said.get(one.name, Entry(scan=one.name))) for one in listed]

    def row(self, name: str) -> Row:
        """Find a mask by its id, or answer that there is none."""
        found = next((row for row in self.rows() if row.listed.id == name), None)
        if found is None:
            raise HTTPException(404, "There is no such mask.")
        return found

    def open(self, row: Row) -> Opened:
        """Open a mask; the last few are held."""
        key = (row.listed.id, row.listed.mask_sha256)
        with self._lock:  # several slices are asked for at once
            if key not in self._opened:
                self._opened[key] = self.source.open(row.listed.name)
                while len(self._opened) > _KEPT_OPEN:
                    self._opened.popitem(last=False)
            self._opened.move_to_end(key)
            return self._opened[key]

    async def paint(self, row: Row, by: str, base: str, request: Request) -> dict[str, str]:
        """Take painted slices, and wait until they are saved and measured."""
        who = text_of_name(by)
        if not self.source.paints:
            raise HTTPException(409, "These masks are looked at alone.")
        told = (await anyio.to_thread.run_sync(self.open, row)).told
        edits = await edits_of(request, told)
        await anyio.to_thread.run_sync(self.source.correct, row.listed.name, edits, base, who)
        return {"id": row.listed.id, "state": "done"}
