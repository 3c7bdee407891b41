"""A table's bytes as cells, in whichever way a spreadsheet wrote them; what was not as expected is said."""

import codecs
import csv
import io
from collections.abc import Sequence

from musclesense.names import folded

MOST_ROWS = 20_000
MOST_COLUMNS = 10_000
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}

Rows = list[tuple[int, list[str]]]
"""Cells of each row that is not blank, with the line where it begins."""


def read_rows(content: bytes, columns: Sequence[str]) -> tuple[Rows, list[str]]:
    """Read the cells of a table: UTF-8 or UTF-16; commas, semicolons or tabs.

    Args:
        content: Of the file.
        columns: Known ones: the separator is the one that parts most of them.

    Returns:
        The rows, of too many the first, and what is to be said of how they were read.

    Raises:
        ValueError: Its bytes are no text.
        csv.Error: Its text is no table.
    """
    text, notes = _decoded(content)
    # Excel's own way to name a separator, which it never shows.
    first, end, rest = text.partition("\n")
    first = first.strip('\r"')
    named = first[4:] if first.lower()[:4] == "sep=" else None
    start, text = (2, rest) if end and named in _SEPARATORS else (1, text)
    known = {folded(column) for column in columns}
    parted = {separator: len({*map(folded, _header(text, separator))} & known) for separator in _SEPARATORS}
    separator = named if start == 2 and named else max(parted, key=parted.__getitem__)
    if separator != ",":
        notes.append(f"read as a table whose cells are parted by {_SEPARATORS[separator]}")
    return _rows(text, separator, start), notes


def known_columns(header: Sequence[str], columns: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give a header in known names, where it differs from them by case, blanks or dashes alone, and what is to be said.

    Returns:
        The names of the columns, and a line for each that is nearly a known one.
    """
    same, given = {folded(column): column for column in columns}, {*header}
    names, notes = [], []
    for own in header:
        known = same.get(folded(own), own)
        if known == own:
            near = [column for column in columns if column not in given and _near(folded(own), folded(column))]
            notes += [f"column {own!r} is not read; is it {near[0]!r}? Then rename it"] if near and own else []
        elif known in given:
            notes.append(f"column {own!r} is not read, since there is {known!r}")
            known = own
        else:
            notes.append(f"column {own!r} is read as {known!r}")
        names.append(known)
    return names, notes


def _decoded(content: bytes) -> tuple[str, list[str]]:
    for encoding, begins in (("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE)):
        bare = [byte == 0 for byte in content[:2]] == [encoding == "utf-16-be", encoding == "utf-16-le"]
        if content.startswith(begins) or bare:
            return content.decode(encoding).removeprefix("\ufeff"), ["read as UTF-16"]
    return content.decode("utf-8-sig"), []


def _header(text: str, separator: str) -> list[str]:
    try:
        return next((row[: MOST_COLUMNS + 1] for _, row in _rows(text, separator, 1, most=1)), [])
    except csv.Error:
        return []


def _rows(text: str, separator: str, line: int, most: int = MOST_ROWS + 2) -> Rows:
    """Split a text into rows, of which there are ``most`` at most; ``line``: that of its beginning."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, before = Rows(), line - 1
    for values in reader:
        if any(value.strip() for value in values):
            rows.append((line, values))
            if len(rows) == most:
                break
        line = before + reader.line_num + 1
    return rows


def _near(one: str, other: str) -> bool:
    """Whether a letter was added, lost or changed, or two neighbours changed places."""
    if sorted(one) == sorted(other):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 2
    short, long = sorted((one, other), key=len)
    without = [long[:at] + long[at + 1 :] for at in range(len(long))]
    if len(short) == len(long):
        return sum(a != b for a, b in zip(one, other, strict=True)) == 1
    return short in without
