"""Two names in a table: known to look alike, known to be often written for one, or known to be two."""

import unicodedata
from pathlib import Path

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds, table_text, write_cohort

LETTERS = ("P", "QX", "Zürich", "Ω", "é", "Пациент", "王", "Knie rechts", "ñandú", "AÉ")
_LIKE_LATIN = {"P": "\u0420", "A": "\u0410", "K": "\u039a", "e": "\u0435", "c": "\u0441", "i": "\u0456"}


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Give two subjects, groups or sessions of one subject a pair of names, and check the table."""
    rows = write_cohort(folder, seeds)
    column = draw.one_of(("subject", "group", "session"))
    pair, verdict, told = draw.one_of((_alike, _meant, _two))(draw)
    if column == "session":
        rows[1] |= {name: rows[0][name] for name in ("subject", "group")}
    one, other = draw.one_of((pair, pair[::-1]))
    rows[0][column], rows[1][column] = one, other
    (folder / "cohort.csv").write_text(table_text(rows), encoding="utf-8")
    said = f"{column} {one!a} and {other!a}"
    return Case(arguments=("check", "cohort.csv"), changes=said, verdict=verdict, told=told)


Pair = tuple[tuple[str, str], Verdict, str | None]


def _code(draw: Draw) -> tuple[str, int]:
    return draw.one_of(LETTERS), 1 + draw.below(999)


def _alike(draw: Draw) -> Pair:
    """Change what no eye sees."""
    letters, number = _code(draw)
    code = f"{letters} {number}"
    match draw.one_of(("form", "blank", "script", "selector")):
        case "form":
            other = unicodedata.normalize("NFD", f"{code}ü")
            return (unicodedata.normalize("NFC", f"{code}ü"), other), Verdict.REFUSE, None
        case "blank":
            other = code.replace(" ", draw.one_of(("\u00a0", "  ", "\u2009", "\u3000", "\u202f")))
        case "script":
            code = f"{code}{draw.one_of(tuple(_LIKE_LATIN))}"
            other = code[:-1] + _LIKE_LATIN[code[-1]]
        case _:
            other = code + draw.one_of(("\ufe0f", "\u034f", "\u200b", "\u00ad", "\u2060"))
    return (code, other), Verdict.REFUSE, None


def _meant(draw: Draw) -> Pair:
    """Write one code in two ways."""
    letters, number = _code(draw)
    separator, another = draw.one_of(("-", "_", " ", ".", "", "\u2013")), draw.one_of(("-", "_", " ", ".", ""))
    code, other = f"{letters}{separator}{number:03}", f"{letters}{another}{number}"
    match draw.one_of(("case", "zeros", "width")):
        case "case":
            other = other.swapcase()
        case "zeros":
            other = f"{letters}{another}{number:06}"
        case _:
            other = f"{letters}{another}" + "".join(chr(0xFF10 + int(digit)) for digit in str(number))
    if other == code:  # of letters without case
        other = f"{letters}{another}0{number:03}"
    return (code, other), Verdict.ACCEPT, "Then give it one name"


def _two(draw: Draw) -> Pair:
    """Give codes of two people that differ by little."""
    letters, number = _code(draw)
    other = draw.one_of(
        (
            f"{letters}{number + 1}",
            f"{letters}{number}0",
            f"{letters}-{number}b",
            f"x{letters}{number}",
            f"{letters}{number}+",
            f"{letters}{number}-1",
        )
    )
    return (f"{letters}{number}", other), Verdict.ACCEPT, ""
