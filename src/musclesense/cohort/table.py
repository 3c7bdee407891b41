"""The cohort table: one row an acquisition, paths relative to the table."""

import csv
import functools
import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from musclesense.cohort.dialects import MOST_COLUMNS, MOST_ROWS, known_columns, read_rows
from musclesense.errors import InputError, refuse
from musclesense.messages import log
from musclesense.names import folded, looks, name_problem
from musclesense.storage.paths import at_home, require_file
from musclesense.storage.records import as_it_was, write_csv
from musclesense.vocabulary import CHANNELS, Limbs, Region

LABEL_COLUMNS = ("mask", "compartments")
if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("subject", "session", "group", "region", "limbs", *CHANNELS, *LABEL_COLUMNS, "slice", "fat_fraction")
NAMES = ("subject", "session", "group")
SCAN = "scan"
"""A further column: what `musclesense segment` takes in place of images by name."""
LARGEST_TABLE_BYTES = 32 * 1024**2
_MOST_REMARKS = 20


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """One scan of one region of one subject at one session."""

    line: int  # line of the table it came from (the header is line 1)
    subject: str
    region: Region
    session: str = ""
    group: str = ""
    limbs: Limbs = Limbs.BOTH
    channels: Mapping[str, Path] = field(default_factory=dict)  # image file of each channel that the table gives
    mask: Path | None = None  # reference labels of the muscle as a whole, or None where nothing was drawn
    compartments: Path | None = None  # reference labels of single muscles, or None where nothing was drawn
    slice: int | None = None
    """0-based labelled slice along the volume's slice axis, or None for every slice where the labels are not empty."""
    fat_fraction: Path | None = None  # fat fraction image in percent, or None
    scan: Path | None = None
    """What `musclesense segment` takes in place of images by name, which it alone reads, or None."""
    limbs_known: bool = field(default=True, compare=False)
    """Whether the table says what limbs there are, or leaves the cell blank."""

    def labels(self, column: str) -> Path | None:
        """Give the reference labels of one of `LABEL_COLUMNS`."""
        return {"mask": self.mask, "compartments": self.compartments}[column]

    def cells(self) -> dict[str, str | int | Path]:
        """Give the value of each of `COLUMNS`: files as paths, the empty text where there is nothing."""
        values = {column: getattr(self, column, None) for column in COLUMNS} | {**self.channels}
        values |= {"region": self.region.value, "limbs": self.limbs.value}
        return {column: "" if value is None else value for column, value in values.items()}


@dataclass(frozen=True)
class CohortTable:
    """The rows of a cohort table."""

    path: Path
    acquisitions: tuple[Acquisition, ...]  # its rows in order
    digest: str  # SHA-256 of the file's bytes: what folds and caches are bound to
    problems: tuple[str, ...] = ()  # of rows that :func:`scan_table` could not understand and left out
    remarks: tuple[str, ...] = ()
    """How it was read, and what in it may be a slip: nothing that keeps it from being used."""

    def tell(self) -> Self:
        """Say the remarks beside results, as a command does once; gives the table."""
        for remark in self.remarks[:_MOST_REMARKS]:
            log.warning(f"{self.path}{remark}")
        if (more := len(self.remarks) - _MOST_REMARKS) > 0:
            log.warning(f"{self.path}: and {more} more remarks")
        return self

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """The rows as a pandas table: ``line`` and the columns of a cohort table, files as paths."""
        import pandas as pd

        return pd.DataFrame([{"line": row.line} | row.cells() for row in self.acquisitions])


def read_table(path: Path) -> CohortTable:
    """Read and type every row of a cohort table.

    Raises:
        InputError: The file is missing or no table, or rows hold values that cannot be
            understood; every such row is named at once.
    """
    table = scan_table(path)
    if table.problems:
        raise InputError(*table.problems)
    return table


def scan_table(path: Path) -> CohortTable:
    """Read a cohort table like :func:`read_table`, but keep the problems of rows for ``checks.check`` to report.

    Raises:
        InputError: The file is missing or no table.
    """
    missing = "no such cohort table; give cohort.path=TABLE.csv or make one with 'musclesense phantom'"
    if require_file(path, missing=missing) > LARGEST_TABLE_BYTES:
        raise InputError(f"{path}: larger than {LARGEST_TABLE_BYTES // 1024**2} MiB; is it a table?")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); correct its permissions") from error
    return _parse(path, content)


