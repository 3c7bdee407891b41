"""The tables of a study's acquisitions, as of `musclesense.evaluation.statistics`, for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from musclesense.evaluation.agreement import STATISTICS
from musclesense.evaluation.report.written import Table, estimate, number
from musclesense.evaluation.statistics import (
    AGREEMENT_COLUMNS,
    MEASURES,
    PAIRS,
    STATISTIC_COLUMNS,
    acquisitions,
    agreements,
    statistics,
)
from musclesense.names import ALL
from musclesense.studies.layout import ReportFolder
from musclesense.studies.study import Study

_COLUMNS = {"hd95_mm": "hd95_penalised_mm", "asd_mm": "asd_penalised_mm"}
"""Of cases, from which a measure is made that runs of earlier releases lack."""
_COUNTS = {"subjects": "Subjects", "acquisitions": "Acquisitions", "missed": "Missed cases"}
_TITLES = ("Bias", "SD", "Lower limit", "Upper limit", "ICC(A,1)", "ICC(C,1)", "Concordance")


@dataclass(frozen=True)
class Described:
    """What a study says of its acquisitions: rows of `statistics` and of `agreements`, and a table of each."""

    statistics: Sequence[Mapping[str, Any]]
    agreements: Sequence[Mapping[str, Any]]
    tables: tuple[Table, Table]

    @classmethod
    def of(cls, study: Study) -> Self:
        """Describe a study."""
        found = acquisitions(study)
        rows, pairs = statistics(found), agreements(found)
        return cls(rows, pairs, (statistics_table(rows, study), agreement_table(pairs)))

    def write(self, folder: ReportFolder) -> None:
        """Write both as CSV and LaTeX."""
        self.tables[0].write(folder.statistics, STATISTIC_COLUMNS, self.statistics)
        self.tables[1].write(folder.agreement, AGREEMENT_COLUMNS, self.agreements)


def statistics_table(rows: Sequence[Mapping[str, Any]], study: Study) -> Table:
    """Bring the rows of `statistics` together, the measures of each part side by side; subjects are left out."""
    parts: dict[tuple[str, ...], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        if row["by"] != "subject":
            parts.setdefault(_part(row), {})[row["measure"]] = row
    more = tuple(measure.title for name, measure in MEASURES.items() if name != "dice")
    lines = []
    for whose, own in parts.items():
        dice = own["dice"]
        spread = [number(dice[name], ".3f") for name in ("sd", "median", "worst_decile")]
        others = [
            estimate(row, "mean", _form(name), without=_without(study, name))
            for name, row in own.items()
            if name != "dice"
        ]
        lines.append((*whose, *(str(dice[name]) for name in _COUNTS), estimate(dice, "mean", ".3f"), *spread, *others))
    return Table(
        "Means over acquisitions, with 95 % intervals over subjects",
        ("Region", "Part", *_COUNTS.values(), "Dice", "SD", "Median", "Worst decile", *more),
        tuple(lines),
    )


def agreement_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Write the rows of `agreements` that are of whole regions."""
    return Table(
        "Agreement of predicted and true mask, predicted minus true, with 95 % intervals over subjects",
        ("Region", "Measure", *_COUNTS.values(), *_TITLES),
        tuple(_agreement(row) for row in rows if row["by"] == ALL),
    )


def _agreement(row: Mapping[str, Any]) -> tuple[str, ...]:
    measure = PAIRS[row["measure"]]
    forms = [f"+.{measure.digits}f", f".{measure.digits}f", *[f"+.{measure.digits}f"] * 2]
    shown = [estimate(row, name, form) for name, form in zip(STATISTICS, [*forms, *[".3f"] * 3], strict=True)]
    return (row["region"], measure.title, *(str(row[name]) for name in _COUNTS), *shown)


def _part(row: Mapping[str, Any]) -> tuple[str, str]:
    said = ALL if row["by"] == ALL else f"{row['by']} {row['name']}" if row["name"] else f"no {row['by']}"
    return row["region"], said


def _form(name: str) -> str:
    measure = MEASURES[name]
    return f"{'+' if measure.worse is None else ''}.{measure.digits}f"


def _without(study: Study, name: str) -> str:
    return "unknown" if _COLUMNS.get(name) in study.unknown else "-"
