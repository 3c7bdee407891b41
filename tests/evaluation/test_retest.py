"""Test-retest from studies and from measured masks, against numbers worked out by hand."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musclesense.cohort.table import Acquisition, write_table
from musclesense.errors import InputError
from musclesense.evaluation.change import change
from musclesense.evaluation.retest import COLUMNS, SUBJECT_COLUMNS, retest
from musclesense.evaluation.visits import PREDICTED, TRUE, TRUTH, read_visits
from musclesense.metrics.case import Case
from musclesense.storage.records import write_csv
from musclesense.studies.layout import StudyFolder
from musclesense.studies.writing import write_cases, write_done
from musclesense.vocabulary import Region

StudyWriter = Callable[..., Path]
CaseMaker = Callable[..., Case]
Fractions = dict[tuple[str, str], Sequence[float]]
"""Predicted fat fraction of each network, by subject and session."""


def visited(folder: Path, make_case: CaseMaker, fractions: Fractions, **more: Any) -> Path:
    """Let the runs of the first outer fold have tested these visits; the true mask reads 1 less than all networks."""
    for inner in range(len(next(iter(fractions.values())))):
        cases = []
        for line, ((subject, session), own) in enumerate(fractions.items(), start=2):
            true = float(np.mean(own)) - 1
            values = {"fat_fraction_true_mask": true, "measured_fat_fraction_true_mask": true}
            values |= {f"{kind}fat_fraction_predicted_mask": own[inner] for kind in ("", "measured_")}
            cases.append(make_case(line=line, subject=subject, session=session, inner=inner, **{**values, **more}))
        run = StudyFolder(folder).run(0, inner)
        write_cases(run, cases)
        write_done(run, outer=0, inner=inner, scores={})
    return folder


def visits(folder: Path, *rows: tuple[str, str, object], column: str = "weeks") -> Path:
    columns = ("subject", "session", column)
    write_csv(folder / "v.csv", columns, [dict(zip(columns, row, strict=True)) for row in rows])
    return folder / "v.csv"


FOUR: Fractions = {("S00", "1"): (10, 12), ("S00", "2"): (11, 12), ("S05", "1"): (30, 34), ("S05", "2"): (32, 34)}
TIMES = (("S00", "1", 0), ("S00", "2", 2), ("S05", "1", 7), ("S05", "2", 9.5))


def only(rows: list[dict[str, Any]], **wanted: object) -> dict[str, Any]:
    (row,) = (row for row in rows if wanted.items() <= row.items())
    return row


def test_differences_are_those_by_hand(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    found = retest([study], visits=visits(tmp_path, *TIMES))
    one = only(found.subjects, way=PREDICTED, subject="S00", measure="fat_fraction")
    assert (one["mean"], one["lowest"], one["highest"], one["networks"], one["weeks_apart"]) == (0.5, 0, 1, 2, 2)
    row = only(found.rows, way=PREDICTED, region="calf", measure="fat_fraction")
    # Means over networks: 11 and 11.5, 32 and 33.
    assert (row["subjects"], row["difference"], row["bias"]) == (2, 0.75, 0.75)
    assert row["within_sd"] == pytest.approx(np.sqrt((0.5**2 / 2 + 1 / 2) / 2))
    assert row["smallest_change"] == pytest.approx(1.96 * np.sqrt(2) * row["within_sd"])
    squares = [0.5**2 / 2 / 11.25**2, 1 / 2 / 32.5**2]
    assert row["rms_cv_percent"] == pytest.approx(100 * np.sqrt(np.mean(squares)))
    apart = np.std([0.5, 1.0], ddof=1)
    assert (row["lower"], row["upper"]) == pytest.approx((0.75 - 1.96 * apart, 0.75 + 1.96 * apart))
    true = only(found.rows, way=TRUE, region="calf", measure="fat_fraction")
    assert true["difference"] == pytest.approx(0.75) and true["subjects"] == 2
    assert {row["way"] for row in found.rows} == {PREDICTED, TRUE}, "the map says the same as fat and water"
    assert "0.50 (0.00 to 1.00)" in str(found) and str(found).splitlines()[5].split()[:2] == ["mean", "0.75"]


@pytest.mark.parametrize(
    ("times", "within", "subjects"),
    [
        (TIMES, 8, {"S00": ("1", "2"), "S05": ("1", "2")}),
        (TIMES, 2, {"S00": ("1", "2")}),
        ((("S00", "1", 4), ("S00", "2", 1), *TIMES[2:]), 8, {"S00": ("2", "1"), "S05": ("1", "2")}),
        ((("S00", "1", 52), ("S00", "2", 0), *TIMES[2:]), 8, {"S05": ("1", "2")}),
        ((("S00", "1", 3), ("S00", "2", 3), *TIMES[2:]), 1, {"S00": ("1", "2")}),
    ],
)
def test_visits_within_the_weeks_are_paired_in_their_order(write_study, make_case, tmp_path, times, within, subjects):
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    found = retest([study], visits=visits(tmp_path, *times), within=within)
    pairs = {row["subject"]: (row["session"], row["session_again"]) for row in found.subjects}
    assert pairs == subjects


def test_the_first_near_pair_of_many_visits_counts(write_study, make_case, tmp_path) -> None:
    four: Fractions = {("S00", name): (value,) for name, value in (("a", 10.0), ("b", 20.0), ("c", 21.0), ("d", 25.0))}
    study = visited(write_study(finished=[(0, 0)]), make_case, four)
    times = visits(tmp_path, ("S00", "a", 0), ("S00", "b", 52), ("S00", "c", 54), ("S00", "d", 56))
    row = only(retest([study], visits=times).rows, way=PREDICTED, measure="fat_fraction")
    assert (row["subjects"], row["difference"]) == (1, 1.0)


def test_dates_are_as_good_as_weeks(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    dates = ("2026-01-01", "2026-01-15", "2025-06-01", "2025-06-20")
    times = visits(tmp_path, *((*row[:2], day) for row, day in zip(TIMES, dates, strict=True)), column="date")
    found = {row["subject"]: row["weeks_apart"] for row in retest([study], visits=times).subjects}
    assert found == pytest.approx({"S00": 2, "S05": 19 / 7})


def test_a_visit_in_which_nothing_is_found_is_counted(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    for inner in (0, 1):
        run = StudyFolder(study).run(0, inner)
        rows = [*csv.DictReader(run.cases.read_text().splitlines())]
        rows[1] |= {"tp": "0", "fp": "0", "fn": "9", "measured_fat_fraction_predicted_mask": ""}
        write_csv(run.cases, tuple(rows[0]), rows)
        write_done(run, outer=0, inner=inner, scores={})
    row = only(retest([study], visits=visits(tmp_path, *TIMES)).rows, way=PREDICTED, measure="fat_fraction")
    assert (row["subjects"], row["unreadable"], row["difference"]) == (1, 1, 1.0)


def test_the_true_map_stands_beside_what_fat_and_water_say(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR, fat_fraction_true_mask=20.0)
    found = retest([study], visits=visits(tmp_path, *TIMES))
    assert only(found.rows, way=TRUTH)["difference"] == 0 and only(found.rows, way=TRUTH)["measure"] == "fat_fraction"


def segmented(folder: Path, *, erode: bool) -> Path:
    """Write what segment --cohort writes: two visits of one subject, two slices of two limbs."""
    rows, table = [], []
    for line, session in enumerate(("1", "2"), start=2):
        table.append(
            Acquisition(line=line, subject="S00", session=session, region=Region.CALF, slice=1, mask=folder / "m")
        )
        for number, limb, voxels, fat in (
            *(("0", "left", 10, 10.0), ("0", "right", 30, 20.0), ("1", "left", 20, 40.0 + line), ("1", "right", 0, "")),
            *(("all", "left", 30, 30.0), ("all", "right", 30, 20.0 + 2 * line)),
        ):
            row: dict[str, Any] = {"subject": "S00", "session": session, "region": "calf", "group": "", "limb": limb}
            row |= {
                "slice": number,
                "label": "muscle",
                "voxels": voxels,
                "volume_ml": voxels / 10,
                "fat_fraction_percent": fat,
            }
            rows.append(row | ({"eroded_voxels": voxels // 2, "eroded_fat_fraction_percent": fat} if erode else {}))
    write_csv(folder / "measurements.csv", tuple(rows[0]), rows)
    write_table(folder / "cohort.csv", table)
    return folder


@pytest.mark.parametrize("erode", [False, True])
def test_all_slices_and_the_labelled_one_are_read_from_measured_masks(tmp_path: Path, erode: bool) -> None:
    folder = segmented(tmp_path, erode=erode)
    times = visits(tmp_path, ("S00", "1", 0), ("S00", "2", 2))
    found = retest([folder], visits=times)
    ways = {row["way"]: row["difference"] for row in found.rows if row["measure"] == "fat_fraction"}
    borders = ("", ", without border") if erode else ("",)
    expected = {f"predicted mask, all slices{end}": 1.0 for end in borders}
    assert ways == expected | {f"predicted mask, labelled slice{end}": 1.0 for end in borders}
    first = read_visits([folder], times).query("session == '1' and way == 'predicted mask, all slices'").iloc[0]
    assert (first.fat_fraction, first.volume_ml) == ((30 * 30 + 30 * 24) / 60, 6.0)
    with pytest.raises(InputError, match="no subject has visits 26 weeks apart"):
        change([folder], visits=times)


def test_a_study_and_its_segmented_cohort_stand_in_one_table(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    (tmp_path / "masks").mkdir()
    found = retest([study, segmented(tmp_path / "masks", erode=False)], visits=visits(tmp_path, *TIMES))
    assert len({row["way"] for row in found.rows}) == 4


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (TIMES[:3], "v.csv: has no time of subject 'S05', session '2'; add it"),
        ((*TIMES, ("S00", "1", 1)), "v.csv: subject 'S00', session '1' has two times"),
        ((*TIMES[:3], ("S05", "2", "soon")), "v.csv: cannot be read (could not convert string to float: 'soon'); give"),
        ((*TIMES[:3], ("S05", "2", "")), "v.csv: cannot be read ("),
        ((*TIMES[:3], ("S05", "2", "nan")), "v.csv: cannot be read (weeks 'nan'); give"),
        ((*TIMES[:3], ("S05", "2", "1e999")), "v.csv: cannot be read (weeks '1e999'); give"),
        ([(*row[:2], 100 * n) for n, row in enumerate(TIMES)], "no subject has two visits within 8 weeks"),
    ],
)
def test_visits_that_cannot_be_used_are_refused(write_study, make_case, tmp_path, rows, said: str) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    with pytest.raises(InputError) as refused:
        retest([study], visits=visits(tmp_path, *rows))
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("separator", "encoding", "header"),
    [
        (";", "utf-8", "Subject;SESSION;Weeks"),
        ("\t", "utf-16", "subject\tsession\tweeks"),
        (";", "utf-8-sig", "sep=;\nsubject;session;weeks"),
        (",", "utf-8-sig", "subject,session,weeks"),
    ],
)
def test_visits_are_read_as_a_spreadsheet_saves_them(
    write_study, make_case, tmp_path, caplog, separator: str, encoding: str, header: str
) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    expected = retest([study], visits=visits(tmp_path, *TIMES))
    comma = "." if separator == "," else ","
    rows = [separator.join((*row[:2], str(row[2]).replace(".", comma))) for row in TIMES]
    file = tmp_path / "excel.csv"
    file.write_bytes("\r\n".join([*header.split("\n"), *rows, ""]).encode(encoding))
    assert retest([study], visits=file).rows == expected.rows
    assert bool(caplog.messages) is (separator != ",")


def test_a_folder_without_times_asks_for_them(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)], table=tmp_path / "cohort.csv"), make_case, FOUR)
    with pytest.raises(InputError, match="when its visits were is not known; give --visits FILE"):
        retest([study])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="nothing: no study, and no folder of segment --cohort"):
        retest([tmp_path / "nothing"], visits=visits(tmp_path, *TIMES))
    for within in (0.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="is no time; give weeks"):
            retest([study], within=within)
    visits(tmp_path, *TIMES).rename(tmp_path / "sessions.csv")  # as a phantom has it beside its table
    assert retest([study]).rows


def test_older_runs_read_the_images_of_the_table(write_study, make_case, tmp_path, caplog) -> None:
    unknown = dict.fromkeys(f"measured_fat_fraction_{mask}_mask" for mask in ("true", "predicted"))
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR, **unknown)
    row = only(retest([study], visits=visits(tmp_path, *TIMES)).rows, way=PREDICTED, measure="fat_fraction")
    assert row["difference"] == 0.75 and "fat fractions are those of the table's images" in caplog.text


def test_results_are_written_as_csv_latex_and_pictures(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    out = retest([study], visits=visits(tmp_path, *TIMES)).save(tmp_path / "out")
    names = {f"{name}.{kind}" for name in ("retest", "retest_subjects") for kind in ("csv", "tex")}
    assert {file.name for file in out.iterdir()} == names | {"retest_calf.png", "retest_calf.svg", "retest_calf.pdf"}
    for name, columns in (("retest", COLUMNS), ("retest_subjects", SUBJECT_COLUMNS)):
        assert (out / f"{name}.csv").read_text().splitlines()[0] == ",".join(columns)


def test_networks_that_missed_a_visit_are_left_out_of_its_mean_alone(write_study, make_case, tmp_path) -> None:
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, FOUR)
    run = StudyFolder(study).run(0, 0)
    rows = [*csv.DictReader(run.cases.read_text().splitlines())]
    rows[0]["measured_fat_fraction_predicted_mask"] = ""
    write_csv(run.cases, tuple(rows[0]), rows)
    write_done(run, outer=0, inner=0, scores={})
    row = only(
        retest([study], visits=visits(tmp_path, *TIMES)).subjects, way=PREDICTED, subject="S00", measure="fat_fraction"
    )
    assert (row["networks"], row["mean"]) == (1, 0.0)