@functools.lru_cache(maxsize=1)
def _parse(path: Path, content: bytes) -> CohortTable:
    """Understand a table's bytes; once where it is asked for several times, as every start of a run does."""
    try:
        rows, notes = read_rows(content, COLUMNS)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table in UTF-8 ({error}); save it as comma-separated UTF-8") from error
    given = [name.strip() for name in rows[0][1]] if rows else []
    for things, count, most in (("rows", len(rows) - 1, MOST_ROWS), ("columns", len(given), MOST_COLUMNS)):
        if count > most:
            raise InputError(f"{path}: has more than {most} {things}; is it a table of scans?")
    header, nearly = known_columns(given, (*COLUMNS, SCAN))
    lacking = [name for name in ("subject", "region") if name not in header]
    if lacking:
        raise InputError(
            f"{path}: no column {' or '.join(map(repr, lacking))}; columns found: {', '.join(given) or 'none'}"
        )
    repeated = [name for name in COLUMNS if header.count(name) > 1]
    if repeated:
        raise InputError(f"{path}: column {', '.join(map(repr, repeated))} occurs more than once; keep one")
    acquisitions, problems = [], []
    for line, values in rows[1:]:
        if any(value.strip() for value in values[len(header) :]):
            problems.append(f"{path}, line {line}: has more cells than the header; quote a cell that holds a comma")
            continue
        row = {name: as_it_was(value.strip()) for name, value in zip(header, values, strict=False)}
        try:
            acquisitions.append(_acquisition(path, line, row))
        except InputError as error:
            problems.extend(error.problems)
    if not acquisitions and not problems:
        raise InputError(f"{path}: has no rows; add one row for each acquisition")
    for line, column, name, other, before in _written_otherwise(acquisitions, looks):
        one = f"looks like {other!a} in line {before}, written otherwise; write one name in one way"
        problems.append(f"{path}, line {line}: {column} {name!a}: {one}")
    remarks = [f": {note}" for note in (*notes, *nearly)]
    for line, column, name, other, before in _written_otherwise(acquisitions, folded):
        if looks(name) != looks(other):
            remarks.append(f", line {line}: {column} {name!r}: is it {other!r} in line {before}? Then give it one name")
    return CohortTable(path, tuple(acquisitions), hashlib.sha256(content).hexdigest(), tuple(problems), tuple(remarks))


def _written_otherwise(
    rows: Sequence[Acquisition], key: Callable[[str], str]
) -> Iterator[tuple[int, str, str, str, int]]:
    """Find names that a key gives for an earlier one: as two, one person would be trained on and tested on.

    Yields:
        Line, column and name, and the earlier name with its line.
    """
    for column in NAMES:
        lines = dict[tuple[str, str], int]()
        for row in rows:
            lines.setdefault((row.subject if column == "session" else "", getattr(row, column)), row.line)
        first = dict[tuple[str, str], tuple[str, int]]()
        for (within, name), line in lines.items():
            other, before = first.setdefault((within, key(name)), (name, line))
            if other != name:
                yield line, column, name, other, before


def cell_problem(text: str) -> str | None:
    """Say why a table cannot hold a text in a cell such that it is read again, or None where it can."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        return "holds a line end or another control character"
    if text != text.strip():
        return "begins or ends with a blank"
    if len(text) > csv.field_size_limit():
        return f"has more than {csv.field_size_limit()} characters"
    return None


def _cell_problem(column: str, text: str) -> str | None:
    return cell_problem(text) or (name_problem(text) if column in NAMES else None)


def write_table(path: Path, acquisitions: Sequence[Acquisition]) -> None:
    """Write a cohort table with paths relative to it, atomically; the column of scans where there are any.

    Raises:
        InputError: A name or a path is such that the table could not be read again.
    """
    scans = any(row.scan is not None for row in acquisitions)
    rows = [
        {
            column: Path(os.path.relpath(cell, path.parent)).as_posix() if isinstance(cell, Path) else cell
            for column, cell in _written(acquisition, scans).items()
        }
        for acquisition in acquisitions
    ]
    cells = {(column, str(cell)): None for row in rows for column, cell in row.items()}
    problems = [
        f"{column} {cell!r}: {why}; rename it" for column, cell in cells if (why := _cell_problem(column, cell))
    ]
    refuse(problems)
    write_csv(path, (*COLUMNS, SCAN) if scans else COLUMNS, rows)


def _written(row: Acquisition, scans: bool) -> dict[str, str | int | Path]:
    cells = row.cells() | ({SCAN: row.scan or ""} if scans else {})
    return cells if row.limbs_known else cells | {"limbs": ""}


def _acquisition(table: Path, line: int, row: dict[str, str]) -> Acquisition:
    problems = []

    def problem(column: str, remedy: str) -> None:
        problems.append(f"{table}, line {line}: {column} {row.get(column, '')!r}: {remedy}")

    for column in COLUMNS:
        if why := _cell_problem(column, row.get(column, "")):
            problem(column, f"{why}; correct the cell")
    if not row.get("subject"):
        problem("subject", "is blank; name the subject")
    try:
        region = Region(row.get("region", ""))
    except ValueError:
        problem("region", f"unknown; use {' or '.join(Region)}")
    try:
        limbs = Limbs(row.get("limbs") or Limbs.BOTH)
    except ValueError:
        problem("limbs", f"unknown; use {', '.join(Limbs)}")
    # Spreadsheets and pandas write whole numbers in a column with gaps as 3.0 or 3,0.
    labelled = re.fullmatch(r"([0-9]{1,6})([.,]0+)?", row.get("slice", ""))
    if row.get("slice") and not labelled:
        problem("slice", "not a slice number; count from 0, or leave it blank")
    refuse(problems)

    def file(column: str) -> Path | None:
        return table.parent / at_home(Path(row[column])) if row.get(column) else None

    channels = {name: image for name in CHANNELS if (image := file(name)) is not None}
    return Acquisition(
        line=line,
        subject=row["subject"],
        session=row.get("session", ""),
        group=row.get("group", ""),
        region=region,
        limbs=limbs,
        channels=channels,
        mask=file("mask"),
        compartments=file("compartments"),
        slice=int(labelled[1]) if labelled else None,
        fat_fraction=file("fat_fraction"),
        scan=file(SCAN),
        limbs_known=bool(row.get("limbs")),
    )
