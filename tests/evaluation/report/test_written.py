"""Tables as text, LaTeX and CSV."""

import csv
import math
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from musclesense.evaluation.report.written import Table, estimate, number, written

CELLS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_latex_has_each_row_on_a_line_and_no_sign_that_it_would_read(rows: list[tuple[str, str]]) -> None:
    latex = Table("Of 95 %", ("a_b", "c"), tuple(rows)).latex
    lines = latex.splitlines()
    assert lines[0] == "% Of 95 %"
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(body) == len(rows)
    for line in body:
        bare = re.sub(r"\\(textbackslash|textasciitilde|textasciicircum|[%_#&{}$])", "", line.removesuffix(r" \\"))
        assert bare.count("&") == 1 and not re.search(r"[%_#{}$~^\\]", bare)


def test_columns_stand_below_each_other() -> None:
    text = Table("", ("of", "mean"), (("longest", "1"), ("b", "22"))).text
    assert text == "of       mean\nlongest  1\nb        22"
    assert Table("", ("of", "mean"), (("a", "1"),)).first(1).text == "of\na"
    assert Table("", ("of", "mean"), ()).text == "of  mean"


@given(st.floats(-1e6, 1e6))
def test_numbers_on_disk_have_six_decimals_and_no_minus_zero(value: float) -> None:
    assert math.isclose(float(written(value)), value, abs_tol=6e-7) and written(value) != "-0.000000"
    assert len(written(value).rpartition(".")[2]) == 6
    assert (written(None), written(3), written("a")) == ("", "3", "a")


def test_estimates_have_their_interval_in_brackets() -> None:
    row = {"bias": -0.0, "bias_low": None, "bias_high": None, "sd": 1.0, "sd_low": 0.5, "sd_high": 2.0, "icc": None}
    assert estimate(row, "bias", "+.2f") == "+0.00"
    assert estimate(row, "sd", ".1f") == "1.0 (0.5 to 2.0)"
    assert number(None, ".3f") == "-" and number(None, ".3f", without="unknown") == "unknown"
    assert estimate({**row, "icc_low": None, "icc_high": None}, "icc", ".3f", without="unknown") == "unknown"


def test_csv_and_latex_lie_beside_each_other(tmp_path: Path) -> None:
    Table("x", ("of",), (("a",),)).write(tmp_path / "t.csv", ("of", "mean"), [{"of": "=1+1", "mean": 1 / 3, "more": 0}])
    text = (tmp_path / "t.csv").read_text()
    assert [*csv.DictReader(text.splitlines())] == [{"of": "'=1+1", "mean": "0.333333"}]
    assert (tmp_path / "t.tex").is_file()
