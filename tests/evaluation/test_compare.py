"""Studies compared in pairs: what is found, what is refused, and what passes beside it."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.validity.intervals import coverage, found
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from musclesense.errors import InputError
from musclesense.evaluation.compare import COLUMNS, PAIRED, compare, holm, paired_p
from musclesense.metrics.case import Case
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_study
from musclesense.studies.writing import write_cases, write_done

StudyWriter = Callable[..., Path]
SOME = [(0, 0), (0, 1), (1, 0), (2, 0)]


def changed(folder: Path, change: Callable[[Case], Case | None]) -> Path:
    """Change the cases of a study's finished runs; None takes one away."""
    for run in read_study(folder).runs:
        if run.cases:
            write_cases(run.folder, [case for old in run.cases if (case := change(old)) is not None])
            write_done(run.folder, outer=run.outer, inner=run.inner, scores={})
    return folder


def test_a_study_beside_itself_differs_by_exactly_nothing(write_study: StudyWriter) -> None:
    folder = write_study(finished=SOME)
    comparison = compare([folder, folder], margin=0.001)
    assert len(comparison.rows) == 2 * len(PAIRED) and comparison.settings == {}
    for row in comparison.rows:
        assert row["difference"] == row["difference_low"] == row["difference_high"] == 0
        assert row["p"] == row["p_holm"] == 1 and row["higher"] == row["lower"] == row["undefined"] == 0
        assert row["mean"] == row["mean_reference"]
        assert row["equivalent"] == ("yes" if row["measure"] == "dice" else None)


def test_differences_are_those_of_the_files(write_study: StudyWriter) -> None:
    first, random = write_study("first", finished=SOME), np.random.default_rng(0)
    second = changed(
        write_study("second", finished=SOME),
        lambda case: replace(case, dice=(case.dice or 0) * random.uniform(0.9, 1), hd95_penalised_mm=case.inner + 1.0),
    )
    by_line: dict[str, list[float]] = {}
    for run in SOME:
        files = [StudyFolder(one).run(*run).cases for one in (first, second)]
        tables = [[*csv.DictReader(file.read_text().splitlines())] for file in files]
        for one, other in zip(*tables, strict=True):
            if one["region"] == "thigh":
                by_line.setdefault(one["line"], []).append(float(other["dice"]) - float(one["dice"]))
    expected = [np.mean(own) for own in by_line.values()]
    row = next(row for row in compare([first, second]).rows if (row["region"], row["measure"]) == ("thigh", "dice"))
    assert row["difference"] == pytest.approx(np.mean(expected), abs=1e-12)
    assert row["mean"] - row["mean_reference"] == pytest.approx(row["difference"])
    assert (row["values"], row["lower"], row["higher"]) == (len(expected), len(expected), 0)
    assert row["difference_low"] < row["difference"] < row["difference_high"] < 0


def test_missed_cases_are_in_the_difference(write_study: StudyWriter) -> None:
    first = write_study("first", finished=SOME)

    def miss(case: Case) -> Case:
        if case.line != 2:
            return case
        nothing = {"dice": 0.0, "tp": 0, "fp": 0, "fn": case.tp + case.fn, "hd95_mm": None, "asd_mm": None}
        nothing |= {"fat_fraction_predicted_mask": None, "hd95_penalised_mm": 400.0, "asd_penalised_mm": 400.0}
        return replace(case, **nothing)  # type: ignore[arg-type]

    rows = compare([first, changed(write_study("second", finished=SOME), miss)]).rows
    calf = {row["measure"]: row for row in rows if row["region"] == "calf"}
    values = calf["dice"]["values"]
    assert calf["dice"]["undefined"] == calf["hd95_mm"]["undefined"] == 0
    assert calf["hd95_mm"]["difference"] > 350 / values and calf["dice"]["difference"] < -0.8 / values
    assert calf["fat_fraction_off"]["undefined"] == 2 and calf["fat_fraction_off"]["values"] == values - 1


