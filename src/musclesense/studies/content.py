"""What a study was made from: its rows of the table, and what their images hold, whatever the files are called.

``cohort.json`` is written when a study begins, and is compared whenever it goes on.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.errors import InputError
from musclesense.imaging.digests import voxels_of
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_file
from musclesense.storage.records import read_json, require_format, unreadable, write_json
from musclesense.studies.layout import StudyFolder
from musclesense.studies.study import FORMAT
from musclesense.vocabulary import CHANNELS

_WHO = ("subject", "session", "region", "limbs")
_MEANT = ("group", "slice")
_REMEDY = "put back what was there, or give study=ANOTHER_NAME"
_DAMAGED = "put back what was there, or remove the study folder and start again"

Images = Mapping[str, tuple[Path, str]]
"""Files of an acquisition by their columns of the table, each with its `image_digest`."""


@dataclass(frozen=True)
class Cohort:
    """A table of one's own, as a study knows it."""

    path: Path  # where it lies now
    table: str  # SHA-256 of its bytes
    rows: str  # digest of what its used rows say, the names of their files left out

    @classmethod
    def of(cls, table: CohortTable, used: Iterable[Acquisition]) -> Self:
        """Describe a table of which some rows are used."""
        return cls(table.path.absolute(), table.digest, rows_of(list(map(_said, used))))


def rows_of(content: Iterable[Mapping[str, Any]]) -> str:
    """Give the digest `Cohort.rows` of the rows that `read_content` gives."""
    rows = [{name: row[name] for name in ("line", *_WHO, *_MEANT)} for row in content]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def write_content(folder: StudyFolder, acquisitions: Sequence[Acquisition], images: Sequence[Images]) -> None:
    """Write down what a study is made from, once its folds are drawn: rows, images and folds."""
    rows = [
        _said(row) | {"images": {name: digest for name, (_, digest) in own.items()}}
        for row, own in zip(acquisitions, images, strict=True)
    ]
    write_json(folder.cohort, {"format": FORMAT, "folds": digest_of_bytes(folder.folds), "rows": rows})


def read_content(folder: StudyFolder) -> list[dict[str, Any]] | None:
    """Read the rows that a study is made from, each with the digests of its ``images``; None before there was a record.

    Raises:
        InputError: The record cannot be understood, or the folds are others than those of which it tells.
    """
    if not is_file(folder.cohort):
        return None
    content = read_json(folder.cohort, remedy=_DAMAGED)
    require_format(folder.cohort, content, newest=FORMAT)
    kinds = {"line": int, "slice": int | str, "images": dict} | dict.fromkeys((*_WHO, "group"), str)
    with unreadable(folder.cohort, TypeError, KeyError, AttributeError, remedy=_DAMAGED):
        rows, drawn = content["rows"], content["folds"]
        if not isinstance(rows, list) or not all(isinstance(row[name], kinds[name]) for row in rows for name in kinds):
            raise TypeError("holds no rows of a cohort")
        if not all(isinstance(digest, str) for row in rows for digest in row["images"].values()):
            raise TypeError("holds no digests")
    if not is_file(folder.folds) or digest_of_bytes(folder.folds) != drawn:
        raise InputError(f"{folder.folds}: changed since the study began; {_DAMAGED}")
    return list(rows)


def voxels_in(row: Mapping[str, Any]) -> set[str]:
    """Give the `voxel_digest` of each image of a row that `read_content` gives, labels left out."""
    return {voxels_of(digest) for name, digest in row["images"].items() if name in CHANNELS}


def require_same_content(
    folder: StudyFolder, table: Path, acquisitions: Sequence[Acquisition], images: Sequence[Images]
) -> bool:
    """Refuse rows and images that are not those with which a study began; tell whether that is known.

    Raises:
        InputError: Names what changed, a line for each row and file.
    """
    there = read_content(folder)
    if there is None:
        return False
    problems = list(_of_rows(folder, table, there, acquisitions))
    if problems := problems or list(_of_images(folder, there, acquisitions, images)):
        raise InputError(*(f"{problem}; {_REMEDY}" for problem in problems))
    return True


def _said(row: Acquisition) -> dict[str, Any]:
    cells = row.cells()
    return {"line": row.line} | {name: cells[name] for name in (*_WHO, *_MEANT)}


def _of_rows(
    folder: StudyFolder, table: Path, there: Sequence[Mapping[str, Any]], here: Sequence[Acquisition]
) -> Iterator[str]:
    """Say which rows are gone, are new, or tell something else; where there are none, which stand elsewhere."""
    before, now = ({_who(row): row for row in rows} for rows in (there, map(_said, here)))
    yield from (f"{table}: lacks {who}, with which {folder.path} began" for who in before if who not in now)
    yield from (
        f"{table}, line {row['line']}: {who} is new since {folder.path} began"
        for who, row in now.items()
        if who not in before
    )
    both = [(who, before[who], row) for who, row in now.items() if who in before]
    for who, one, other in both:
        for name in _MEANT:
            if one[name] != other[name]:
                changed = f"{name} {other[name]!r}, and {one[name]!r} when {folder.path} began"
                yield f"{table}, line {other['line']}: {who} has {changed}"
    moved = [pair for pair in both if pair[1]["line"] != pair[2]["line"]]
    if moved and len(before) == len(both) == len(now):
        who, one, other = moved[0]
        more = f", and {len(moved) - 1} more rows" if len(moved) > 1 else ""
        yield f"{table}, line {other['line']}: {who} stood in line {one['line']} when {folder.path} began{more}"


def _of_images(
    folder: StudyFolder, there: Sequence[Mapping[str, Any]], here: Sequence[Acquisition], images: Sequence[Images]
) -> Iterator[str]:
    """Say which files hold something else than before."""
    before = {_who(row): row["images"] for row in there}
    for row, own in zip(here, images, strict=True):
        who = _who(_said(row))
        for name, (file, digest) in own.items():
            if (known := before[who].get(name)) != digest:
                how = "is new" if known is None else "lies elsewhere" if _same_voxels(known, digest) else "changed"
                yield f"{file}: {how} since {folder.path} began, {name} of {who}"
        yield from (
            f"{folder.path}: began with a {name} image of {who}, and there is none now"
            for name in before[who]
            if name not in own
        )


def _same_voxels(one: str, other: str) -> bool:
    return voxels_of(one) == voxels_of(other)


def _who(row: Mapping[str, Any]) -> str:
    session = f", session {row['session']}" if row["session"] else ""
    limbs = "" if row["limbs"] == "both" else f", {row['limbs']} limb"
    return f"subject {row['subject']}{session}, {row['region']}{limbs}"
