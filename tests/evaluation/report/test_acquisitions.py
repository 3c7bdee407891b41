"""The tables of acquisitions as people read them."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from musclesense.evaluation.report.acquisitions import Described
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.tables import study_table
from musclesense.studies.reading import read_study

StudyWriter = Callable[..., Path]
OLD = Path(__file__).parents[2] / "fixtures" / "before" / "study"


def test_a_report_has_them_as_csv_and_latex_and_on_the_page(write_study: StudyWriter) -> None:
    folder = write_study()
    page = write_report(folder)
    described = Described.of(read_study(folder))
    text = page.read_text()
    for name, rows, table in zip(
        ("statistics", "agreement"), (described.statistics, described.agreements), described.tables, strict=True
    ):
        with page.with_name(f"{name}.csv").open(newline="") as file:
            written = [*csv.DictReader(file)]
        assert len(written) == len(rows) and [*written[0]] == [*rows[0]]
        assert [row["region"] for row in written] == [row["region"] for row in rows]
        latex = page.with_name(f"{name}.tex").read_text()
        assert latex.startswith(f"% {table.caption}\n\\begin{{tabular}}")
        assert latex.count(r" \\") == len(table.rows) + 1
        for cell in table.rows[0]:
            value, _, between = cell.partition(" (")
            assert cell.replace("%", r"\%") in latex and f">{value}<" in text
            assert not between or f"({between}" in text


def test_the_printed_numbers_are_those_of_the_csv_rounded(write_study: StudyWriter) -> None:
    folder = write_study()
    described = Described.of(read_study(folder))
    calf = described.tables[0].rows[0]
    dice = described.statistics[0]
    assert calf[:2] == ("calf", "all") and (dice["region"], dice["measure"]) == ("calf", "dice")
    assert calf[5] == f"{dice['mean']:.3f} ({dice['mean_low']:.3f} to {dice['mean_high']:.3f})"
    assert calf[6:9] == tuple(f"{dice[name]:.3f}" for name in ("sd", "median", "worst_decile"))
    assert calf[5] in study_table(folder)


@pytest.mark.parametrize("finished", [[], [(0, 0)]])
def test_a_study_that_has_hardly_begun_has_a_report(write_study: StudyWriter, finished) -> None:
    page = write_report(write_study(finished=finished))
    assert page.with_name("statistics.csv").is_file() and page.with_name("agreement.tex").is_file()
    assert ('id="acquisitions"' in page.read_text()) == bool(finished)


def test_what_an_older_study_lacks_is_shown_as_unknown() -> None:
    described = Described.of(read_study(OLD))
    titles = described.tables[0].titles
    for row in described.tables[0].rows:
        shown = dict(zip(titles, row, strict=True))
        assert shown["HD95, mm"] == shown["ASD, mm"] == "unknown" and "unknown" not in shown["Dice"]