def other_folds(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    file = StudyFolder(folder).folds
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return folder


def swap_inner(folds: dict[str, Any]) -> None:
    one, other = folds["outer"][2]["validation"][:2]
    one[0], other[0] = other[0], one[0]


def join_inner(folds: dict[str, Any]) -> None:
    for outer in folds["outer"]:
        outer["validation"][:2] = [outer["validation"][0] + outer["validation"][1]]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folds: folds["outer"].reverse(), "tests 'S00' in fold 4, and in 0 in "),
        (swap_inner, "validates on 'S00' in fold 1-0 2-1 3-0 4-0, and in 1-0 2-0 3-0 4-0 in "),
        (join_inner, "5 x 4 folds, and 5 x 5 in "),
    ],
)  # fmt: skip
def test_other_folds_are_refused_with_the_difference(write_study: StudyWriter, change, said: str) -> None:
    first = write_study("first", finished=[(0, 0)])
    second = other_folds(write_study("second", finished=[]), change)
    with pytest.raises(InputError) as refused:
        compare([first, second])
    assert f"second/folds.json: {said}{StudyFolder(first).folds}; give studies of one table" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda case: None if case.line == 3 else case, "second/outer0_inner0/cases.csv: lacks subject 'S00', line 3"),
        (lambda case: replace(case, line=case.line + 7), "second/outer0_inner0/cases.csv: lacks subject 'S00', line 2"),
        (lambda case: replace(case, fn=case.fn + 1), "line 2, slice 5, muscle: true mask has "),
        (lambda case: replace(case, session="late"), "line 2, slice 5, muscle: session late, and  in "),
        (lambda case: replace(case, label="vasti"), "has no label in common with "),
    ],
)  # fmt: skip
def test_other_cases_are_refused_with_the_difference(write_study: StudyWriter, change, said: str) -> None:
    first = write_study("first", finished=[(0, 0)])
    with pytest.raises(InputError) as refused:
        compare([first, changed(write_study("second", finished=[(0, 0)]), change)])
    assert said in str(refused.value)


def test_a_case_that_the_reference_lacks_is_named(write_study: StudyWriter) -> None:
    first = changed(write_study("first", finished=[(0, 0)]), lambda case: case if case.line != 3 else None)
    with pytest.raises(
        InputError, match=r"first/outer0_inner0/cases.csv: lacks subject 'S00', line 3, slice 5, muscle"
    ):
        compare([first, write_study("second", finished=[(0, 0)])])


def test_one_study_no_study_and_no_margin_are_refused(write_study: StudyWriter, tmp_path: Path) -> None:
    folder = write_study(finished=[(0, 0)])
    for studies, margin, said in (
        ([folder], None, "one study alone"),
        ([folder, tmp_path / "none"], None, "not a study"),
        ([folder, folder], 0.0, "margin=0.0: is no margin"),
        ([folder, folder], float("nan"), "margin=nan: is no margin"),
        ([folder, write_study("else", finished=[(1, 1)])], None, "no finished run is in all studies"),
    ):
        with pytest.raises(InputError, match=said):
            compare(studies, margin=margin)


def test_a_study_of_one_region_is_compared_with_one_of_both(write_study: StudyWriter) -> None:
    both = write_study("both", finished=SOME)
    thigh = changed(write_study("thigh", finished=SOME), lambda case: case if case.region == "thigh" else None)
    for pair in ([both, thigh], [thigh, both]):
        assert {row["region"] for row in compare(pair).rows} == {"thigh"}


def test_each_study_is_compared_where_it_has_a_region_in_common_with_the_first(write_study: StudyWriter) -> None:
    both = write_study("both", finished=SOME)
    calf = changed(write_study("calf", finished=SOME), lambda case: case if case.region == "calf" else None)
    thigh = changed(write_study("thigh", finished=SOME), lambda case: case if case.region == "thigh" else None)
    rows = compare([both, calf, thigh]).rows
    assert {(row["study"], row["region"]) for row in rows} == {("calf", "calf"), ("thigh", "thigh")}
    with pytest.raises(InputError, match=r"thigh: has no region in common with .*calf; give studies that have"):
        compare([calf, both, thigh])


