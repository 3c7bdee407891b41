"""A table for people, as text, LaTeX and on a page, and its numbers as CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from musclesense.storage.records import write_csv, write_text

LATEX = ".tex"


@dataclass(frozen=True)
class Table:
    """Cells as they are printed.

    >>> print(Table("Two numbers", ("of", "Dice"), (("calf", "0.950"), ("thigh", "-"))).text)
    of     Dice
    calf   0.950
    thigh  -

    Attributes:
        caption: What it shows.
        titles: Of its columns.
        rows: Cells, as many as titles.
    """

    caption: str
    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        """Lines for a terminal."""
        return "\n".join(aligned([self.titles, *self.rows]))

    def first(self, columns: int) -> Self:
        """Give the first columns, where there is no room for all."""
        return replace(self, titles=self.titles[:columns], rows=tuple(row[:columns] for row in self.rows))

    @property
    def latex(self) -> str:
        """A table for a paper that uses the package booktabs."""
        from pandas import DataFrame  # takes long to import

        frame = DataFrame(list(self.rows), columns=self.titles)
        return f"% {self.caption}\n{frame.to_latex(index=False, escape=True)}"

    def write(self, path: Path, columns: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> None:
        """Write ``numbers`` as CSV, six decimals each, and the table in LaTeX beside it, each file atomically."""
        write_numbers(path, columns, numbers)
        write_text(path.with_suffix(LATEX), self.latex)


def write_numbers(path: Path, columns: Sequence[str], numbers: Sequence[Mapping[str, Any]]) -> None:
    """Write ``numbers`` as CSV, six decimals each."""
    write_csv(path, columns, [{name: written(row[name]) for name in columns} for row in numbers])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Give lines in which the columns stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in padded]


def written(value: float | str | None) -> str:
    """Give a number as text: fractions at fixed precision, blank where there is none."""
    if value is None or isinstance(value, int | str):
        return "" if value is None else str(value)
    return f"{round(value, 6) + 0:.6f}"  # adding 0 after rounding turns -0.000000 into 0.000000


def number(value: float | None, form: str, *, without: str = "-") -> str:
    """Give a number as it is printed."""
    return without if value is None else format(round(value, 9) + 0, form)


def estimate(row: Mapping[str, Any], name: str, form: str, *, without: str = "-") -> str:
    """Give a number with its interval, which stands in the row under the same name with ``_low`` and ``_high``.

    >>> estimate({"bias": 0.512, "bias_low": 0.4, "bias_high": 0.6}, "bias", "+.2f")
    '+0.51 (+0.40 to +0.60)'
    """
    ends = row[f"{name}_low"], row[f"{name}_high"]
    between = "" if None in ends else f" ({number(ends[0], form)} to {number(ends[1], form)})"
    return number(row[name], form, without=without) + between
