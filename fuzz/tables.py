"""Cohort tables: encodings, quoting, cells of all kinds, paths that lead astray, and far too many rows."""

import codecs
import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds, table_text, write_cohort

ACCEPT, REFUSE, EITHER = Verdict
TEXTS = (
    *("", " ", "0", "-1", "1e9", "nan", "NaN", "None", "null", "\u0663", "S1", "s1", "Müller", "名前", "\u202e", "🦵"),
    *("a\tb", "a\nb", "a\rb", "a\x1b[31mb", "a\x00b", "a\u2028b", "a'b", 'a"b', "a,b", "$x$", "$\\frac$", "{x}", "%s"),
    *("=1+1", "../x", "/etc/passwd", "x" * 300, "x" * 5000, "y" * 140_000, "\ufeff", "\u00a0", "thigh ", "CALF"),
)
PATHS = (
    *("../../../../etc/passwd", "/etc/passwd", "/", ".", "..", "~", "~/x.nii.gz", "//x", "file:///etc/passwd", "C:\\x"),
    *("/dev/zero", "/dev/stdin", "/dev/full", "/proc/self/mem", "/proc/self/environ", "/proc/kmsg", "pipe", "loop"),
    *(
        "folder",
        "empty",
        "s0",
        "s0/fat.nii.gz/",
        "s0/./fat.nii.gz",
        "s1/../s0/fat.nii.gz",
        "link/fat.nii.gz",
        "x\n.nii",
    ),
    *("s0/water.nii.gz", "s0/mask.nii.gz", "cohort.csv", "x" * 256, "x/" * 2500, "s0/FAT.nii.gz", "-", "|ls", "a\x00b"),
)
COLUMNS = ("subject", "session", "group", "region", "limbs", "fat", "water", "mask", "slice")


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Spoil the table of a sound cohort, and check it or draw its folds."""
    rows = write_cohort(folder, seeds)
    verb = draw.one_of(("check", "check", "folds"))
    table, verdict = folder / "cohort.csv", EITHER
    how = draw.random.random()
    if how < 0.45:
        said = ", ".join(_cell(draw, folder, rows) for _ in range(1 + draw.below(3)))
        table.write_bytes(_as_csv(rows).encode("utf-8", "surrogatepass"))
    elif how < 0.60:
        content, said = draw.damaged(table_text(rows).encode())
        table.write_bytes(content)
    elif how < 0.78:
        said, content, verdict = _written(draw, rows)
        table.write_bytes(content)
    elif how < 0.93:
        said, text = _header(draw, rows)
        table.write_text(text)
    elif how < 0.95:
        said = _many(draw, table)
    else:
        said, verdict = _no_table(draw, table), REFUSE
    options: tuple[str, ...] = ()
    if verb == "folds":
        numbers = ("-1", "0", "1", "2", "3", "5", "7", "1000000000", "9" * 30, "1e3", "nan")
        for name in ("--outer", "--inner", "--seed"):
            if draw.chance(0.3):
                options += (f"{name}={draw.one_of(numbers)}",)
        if draw.chance(0.3):
            options += ("--region", draw.one_of(("calf", "thigh", "hip")))
        verdict = EITHER if verdict is ACCEPT else verdict
    return Case(
        arguments=(verb, "cohort.csv", *options), changes=said, verdict=verdict, right=_all_rows(table, verb, options)
    )


def _cell(draw: Draw, folder: Path, rows: list[dict[str, str]]) -> str:
    """Change one cell."""
    for name in ("pipe", "loop", "folder", "empty", "link"):
        _odd_file(folder / name)
    column, row = draw.one_of(COLUMNS), draw.below(len(rows))
    files = PATHS if column in ("fat", "water", "mask") else ()
    text = draw.one_of((*files, *draw.some_of(TEXTS, 10)))
    if column == "fat" and draw.chance(0.1):
        text = str(folder / rows[row]["fat"])
    if column == "slice" and draw.chance(0.5):
        text = draw.one_of(("0", "2", "3", "99", "999999", "1.0", "1.5", "01", "+1", "1_0", "-0", "²"))
    if draw.chance(0.1):
        text = rows[draw.below(len(rows))][column]
    rows[row][column] = text
    return f"{column} {text[:40]!r} in row {row}"


def _odd_file(path: Path) -> None:
    match path.name:
        case _ if path.is_symlink() or path.exists():
            return
        case "pipe":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path.name)
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "link":
            path.symlink_to("s0")


def _as_csv(rows: list[dict[str, str]]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _written(draw: Draw, rows: list[dict[str, str]]) -> tuple[str, bytes, Verdict]:
    """Write a sound table in another way: some of which are still tables in UTF-8."""
    if draw.chance(0.5):
        rows[0]["group"] = rows[1]["group"] = draw.one_of(("Kontrolle ä", "グループ", "🦵", "a$b$c"))
    text = table_text(rows)
    match draw.one_of(
        ("utf-16", "utf-32", "latin-1", "bom", "crlf", "cr", "quoted", "delimiter", "nul", "tail", "open")
    ):
        case "utf-16" | "utf-32" as encoding:
            return encoding, text.encode(encoding), ACCEPT if encoding == "utf-16" else REFUSE
        case "latin-1":
            return "latin-1", text.replace("control", "k\xf6rper").encode("latin-1", "replace"), REFUSE
        case "bom":
            return "bom", text.encode("utf-8-sig"), ACCEPT
        case "crlf":
            return "crlf", text.replace("\n", "\r\n").encode(), ACCEPT
        case "cr":
            return "cr", text.replace("\n", "\r").encode(), EITHER
        case "quoted":
            buffer = io.StringIO(newline="")
            writer = csv.DictWriter(buffer, COLUMNS, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
            return "quoted", buffer.getvalue().encode(), ACCEPT
        case "delimiter":
            separator = draw.one_of(";\t| :")
            return "delimiter", text.replace(",", separator).encode(), ACCEPT if separator in ";\t" else REFUSE
        case "nul":
            at = draw.below(len(text))
            return "nul", (text[:at] + "\0" * (1 + draw.below(5)) + text[at:]).encode(), EITHER
        case "tail":
            return "tail", text.encode() + draw.one_of((b"\n\n\n", b",,,,\n", b"\x1a", b"\0\0\0\0", b" \n")), EITHER
    at = draw.below(len(text))
    return "open quote", (text[:at] + '"' * (1 + draw.below(3)) + text[at:]).encode(), EITHER


def _header(draw: Draw, rows: list[dict[str, str]]) -> tuple[str, str]:
    """Change the columns."""
    names, *lines = table_text(rows).splitlines()
    columns = names.split(",")
    match draw.one_of(("twice", "lost", "renamed", "more", "none", "case", "order", "cells", "only")):
        case "twice":
            columns[draw.below(len(columns))] = said = draw.one_of(columns)
        case "lost":
            said = columns.pop(draw.below(len(columns)))
        case "renamed":
            columns[draw.below(len(columns))] = said = draw.one_of(TEXTS).replace(",", "").replace('"', "")
        case "more":
            said = f"{10_000} more"
            columns += [f"column{number}" for number in range(10_000)]
        case "none":
            said, columns = "none", lines.pop(0).split(",")
        case "case":
            said, columns = "upper case", [name.upper() for name in columns]
        case "order":
            said, columns = "backwards", columns[::-1]
        case "cells":
            said = "cells"
            lines = [line + "," * draw.below(3) + draw.one_of(("", "x")) for line in lines]
        case "only":
            said, lines = "no rows", []
    return f"columns: {said}"[:80], "\n".join([",".join(columns), *lines]) + "\n"


def _many(draw: Draw, table: Path) -> str:
    """Write rows without end."""
    count = draw.one_of((20_000, 100_000, 1_000_000))
    row = draw.one_of(("S{},calf,s0/fat.nii.gz", "S{},hip,s0/fat.nii.gz", "S1,thigh,s{}.nii.gz", '"S{}","calf",'))
    table.write_text("subject,region,fat\n" + "\n".join(row.format(number) for number in range(count)) + "\n")
    return f"{count} rows {row}"


def _no_table(draw: Draw, table: Path) -> str:
    """Put something else in the table's place."""
    how = draw.one_of(("nothing", "folder", "loop", "pipe", "device", "proc", "empty", "noise", "hole", "image"))
    match how:
        case "folder" | "loop" | "pipe" | "device" | "empty":
            draw.put(how, table)
        case "proc":
            table.symlink_to(draw.one_of(("/proc/self/mem", "/proc/self/environ", "/proc/kmsg")))
        case "noise":
            table.write_bytes(draw.random.bytes(1 + draw.below(5000)))
        case "hole":
            with table.open("wb") as file:
                file.truncate(draw.one_of((2**24, 2**29, 2**40)))
        case "image":
            table.write_bytes((table.parent / "s0/fat.nii.gz").read_bytes())
    return f"no table: {how}"


def _all_rows(table: Path, verb: str, options: tuple[str, ...]) -> Callable[[Path, str], str | None]:
    """Say whether a command counted other rows than there are."""

    def right(folder: Path, said: str) -> str | None:
        if options:
            return None
        content = table.read_bytes()
        text = content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
        separator = next((c for c in ";\t" if c in text.partition("\n")[0] and "," not in text.partition("\n")[0]), ",")
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        rows = [row for row in lines if any(cell.strip() for cell in row)]
        counted = f"{len(rows) - 1} acquisition"
        return None if counted in said.splitlines()[0] else f"not {counted}s as in the table"

    return right