def in_parts(case: Case, share: float = 0.25) -> list[Case]:
    """Divide the voxels of a case among two labels."""
    tp, fp, fn = (round(share * count) for count in (case.tp, case.fp, case.fn))
    of_left = {"tp": tp, "fp": fp, "fn": fn}
    of_right = {name: getattr(case, name) - count for name, count in of_left.items()}
    return [
        replace(
            case,
            label=label,
            dice=2 * own["tp"] / (2 * own["tp"] + own["fp"] + own["fn"]),
            whole_dice=0.9 * (case.dice or 0),
            volume_true_ml=(own["tp"] + own["fn"]) * 0.0156,
            volume_predicted_ml=(own["tp"] + own["fp"]) * 0.0156,
            **own,
        )
        for label, own in (("left", of_left), ("right", of_right))
    ]


def test_studies_of_other_labels_are_compared_as_one_mask(write_study: StudyWriter, caplog) -> None:
    one = changed(write_study("one", finished=SOME), lambda case: replace(case, whole_dice=case.dice))
    parts = write_study("parts", finished=SOME)
    for run in read_study(parts).runs:
        if run.cases:
            write_cases(run.folder, [part for case in run.cases for part in in_parts(case)])
            write_done(run.folder, outer=run.outer, inner=run.inner, scores={})
    for pair, sign in (([one, parts], 1), ([parts, one], -1)):
        rows = compare(pair, margin=0.2).rows
        assert {(row["label"], row["measure"]) for row in rows} == {("all", "dice"), ("all", "volume_off_percent")}
        for row in rows:
            if row["measure"] == "dice":  # the mean over acquisitions, each over its networks
                worst, best = sorted((row["mean"], row["mean_reference"]))
                assert worst == pytest.approx(0.9 * best) and row["difference"] * sign < 0
                assert row["equivalent"] == "yes" and row["undefined"] == 0
            else:
                assert row["difference"] == pytest.approx(0, abs=1e-9)
    assert "parts: has other labels than" in caplog.text
    compare([parts, parts])  # of the same labels, as ever


@pytest.mark.parametrize("what", ["a run of an earlier release", "another truth"])
def test_other_labels_whose_masks_as_one_are_unknown_or_of_another_truth_are_refused(
    write_study: StudyWriter, what: str
) -> None:
    one = changed(write_study("one", finished=SOME), lambda case: replace(case, whole_dice=case.dice))
    change: dict[str, Any] = {"whole_dice": 0.5, "fn": 7} if what == "another truth" else {}
    other = changed(write_study("other", finished=SOME), lambda case: replace(case, label="soleus", **change))
    said = "true mask has" if what == "another truth" else "other: has no label in common with .*one; give studies"
    with pytest.raises(InputError, match=said):
        compare([one, other])


def test_runs_that_one_study_lacks_are_left_out_and_told(write_study: StudyWriter, caplog) -> None:
    more, fewer = write_study("more", finished=SOME), write_study("fewer", finished=SOME[:2])
    rows = compare([more, fewer]).rows
    assert {row["difference"] for row in rows} == {0.0} and {row["values"] for row in rows} == {2}
    assert "more: 2 of 4 finished runs are left out, as others lack them" in caplog.text


def test_what_older_runs_lack_is_unknown(write_study: StudyWriter) -> None:
    old = changed(write_study("old", finished=SOME), lambda case: replace(case, asd_penalised_mm=None))
    comparison = compare([old, write_study("new", finished=SOME)])
    row = next(row for row in comparison.rows if row["measure"] == "asd_mm")
    assert (row["values"], row["difference"], row["p"], row["p_holm"]) == (0, None, None, None)
    assert "unknown" in next(line for line in str(comparison).splitlines() if "ASD" in line)


