"""What a study's tables print, computed again from ``report/cases.csv`` by other means, to the last digit."""

import csv
import math
import statistics as plain
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from musclesense.evaluation.report.acquisitions import Described
from musclesense.evaluation.report.tables import write_tables
from musclesense.studies.reading import read_study

from ...shared.studies import study_writer

DRAWS = 2000
Row = dict[str, float]
Pairs = list[tuple[float, float]]


def acquisitions(file: Path, region: str, group: str | None) -> tuple[list[str], list[Row]]:
    """Give the subject and the numbers of each acquisition: means over networks of its one slice."""
    lines = defaultdict[str, list[dict[str, str]]](list)
    with file.open(newline="", encoding="utf-8") as text:
        for case in csv.DictReader(text):
            if case["region"] == region and group in (None, case["group"]):
                lines[case["line"]].append(case)
    rows = []
    for own in lines.values():
        numbers = [name for name in own[0] if ("_" in name or name == "dice") and any(case[name] for case in own)]
        row = {name: plain.fmean(float(case[name]) for case in own) for name in numbers}
        row["volume_error"] = 100 * (row["volume_predicted_ml"] - row["volume_true_ml"]) / row["volume_true_ml"]
        row["fat_error"] = row["fat_fraction_predicted_mask"] - row["fat_fraction_true_mask"]
        rows.append(row)
    return [own[0]["subject"] for own in lines.values()], rows


def drawn_again(subjects: Sequence[str]) -> list[list[int]]:
    """Give the acquisitions of each draw, in which whole subjects are taken again or left out."""
    names = sorted(set(subjects))
    times = np.random.default_rng(0).multinomial(len(names), [1 / len(names)] * len(names), DRAWS)
    own = [[at for at, subject in enumerate(subjects) if subject == name] for name in names]
    return [[at for name, many in zip(own, draw, strict=True) for at in name * many] for draw in times]


def between(values: Sequence[float], subjects: int, form: str) -> str:
    """Write the interval: percentiles, as far out as Student's quantile is beyond the normal one."""
    outside = stats.norm.cdf(math.sqrt(subjects / (subjects - 1)) * stats.t.ppf(0.025, subjects - 1))
    low, high = np.quantile([value for value in values if math.isfinite(value)], [outside, 1 - outside])
    return f" ({shown(float(low), form)} to {shown(float(high), form)})"


def shown(value: float, form: str) -> str:
    return format(round(value, 9) + 0, form)


def agreement(pairs: Pairs) -> list[float]:
    """Give bias, SD, limits, ICC(A,1), ICC(C,1) by mean squares, and Lin's concordance."""
    table = np.array(pairs)
    n, off = len(table), table[:, 1] - table[:, 0]
    grand, people, ways = table.mean(), table.mean(1), table.mean(0)
    rows, columns = 2 * ((people - grand) ** 2).sum() / (n - 1), n * ((ways - grand) ** 2).sum()
    rest = ((table - people[:, None] - ways + grand) ** 2).sum() / (n - 1)
    sd, covariance = off.std(ddof=1), np.mean((table[:, 0] - ways[0]) * (table[:, 1] - ways[1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        absolute = (rows - rest) / (rows + rest + 2 / n * (columns - rest))
        consistent = (rows - rest) / (rows + rest)
        lin = 2 * covariance / (table.var(0).sum() + off.mean() ** 2)
    return [off.mean(), sd, off.mean() - 1.96 * sd, off.mean() + 1.96 * sd, absolute, consistent, lin]


def described(rows: list[Row], subjects: list[str]) -> list[str]:
    """Write a line of the table of means."""
    draws, people = drawn_again(subjects), len(set(subjects))

    def estimate(name: str, form: str) -> str:
        values = [row[name] for row in rows]
        again = [plain.fmean(values[at] for at in draw) for draw in draws]
        return shown(plain.fmean(values), form) + between(again, people, form)

    dice = [row["dice"] for row in rows]
    spread = (plain.stdev(dice), plain.median(dice), float(np.percentile(dice, 10)))
    return [
        *(str(people), str(len(rows)), "0", estimate("dice", ".3f"), *(shown(value, ".3f") for value in spread)),
        *(estimate("hd95_penalised_mm", ".1f"), estimate("asd_penalised_mm", ".2f")),
        *(estimate("volume_error", "+.1f"), estimate("fat_error", "+.2f")),
    ]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Described]:
    folder = study_writer(tmp_path_factory.mktemp("study"))(
        finished=[(outer, inner) for outer in range(5) for inner in (0, 3)], subjects=30
    )
    study = read_study(folder)
    write_tables(study, study.folder.report)
    return study.folder.report.cases, Described.of(study)


@pytest.mark.parametrize(("region", "group"), [("calf", None), ("thigh", None), ("thigh", "CMT"), ("calf", "control")])
def test_printed_means_follow_from_the_cases_alone(
    region: str, group: str | None, cases: tuple[Path, Described]
) -> None:
    file, printed = cases
    part = "all" if group is None else f"group {group}"
    (line,) = (row[2:] for row in printed.tables[0].rows if row[:2] == (region, part))
    subjects, rows = acquisitions(file, region, group)
    assert list(line) == described(rows, subjects)


@pytest.mark.parametrize("region", ["calf", "thigh"])
@pytest.mark.parametrize(
    ("measure", "true", "form"),
    [("Fat fraction, points", "fat_fraction_true_mask", ".2f"), ("Volume, ml", "volume_true_ml", ".1f")],
)
def test_printed_agreement_follows_from_the_cases_alone(
    region: str, measure: str, true: str, form: str, cases: tuple[Path, Described]
) -> None:
    file, printed = cases
    (line,) = (row[5:] for row in printed.tables[1].rows if row[:2] == (region, measure))
    subjects, rows = acquisitions(file, region, None)
    pairs = [(row[true], row[true.replace("true", "predicted")]) for row in rows]
    again = zip(*(agreement([pairs[at] for at in draw]) for draw in drawn_again(subjects)), strict=True)
    forms = [f"+{form}", form, f"+{form}", f"+{form}", ".3f", ".3f", ".3f"]
    expected = [
        shown(value, one) + between(values, len(set(subjects)), one)
        for value, values, one in zip(agreement(pairs), again, forms, strict=True)
    ]
    assert list(line) == expected
