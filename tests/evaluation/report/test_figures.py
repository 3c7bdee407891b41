"""What the charts show."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from musclesense.evaluation.pooling import pool, select
from musclesense.evaluation.report.figures import DARK, LIGHT, charts
from musclesense.metrics.case import Case
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_study
from musclesense.studies.writing import write_cases

StudyWriter = Callable[..., Path]


def axes_of(chart) -> Axes:
    (axes,) = chart.draw(LIGHT).axes
    return axes


def mean_dice(cases: Iterable[Case]) -> float:
    pooled = pool(cases).dice
    assert pooled is not None
    return pooled.mean


def test_headline_shows_this_study_and_the_paper(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=[(0, 0), (1, 0)]))
    axes = axes_of(charts(study)["headline"][0])
    means = [np.asarray(bar.lines[0].get_xdata())[0] for bar in axes.containers if isinstance(bar, ErrorbarContainer)]
    expected = [mean_dice(select(study.cases, region=region)) for region in ("calf", "thigh")]
    assert means == [pytest.approx(expected[0]), 0.950, pytest.approx(expected[1]), 0.942]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["calf", "thigh"]


def test_group_chart_has_a_point_for_each_case(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=[(0, 0), (1, 0)]))
    calf, thigh = charts(study)["group"]
    axes = axes_of(calf)
    points = np.concatenate([line.get_xdata() for line in axes.lines if line.get_marker() == "."])
    assert sorted(points) == sorted(case.dice or 0.0 for case in select(study.cases, region="calf"))
    assert axes.get_xlim() == axes_of(thigh).get_xlim()


def test_fold_chart_counts_each_subject_once(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=[(0, 0), (0, 1), (3, 2)], subjects=23))
    axes = axes_of(charts(study)["run"][-1])
    counted = {(round(text.get_position()[0]), round(text.get_position()[1])): text.get_text() for text in axes.texts}
    assert [label.get_text() for label in axes.get_yticklabels()] == list(study.groups)
    for row, group in enumerate(study.groups):
        for outer in range(5):
            subjects = {case.subject for case in study.cases if (case.group, case.outer) == (group, outer)}
            assert counted[outer, row] == str(len(subjects))
    assert sum(map(int, counted.values())) == len({case.subject for case in study.cases})


def test_run_chart_tells_failed_from_missing(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0), (4, 4)])
    (folder / "outer0_inner1").mkdir()
    (folder / "outer0_inner1" / "failed.json").write_text('{"error": "x"}')
    study = read_study(folder)
    texts = [text.get_text() for text in axes_of(charts(study)["run"][0]).texts]
    mean = mean_dice(select(study.runs[0].cases, region="calf"))
    assert texts[:3] == [f"{mean:.3f}", "failed", "-"]
    assert len(texts) == 25


def test_mean_curve_ends_where_fewer_than_half_of_the_runs_go_on(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0), (0, 1), (0, 2)])
    for inner, epochs in ((0, 4), (1, 6)):
        curves = folder / f"outer0_inner{inner}" / "metrics.csv"
        curves.write_text("\n".join(curves.read_text().splitlines()[: epochs + 1]) + "\n")
    study = read_study(folder)
    mean = next(line for line in axes_of(charts(study)["learning"][0]).lines if line.get_label() == "training")
    assert np.asarray(mean.get_xdata()).tolist() == [0, 1, 2, 3, 4, 5]
    expected = np.mean([run.epochs[5].train_loss for run in study.runs[1:3]])
    assert np.asarray(mean.get_ydata())[5] == pytest.approx(expected)


def test_bland_altman_shows_bias_and_limits(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=[(0, 0), (1, 0)]))
    axes = axes_of(charts(study)["fat_fraction"][1])
    bias = np.array([case.fat_fraction_bias for case in select(study.cases, region="calf")])
    heights = [np.asarray(line.get_ydata()) for line in axes.lines]
    lines = [height[0] for height in heights if len(set(height)) == 1][:3]
    spread = 1.96 * bias.std(ddof=1)
    assert lines == pytest.approx([bias.mean(), bias.mean() - spread, bias.mean() + spread])


def test_charts_are_left_out_where_there_is_nothing_to_show(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    assert len(charts(read_study(folder))["learning"]) == len(charts(read_study(folder))["fat_fraction"]) == 2
    (folder / "outer0_inner0" / "metrics.csv").unlink()
    cases = folder / "outer0_inner0" / "cases.csv"
    rows = [line.split(",") for line in cases.read_text().splitlines()]
    cases.write_text(
        "".join(
            ",".join([*row[:13], "", "", *row[15:]]) + "\n" if n else ",".join(row) + "\n" for n, row in enumerate(rows)
        )
    )
    study = read_study(folder)
    assert charts(study)["learning"] == []
    assert charts(study)["fat_fraction"] == []


def test_same_scores_give_the_same_bytes_and_the_dark_page_its_own(write_study: StudyWriter) -> None:
    chart = charts(read_study(write_study(finished=[(0, 0)])))["group"][0]
    assert chart.png(LIGHT) == chart.png(LIGHT)
    assert chart.png(LIGHT) != chart.png(DARK)


@pytest.mark.parametrize("dice", ["", "1.0", "0.0"])
def test_charts_are_drawn_where_every_case_is_alike(write_study: StudyWriter, dice: str) -> None:
    folder = write_study(finished=[(0, 0)])
    cases = folder / "outer0_inner0" / "cases.csv"
    header, *rows = (line.split(",") for line in cases.read_text().splitlines())
    alike = [[*row[:9], dice, *row[10:13], "0.0", "0.0", *row[15:]] for row in rows]
    cases.write_text("\n".join(",".join(row) for row in [header, *alike]) + "\n")
    study = read_study(folder)
    drawn = charts(study)
    sections = ("headline", "group", "run", "fat_fraction")
    assert all(chart.png(LIGHT).startswith(b"\x89PNG") for section in sections for chart in drawn[section])
    assert axes_of(charts(study)["run"][0]).texts[0].get_text() == (f"{float(dice):.3f}" if dice else "-")


GROUPS = ["$100% & $50_", "$x$", "Müller", "=1+1", r"\frac{1}{2}", "<b>", "O'Brien", "é" * 200, "李" * 190]


@pytest.mark.filterwarnings("error")
def test_groups_are_named_as_they_are(write_study: StudyWriter, make_case) -> None:
    folder = write_study(finished=[(0, 0)])
    write_cases(StudyFolder(folder).run(0, 0), [make_case(group=group, line=at) for at, group in enumerate(GROUPS)])
    (chart,) = charts(read_study(folder))["group"]
    shown = [label.get_text() for label in axes_of(chart).get_yticklabels()]
    assert shown[:-2] == [f"{group} (1)" for group in sorted(GROUPS)[:-2]]
    assert chart.png(LIGHT)
