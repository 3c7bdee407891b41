"""A sound table written as other spreadsheets write it: its rows must be those of the plain one."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds, write_cohort
from musclesense.cohort.table import read_table

GROUPS = ("Kontrolle ä", "グループ", "a; b", "a, b", 'say "x"', "tab|pipe", "control", "=x", "O'Brien")


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Write the table in another dialect, and check it."""
    rows = write_cohort(folder, seeds)
    one, other = draw.one_of(GROUPS), draw.one_of(GROUPS)
    for number, row in enumerate(rows):
        row["group"] = (one, other)[number % 2]
    expected = [dict(row) for row in rows]
    columns = [list(rows[0])[at] for at in draw.random.permutation(len(rows[0]))]
    separator = draw.one_of((",", ";", "\t"))
    if draw.chance(0.4):
        for row in rows:
            row["slice"] += draw.one_of((",0", ".0", ",00"))
    header = {name: _header(draw, name) if draw.chance(0.15) else name for name in columns}
    text = _text(draw, [list(header.values())] + [[row[name] for name in columns] for row in rows], separator)
    encoding = draw.one_of(("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"))
    (folder / "cohort.csv").write_bytes(text.encode(encoding))
    said = f"{separator!r} {encoding} {[name for name in header.values() if name not in columns]}"
    return Case(arguments=("check", "cohort.csv"), changes=said, verdict=Verdict.ACCEPT, right=_rows_are(expected))


def _header(draw: Draw, name: str) -> str:
    return draw.one_of((name.upper(), name.title(), f" {name}", f"{name} ", f"{name}\u00a0", f"{name}\u200b"))


def _text(draw: Draw, cells: list[list[str]], separator: str) -> str:
    end = draw.one_of(("\n", "\r\n"))
    buffer = io.StringIO(newline="")
    quoting: Literal[0, 1] = draw.one_of((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(buffer, delimiter=separator, lineterminator=end, quoting=quoting)
    if draw.chance(0.3):  # columns of one's own, and the empty ones of a spreadsheet
        cells = [[*row, "note" if at == 0 else "x; y, z", ""] for at, row in enumerate(cells)]
    for row in cells:
        writer.writerow(row)
        if draw.chance(0.1):
            writer.writerow([""] * len(row))
    named = f"sep={separator}{end}" if draw.chance(0.3) else ""
    return named + buffer.getvalue()


def _rows_are(expected: list[dict[str, str]]) -> Callable[[Path, str], str | None]:
    def right(folder: Path, said: str) -> str | None:
        table = read_table(folder / "cohort.csv")
        found = [{name: str(cell) for name, cell in row.cells().items()} for row in table.acquisitions]
        for row in found:
            row |= {name: str(Path(row[name]).relative_to(folder)) for name in ("fat", "water", "mask")}
        wanted = [{**dict.fromkeys(found[0], ""), **row} for row in expected]
        return None if found == wanted else "other rows than those of the plain table"

    return right
