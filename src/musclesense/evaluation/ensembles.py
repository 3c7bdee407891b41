"""The networks of a study together, which average their probabilities, beside the same networks one by one."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from musclesense.evaluation.acquisitions import by_acquisition, by_network, case_frame
from musclesense.evaluation.report.acquisitions import statistics_table
from musclesense.evaluation.report.written import Table
from musclesense.evaluation.statistics import STATISTIC_COLUMNS, acquisitions, statistics
from musclesense.metrics.case import Case
from musclesense.names import ALL
from musclesense.studies.study import Study

EACH, TOGETHER = "mean of networks", "ensemble"
"""Ways to score an acquisition: the mean of each network's score, and the score of their mean probability."""


@dataclass(frozen=True)
class Ensembles:
    """Acquisitions by both ways.

    Attributes:
        rows: Of `statistics`, with the ``way``, for all and for each group.
        table: For people.
    """

    rows: list[dict[str, Any]]
    table: Table

    @classmethod
    def of(cls, study: Study, cases: Iterable[Case]) -> Self:
        """Put the scores of ensembles beside those of a study.

        Args:
            study: Whose networks they are of.
            cases: Of its acquisitions, each by the networks that have not seen the subject.
        """
        together = by_acquisition(by_network(case_frame(cases)))
        ways = {EACH: acquisitions(study), TOGETHER: together}
        described = {way: statistics(found, (ALL, "group")) for way, found in ways.items()}
        printed = {way: statistics_table(rows, study) for way, rows in described.items()}
        lines = [(*row[:2], way, *row[2:]) for way, table in printed.items() for row in table.rows]
        order = {row[:2]: place for place, row in enumerate(printed[EACH].rows)}
        titles = printed[EACH].titles
        return cls(
            [{"way": way, **row} for way, rows in described.items() for row in rows],
            Table(
                "Networks one by one and together: means over acquisitions, with 95 % intervals over subjects",
                (*titles[:2], "Way", *titles[2:]),
                tuple(sorted(lines, key=lambda line: order.get(line[:2], len(order)))),
            ),
        )

    def save(self, folder: Path) -> None:
        """Write ``ensemble.csv`` and ``ensemble.tex``."""
        self.table.write(folder / "ensemble.csv", ("way", *STATISTIC_COLUMNS), self.rows)
