"""What people said of masks: a record beside the scans, and lists for other programs."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import yaml

from musclesense.errors import InputError
from musclesense.storage.locks import locked
from musclesense.storage.paths import is_there
from musclesense.storage.records import read_json, require_format, unreadable, write_json
from musclesense.studies.layout import REVIEW

FORMAT = 1
LONGEST_NAME, LONGEST_COMMENT = 100, 2000
_REMEDY = "put back what was there, or move it away"


class Verdict(StrEnum):
    """What is said of a mask."""

    PASS = "pass"
    FAIL = "fail"
    OPEN = ""
    """Nothing yet."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What somebody said of a mask.

    Attributes:
        scan: Its name in the list.
        verdict: Pass, fail or open.
        comment: In words.
        by: Who said it, as typed.
        at: When, in UTC (ISO 8601).
        mask_sha256: Digest of the mask that was seen; a mask that is made anew or corrected has another one.
    """

    scan: str
    verdict: Verdict = Verdict.OPEN
    comment: str = ""
    by: str = ""
    at: str = ""
    mask_sha256: str = ""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Understand what a record holds."""
        if wrong := [field.name for field in fields(cls) if not isinstance(told[field.name], str)]:
            raise TypeError(f"{wrong[0]} is no text")
        known = {field.name: told[field.name] for field in fields(cls)}
        return cls(**known | {"verdict": Verdict(told["verdict"])})


class Record:
    """What was said, in the file ``review.json`` of a folder, whole at any time.

    Of each scan it keeps the last words of everybody in turn: who says something after another adds an entry. Each
    change is made to what is in the file then, under a lock, so that several pages and people lose nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / REVIEW

    def entries(self) -> list[Entry]:
        """Read all that was said, in order.

        Raises:
            InputError: The record is damaged, or of a newer format.
        """
        if not is_there(self.path):
            return []
        content = read_json(self.path, remedy=_REMEDY)
        require_format(self.path, content, newest=FORMAT)
        with unreadable(self.path, TypeError, KeyError, ValueError, AttributeError, remedy=_REMEDY):
            return [Entry.of(told) for told in content["entries"]]

    def latest(self) -> dict[str, Entry]:
        """Give the last entry of each scan, by its name."""
        return {entry.scan: entry for entry in self.entries()}

    def say(self, scan: str, by: str, mask_sha256: str, **said: Any) -> Entry:
        """Write down what somebody says of a mask: ``verdict``, ``comment`` or both; the other stays as it is.

        What was said of another mask of the scan does not hold for this one, apart from the comment.
        """
        by = text_of_name(by)
        if "comment" in said:
            said["comment"] = _text("comment", said["comment"], LONGEST_COMMENT)
        with locked(self.path):
            entries = self.entries()
            before = next((entry for entry in reversed(entries) if entry.scan == scan), Entry(scan=scan))
            same_mask = before.mask_sha256 == mask_sha256
            entry = replace(
                before if same_mask else replace(before, verdict=Verdict.OPEN),
                **said,
                by=by,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                mask_sha256=mask_sha256,
            )
            if entries and same_mask and before.by == by:
                entries.remove(before)
            write_json(self.path, {"format": FORMAT, "entries": [asdict(one) for one in (*entries, entry)]})
        return entry


def text_of_name(given: str) -> str:
    """Take the name that somebody types.

    Raises:
        InputError: It is none.
    """
    return _text("your name", given, LONGEST_NAME, least=1)


def _text(name: str, given: str, longest: int, least: int = 0) -> str:
    """Take a text on one line."""
    text = " ".join(given.split())
    if not least <= len(text) <= longest or not text.isprintable():
        raise InputError(f"{name}: give {least} to {longest} printable characters")
    return text


def as_yaml(images: Iterable[str]) -> str:
    """Write the list that scripts for manual correction take: images whose masks are to be corrected.

    >>> print(as_yaml(["sub-001_T1w.nii.gz", "sub-002_T1w.nii.gz"]), end="")
    FILES_SEG:
    - sub-001_T1w.nii.gz
    - sub-002_T1w.nii.gz
    """
    names = [*images]
    plain = "".join(names).isprintable()  # other characters, such as a line feed of Unicode's, are read as blanks
    text: str = yaml.safe_dump({"FILES_SEG": names}, allow_unicode=plain, width=10_000)
    return text
