"""Two networks on the same slices: the mean difference, with its interval by the bootstrap over subjects.

``python -m benchmarks.validity.paired ONE OTHER`` compares two folders of `musclesense score`, or two that hold such
folders of the same names, and prints OTHER minus ONE for each set, region and label.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from musclesense.errors import InputError, report_input_errors
from musclesense.evaluation.intervals import interval_by_subject
from musclesense.evaluation.scoring import SLICES
from musclesense.storage.records import read_text

_Scores = Mapping[tuple[str, ...], Mapping[str, str]]
KEYS = ("subject", "session", "region", "slice", "label")
MEASURES = {"dice": 4, "recall": 4, "precision": 4, "hd95_mm": 2, "fat_fraction_bias": 3}
"""And how many digits are shown."""


def main() -> None:
    """Read the command line and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    options = parser.parse_args()
    with report_input_errors(debug=False):
        print("| set | region | label | measure | slices | difference | 95 % interval | higher | lower |")
        print(9 * "|---" + "|")
        for row in compared(options.one, options.other):
            digits = MEASURES[row["measure"]]
            between = "" if row["low"] is None else f"{row['low']:+.{digits}f} to {row['high']:+.{digits}f}"
            names = " | ".join(str(row[name]) for name in ("set", "region", "label", "measure", "slices"))
            print(f"| {names} | {row['difference']:+.{digits}f} | {between} | {row['higher']} | {row['lower']} |")


def compared(one: Path, other: Path) -> Iterator[dict[str, Any]]:
    """Give the differences of each set that both folders hold.

    Raises:
        InputError: They hold none, or sets of other slices.
    """
    files = (file.relative_to(one) for file in one.rglob(SLICES))
    names = sorted(file.parent for file in files if (other / file).exists())
    if not names:
        raise InputError(f"{other}: holds no {SLICES} as {one}; give folders of musclesense score")
    for name in names:
        first, second = (_rows(folder / name / SLICES) for folder in (one, other))
        if first.keys() != second.keys():
            raise InputError(f"{other / name}: scores of other slices than {one / name}; score the same table")
        for region, label in dict.fromkeys((key[2], key[4]) for key in first):
            keys = [key for key in first if (key[2], key[4]) == (region, label)]
            whose = {"set": name.name or ".", "region": region, "label": label}
            for measure in MEASURES:
                if figures := _difference(measure, keys, first, second):
                    yield whose | {"measure": measure} | figures


def _difference(measure: str, keys: list[tuple[str, ...]], one: _Scores, other: _Scores) -> dict[str, Any] | None:
    pairs = [(key, one[key][measure], other[key][measure]) for key in keys]
    known = [(key[0], float(b) - float(a)) for key, a, b in pairs if a and b]
    if not known:
        return None
    subjects, apart = zip(*known, strict=True)
    low, high = interval_by_subject(apart, subjects) or (None, None)
    higher, lower = (sum(sign * value > 0 for value in apart) for sign in (1, -1))
    mean = float(np.mean(apart))
    return {"slices": len(apart), "difference": mean, "low": low, "high": high, "higher": higher, "lower": lower}


def _rows(file: Path) -> _Scores:
    rows = csv.DictReader(read_text(file, remedy="score again").splitlines())
    return {tuple(row[key] for key in KEYS): row for row in rows}


if __name__ == "__main__":
    main()
