"""Aggregated scores against numbers worked out by hand."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from musclesense.evaluation.pooling import MeanSD, pool, select
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.tables import (
    NESTED_CV_COLUMNS,
    SUMMARY_COLUMNS,
    measured_fat_fractions,
    paper_dice,
    study_table,
    write_tables,
)
from musclesense.metrics.case import COLUMNS, Case
from musclesense.storage.records import write_csv
from musclesense.studies.layout import ReportFolder, StudyFolder
from musclesense.studies.reading import read_study
from musclesense.studies.writing import write_done

from ...shared.studies import ALL_RUNS

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
    assert [line.split()[:2] for line in text.partition("Means over")[0].splitlines() if line.startswith("calf")] == [
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
        *("volume_bias_ml", "fat_fraction_bias", "hd95_undefined", "fat_fraction_undefined", "both_empty"),
        *("prediction_empty", "truth_empty", "hd95_penalised_mm_mean", "measured_fat_fraction_bias", "voxels_true_min"),
        "oracle_dice_mean",
    ) == NESTED_CV_COLUMNS


EMPTY_PREDICTION = {
    **{"dice": "0.0", "hd95_mm": "", "tp": "0", "fp": "0", "fn": "7", "hd95_penalised_mm": "447.2"},
    **{"fat_fraction_predicted_mask": "", "measured_fat_fraction_predicted_mask": ""},
}
EMPTY_TRUTH = EMPTY_PREDICTION | {"fp": "9", "fn": "0", "fat_fraction_true_mask": ""}
BOTH_EMPTY = EMPTY_TRUTH | {"dice": "", "fp": "0", "hd95_penalised_mm": ""}


def failing(study: Path, changes: dict[int, dict[str, str]]) -> None:
    """Change cases of the first run, whose other files are as they were."""
    run = StudyFolder(study).run(0, 0)
    rows = rows_of(run.cases)
    for number, change in changes.items():
        rows[number] |= change
    write_csv(run.cases, tuple(rows[0]), rows)
    write_done(run, outer=0, inner=0, scores={})


def test_what_failed_is_counted_beside_the_means_that_leave_it_out(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)], subjects=20)
    before = rows_of(folder / "outer0_inner0" / "cases.csv")
    failing(folder, {0: EMPTY_PREDICTION, 2: EMPTY_TRUTH, 4: BOTH_EMPTY})  # calves
    page = write_report(folder)
    calf, thigh, _ = rows_of(page.with_name("nested_cv.csv"))
    names = ("cases", "dice_undefined", "hd95_undefined", "fat_fraction_undefined")
    empty = ("both_empty", "prediction_empty", "truth_empty", "voxels_true_min")
    assert [calf[name] for name in names] == ["4", "1", "3", "3"]
    assert [calf[name] for name in empty] == ["1", "1", "1", "7"]
    assert [thigh[name] for name in names] == ["4", "0", "0", "0"]
    only = float(before[6]["hd95_mm"])
    assert float(calf["hd95_mm_mean"]) == pytest.approx(only, abs=1e-6)
    assert float(calf["hd95_penalised_mm_mean"]) == pytest.approx((only + 2 * 447.2) / 3, abs=1e-6)
    text, shown = page.read_text(), study_table(folder)
    for said in (
        "1 of 8 cases: nothing predicted, though the truth is not empty (Dice 0)",
        "1 of 8 cases: something predicted, though the truth is empty (Dice 0)",
        "1 of 8 cases: truth and prediction both empty (no Dice, not counted)",
        "Dice 0: true masks of 7 to 7 voxels",
        "Fat fraction bias: over 5 cases",
    ):
        assert said in shown and said in text
    assert f"{only:.1f}, n = 1<" in text, "how many cases a mean is over stands beside it"


def test_a_study_in_which_nothing_failed_says_nothing_of_it(reported_study: Path) -> None:
    text, shown = (reported_study / "report" / "index.html").read_text(), study_table(reported_study)
    assert "though" not in shown and "though" not in text and ", n = " not in text
    first, *_ = rows_of(reported_study / "report" / "nested_cv.csv")
    assert {first[name] for name in ("hd95_undefined", "both_empty", "prediction_empty", "truth_empty")} == {"0"}
    assert first["hd95_penalised_mm_mean"] == first["hd95_mm_mean"]


def test_the_worst_cases_say_how_many_voxels_the_truth_has(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    failing(folder, {1: {"dice": "0", "tp": "0", "fp": "4321", "fn": "3"}})
    row = r'<td class="number">0\.000</td><td class="number">3</td><td class="number">4321</td><td>S00</td>'
    text = write_report(folder).read_text()
    assert re.search(row, text)
    assert "<b>Worst, Dice 0.000</b>, 3 true voxels" in text
    assert "Dice 0: true masks of 3 to 3 voxels" in text


@pytest.mark.parametrize("finished", [[(0, 0)], [(0, 0), (0, 1), (2, 3)], ALL_RUNS[:-1], ALL_RUNS])
def test_means_say_over_which_runs_they_are(write_study: StudyWriter, finished: list[tuple[int, int]]) -> None:
    folder = write_study(finished=finished)
    missing = [f"{outer}-{inner}" for outer, inner in ALL_RUNS if (outer, inner) not in finished]
    page = write_report(folder)
    text, shown = page.read_text(), " ".join(study_table(folder).split())
    over = f"{len(finished)} of 25 runs"
    others = " (the others are named under Data and settings)" if missing else ""
    assert f"pooled over {over}{others}: mean" in text
    assert (f"Means are over {over}." in shown) == bool(missing)
    assert all(f"outer{name.replace('-', '_inner')}" in text for name in missing)
    assert not missing or f"not finished (outer-inner): {', '.join(missing)}" in shown
    for row in rows_of(page.with_name("summary.csv")):
        assert (row["runs_planned"], row["runs_missing"]) == ("25", " ".join(missing))
        if row["group"] == "all":
            assert row["runs"] == str(len(finished))


def test_what_fat_and_water_say_stands_beside_the_truth_of_a_phantom(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    rows = enumerate(rows_of(folder / "outer0_inner0" / "cases.csv"))
    names = ("measured_fat_fraction_true_mask", "measured_fat_fraction_predicted_mask")
    failing(folder, {number: {name: str(float(row[name]) - 1.5) for name in names} for number, row in rows})
    page = write_report(folder)
    calf, *_ = measured_fat_fractions(read_study(folder))
    assert float(calf["measured_fat_fraction_true_mask"]) == pytest.approx(float(calf["fat_fraction_true_mask"]) - 1.5)
    text = page.read_text()
    assert "True map, true mask" in text and calf["measured_fat_fraction_predicted_mask"] in text
    assert (page.parent / "figures" / "fat_fraction_measured.png").is_file()
    first, *_ = rows_of(page.with_name("nested_cv.csv"))
    bias = float(first["fat_fraction_bias"]) - 1.5
    assert float(first["measured_fat_fraction_bias"]) == pytest.approx(bias, abs=2e-6)


def test_fat_fractions_of_fat_and_water_alone_are_shown_once(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    page = write_report(folder)
    assert "Fat and water, true mask" not in page.read_text()
    assert not (page.parent / "figures" / "fat_fraction_measured.png").exists()


def test_studies_before_these_columns_read_as_unknown(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    run = StudyFolder(folder).run(0, 0)
    columns = list(COLUMNS)[: list(COLUMNS).index("hd95_penalised_mm")]
    write_csv(run.cases, columns, [{name: row[name] for name in columns} for row in rows_of(run.cases)])
    write_done(run, outer=0, inner=0, scores={})
    page = write_report(folder)
    text, shown = page.read_text(), study_table(folder)
    for name in ("hd95_penalised_mm", "measured_fat_fraction_true_mask", "measured_fat_fraction_predicted_mask"):
        assert f"({name}) in 1 of 1 runs" in text and f"({name}) in 1 of 1 runs" in shown
    first, *_ = rows_of(page.with_name("nested_cv.csv"))
    assert first["hd95_penalised_mm_mean"] == first["measured_fat_fraction_bias"] == "" and first["hd95_mm_mean"]
    assert first["voxels_true_min"] != ""
