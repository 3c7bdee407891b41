"""Aggregated scores against numbers worked out by hand."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from musclesense.evaluation.pooling import MeanSD, pool, select
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.tables import (
    NESTED_CV_COLUMNS,
    SUMMARY_COLUMNS,
    paper_dice,
    study_table,
    write_tables,
)
from musclesense.metrics.case import COLUMNS, Case
from musclesense.studies.layout import ReportFolder, StudyFolder
from musclesense.studies.reading import read_study

StudyWriter = Callable[..., Path]
CaseMaker = Callable[..., Case]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_have_a_row_for_each_run_and_each_group(write_study: StudyWriter, tmp_path: Path) -> None:
    folder = write_study()
    study = read_study(folder)
    write_tables(study, ReportFolder(tmp_path / "report"))
    nested = rows_of(tmp_path / "report" / "nested_cv.csv")
    assert tuple(nested[0]) == NESTED_CV_COLUMNS
    assert len(nested) == 25 * 3
    first = rows_of(folder / "outer0_inner0" / "cases.csv")
    calf = [float(row["dice"]) for row in first if row["region"] == "calf"]
    assert nested[0] | {"region": "calf", "cases": "2"} == nested[0]
    assert float(nested[0]["dice_mean"]) == pytest.approx(sum(calf) / 2, abs=1e-6)
    assert (nested[2]["region"], nested[2]["cases"]) == ("all", "4")

    summary = rows_of(tmp_path / "report" / "summary.csv")
    assert tuple(summary[0]) == SUMMARY_COLUMNS
    assert [(row["region"], row["group"]) for row in summary[:2]] == [("calf", "all"), ("calf", "ALS")]
    assert len(summary) == 3 * 5
    assert (summary[0]["subjects"], summary[0]["slices"], summary[0]["cases"]) == ("10", "10", "50")
    assert sum(int(row["cases"]) for row in summary[1:5]) == 50

    cases = rows_of(tmp_path / "report" / "cases.csv")
    assert tuple(cases[0]) == tuple(COLUMNS)
    assert len(cases) == len(study.cases)
    assert float(cases[-1]["dice"]) == pytest.approx(study.cases[-1].dice, abs=1e-6)


def test_tables_depend_on_the_scores_alone(write_study: StudyWriter, tmp_path: Path) -> None:
    folder = write_study(finished=[(1, 0), (0, 3)])
    write_tables(read_study(folder), ReportFolder(tmp_path / "first"))
    for run in folder.glob("outer*"):
        record = json.loads((run / "done.json").read_text())
        (run / "done.json").write_text(json.dumps(record | {"seconds": 999.0, "epochs": 1}))
    write_tables(read_study(folder), ReportFolder(tmp_path / "second"))
    for name in ("nested_cv.csv", "summary.csv", "cases.csv"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_undefined_measures_are_blank(write_study: StudyWriter, tmp_path: Path) -> None:
    folder = write_study(finished=[(0, 0)])
    cases = folder / "outer0_inner0" / "cases.csv"
    header = cases.read_text().splitlines()[0]
    cells = "0,0,2,S00,,ALS,calf,5,muscle,,,0,0,,,0,0,0"
    later = "," * (header.count(",") - cells.count(","))  # columns that were added since are blank
    cases.write_text(f"{header}\n{cells}{later}\n")
    write_tables(read_study(folder), ReportFolder(tmp_path))
    row = rows_of(tmp_path / "nested_cv.csv")[0]
    assert (row["cases"], row["dice_undefined"], row["dice_mean"], row["hd95_mm_mean"]) == ("1", "1", "", "")
    assert row["volume_bias_ml"] == "0.000000"
    assert rows_of(tmp_path / "cases.csv")[0]["dice"] == ""


def test_terminal_table_stands_beside_the_paper(write_study: StudyWriter) -> None:
    folder = write_study()
    text = study_table(folder)
    scores = pool(select(read_study(folder).cases, region="calf"))
    calf = next(line for line in text.splitlines() if line.startswith("calf"))
    folds = [f"{scores.dice_by_outer[outer]:.3f}" for outer in range(5)]
    assert calf.split() == ["calf", *str(scores.dice).split(), "0.950", "(0.025)", "50", *folds]
    assert "0.942 (0.041)" in text
    assert text.startswith("Study demo: 25 of 25 runs finished")
    assert "not comparable with patients" in text
    assert max(map(len, text.splitlines())) <= 100


def test_terminal_table_of_patients_does_not_speak_of_phantoms(write_study: StudyWriter, tmp_path: Path) -> None:
    assert "hantom" not in study_table(write_study(finished=[(0, 0)], table=tmp_path / "cohort.csv"))


def test_terminal_table_says_what_failed_and_what_is_missing(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    (folder / "outer0_inner1").mkdir()
    (folder / "outer0_inner1" / "failed.json").write_text(json.dumps({"error": "out of memory"}))
    text = study_table(folder)
    assert "1 of 25 runs finished" in text
    assert "failed: outer0_inner1 (out of memory)" in text
    assert "not finished (outer-inner): 0-2, 0-3, " in text
    assert next(line for line in text.splitlines() if line.startswith("calf")).split()[-4:] == ["-"] * 4


def test_terminal_table_before_the_first_run_has_finished(write_study: StudyWriter) -> None:
    assert study_table(write_study(finished=[])).endswith("No test scores yet.")


def test_paper_stands_only_beside_whole_muscle(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    assert paper_dice(read_study(folder), "calf") == MeanSD(0.950, 0.025)
    cases = folder / "outer0_inner0" / "cases.csv"
    lines = cases.read_text().splitlines()
    left = [line.replace("muscle", "left") for line in lines[1:]]
    right = [line.replace("muscle", "right").replace(",0.9", ",0.8") for line in lines[1:]]
    cases.write_text("\n".join([lines[0], *left, *right]) + "\n")
    assert paper_dice(read_study(folder), "calf") is None
    text = study_table(folder)
    assert "0.950 (0.025)" not in text
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("calf")] == [
        ["calf", "left"],
        ["calf", "right"],
    ]


def test_a_measure_that_earlier_runs_lack_is_unknown(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0), (0, 1)])
    cases = StudyFolder(folder).run(0, 0).cases
    rows = [line.split(",") for line in cases.read_text().splitlines()]
    at = rows[0].index("hd95_mm")
    cases.write_text("\n".join(",".join(row[:at] + row[at + 1 :]) for row in rows) + "\n")
    study = read_study(folder)
    assert study.runs[0].unknown == {"hd95_mm"} and study.runs[1].unknown == frozenset()
    assert {case.hd95_mm for case in study.runs[0].cases} == {None}
    said = "95th percentile Hausdorff distance (hd95_mm) in 1 of 2 runs"
    assert study_table(folder).count(said) == 1
    page = write_report(folder)
    assert page.read_text().count(said) == 1
    first, *_, last = rows_of(page.with_name("nested_cv.csv"))
    assert first["hd95_mm_mean"] == "" and float(last["hd95_mm_mean"]) > 0
    assert rows_of(page.with_name("cases.csv"))[0]["hd95_mm"] == ""


def test_a_study_that_knows_all_measures_says_nothing_of_it(reported_study: Path) -> None:
    assert "nknown" not in (reported_study / "report" / "index.html").read_text()
    assert "nknown" not in study_table(reported_study)


def test_each_column_of_scores_stands_once_in_each_table() -> None:
    assert len({*SUMMARY_COLUMNS}) == len(SUMMARY_COLUMNS)
    assert (
        *("outer", "inner", "region", "label", "cases", "dice_mean", "dice_sd", "dice_undefined", "hd95_mm_mean"),
        *("volume_bias_ml", "fat_fraction_bias"),
    ) == NESTED_CV_COLUMNS