def test_it_is_written_as_csv_latex_and_pictures(write_study: StudyWriter, tmp_path: Path) -> None:
    first, second = write_study("first", finished=SOME), write_study("second", finished=SOME)
    comparison = compare([first, second, first], margin=0.01)
    out = comparison.save(tmp_path / "out")
    assert {file.name for file in out.iterdir()} == {f"compare.{kind}" for kind in ("csv", "tex", "png", "svg", "pdf")}
    rows = [*csv.DictReader((out / "compare.csv").read_text().splitlines())]
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(comparison.rows) == len(comparison.frame)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    compare([first, second, first], margin=0.01).save(out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_settings_that_differ_are_listed(write_study: StudyWriter) -> None:
    first, second = write_study("first", finished=SOME), write_study("second", finished=SOME)
    file = StudyFolder(second).settings
    file.write_text(file.read_text().replace("width: 16", "width: 32"))
    comparison = compare([first, second])
    assert comparison.settings == {"model.width": (16, 32)}
    assert "model.width: 16 | 32" in str(comparison)


@pytest.mark.parametrize(("value", "listed"), [(0.2, True), (0.0, False)])
def test_a_setting_that_an_earlier_release_did_not_know_had_its_default(
    write_study: StudyWriter, value: float, listed: bool
) -> None:
    before, now = write_study("before", finished=SOME), write_study("now", finished=SOME)
    file = StudyFolder(now).settings
    file.write_text(file.read_text().replace("augmentation:\n", f"augmentation:\n  intensity: {value}\n"))
    assert compare([before, now]).settings == ({"augmentation.intensity": (0.0, value)} if listed else {})


P_VALUES = st.lists(st.none() | st.floats(0, 1), max_size=12)


@given(P_VALUES)
def test_holm_is_that_of_its_definition(values: list[float | None]) -> None:
    corrected = holm(values)
    known = [value for value in values if value is not None]
    for value, after in zip(values, corrected, strict=True):
        if value is None or after is None:
            assert value is after
            continue
        smaller = [other for other in known if other <= value]
        steps = [(sum(other >= one for other in known)) * one for one in smaller]
        assert after == pytest.approx(min(1.0, max(steps)))


def test_holm_is_that_of_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    random = np.random.default_rng(2)
    for size in (1, 2, 7, 30):
        values = random.uniform(0, 0.2, size).tolist()
        assert holm(values) == pytest.approx([*multitest.multipletests(values, method="holm")[1]])


@pytest.mark.parametrize("seed", range(4))
def test_the_paired_test_tries_every_exchange_of_few_subjects(seed: int) -> None:
    apart = np.random.default_rng(seed).normal(0.5, 1, 8)
    signs = np.array(np.meshgrid(*[(-1, 1)] * 8)).reshape(8, -1)
    sums = apart @ signs
    exact = np.mean(np.abs(sums) >= abs(apart.sum()) - 1e-12)
    assert paired_p([*apart], list("abcdefgh")) == pytest.approx(exact)


def test_the_paired_test_takes_a_subject_as_one() -> None:
    assert paired_p([0.1] * 40, ["a"] * 20 + ["b"] * 20) == 0.5
    assert paired_p([0.1], ["a"]) is None and paired_p([], []) is None


def test_for_many_subjects_it_is_near_the_t_test() -> None:
    apart = np.random.default_rng(9).normal(0.3, 1, 60)
    assert paired_p([*apart], [str(n) for n in range(60)]) == pytest.approx(
        stats.ttest_1samp(apart, 0).pvalue, abs=0.01
    )


def test_a_planted_difference_is_found_and_none_is_not_beyond_chance() -> None:
    low, high = found(12, "normal", 60, 0.0).interval
    assert low <= 0.05 <= high
    assert found(30, "skewed", 25, 0.01).times >= 23


@pytest.mark.parametrize("shape", ["normal", "skewed"])
def test_intervals_hold_the_mean_as_often_as_they_say(shape: str) -> None:
    rate = coverage(30, shape, 600)
    assert 0.92 < rate.times / rate.of < 0.98, "the benchmark tells with more cohorts"
