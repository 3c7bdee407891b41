"""Change a year against numbers worked out by hand, and patients per arm against an independent package."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from musclesense.errors import InputError
from musclesense.evaluation.change import COLUMNS, PUBLISHED, SUBJECT_COLUMNS, change, patients_per_arm
from musclesense.evaluation.visits import PREDICTED, TRUE, TRUTH

from .test_retest import Fractions, only, visited, visits

YEAR = 365.25 / 7
SUBJECTS = [f"S{number:02}" for number in (0, 5)]


def followed(rates: dict[str, float], *, off: float = 0.0) -> tuple[Fractions, list[tuple[str, str, float]]]:
    """Three visits of each subject, after half a year and two years, whose fat fraction grows by so much a year."""
    times = {"1": 0.0, "2": 0.5, "3": 2.0}
    keys = [(who, name) for who in rates for name in times]
    at = {(who, name): 20 + rates[who] * times[name] for who, name in keys}
    read: Fractions = {key: (value + off, value - off) for key, value in at.items()}
    return read, [(who, name, times[name] * YEAR) for who, name in keys]


def test_change_is_the_slope_over_the_years(write_study, make_case, tmp_path) -> None:
    fractions, times = followed({"S00": 1.0, "S05": 3.0}, off=0.5)
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, fractions)
    found = change([study], visits=visits(tmp_path, *times))
    rates = {
        row["subject"]: row["change"]
        for row in found.subjects
        if (row["way"], row["measure"]) == (PREDICTED, "fat_fraction")
    }
    assert rates == pytest.approx({"S00": 1.0, "S05": 3.0})
    row = only(found.rows, way=PREDICTED, measure="fat_fraction")
    assert (row["subjects"], row["group"]) == (2, "all")
    assert (row["change"], row["sd"], row["srm"]) == pytest.approx((2, np.sqrt(2), np.sqrt(2)))
    assert row["patients_per_arm"] == patients_per_arm(np.sqrt(2)) and row["srm_low"] is None
    assert row["error_sd"] == pytest.approx(0, abs=1e-9), "the true mask reads one point less at each visit"
    assert only(found.rows, way=TRUE, measure="fat_fraction")["error_sd"] is None
    volume = only(found.rows, way=PREDICTED, measure="volume_ml")
    assert (volume["change"], volume["sd"], volume["srm"], volume["patients_per_arm"]) == (0, 0, None, None)
    assert PUBLISHED in str(found)


def test_the_share_of_the_method_is_known_where_the_truth_is(write_study, make_case, tmp_path) -> None:
    fractions: Fractions = {("S00", "1"): (10,), ("S00", "2"): (12,), ("S05", "1"): (10,), ("S05", "2"): (18,)}
    times = [(who, name, YEAR * (name == "2")) for who, name in fractions]
    study = visited(write_study(finished=[(0, 0)]), make_case, fractions, fat_fraction_true_mask=5.0)
    found = change([study], visits=visits(tmp_path, *times))
    row = only(found.rows, way=PREDICTED, measure="fat_fraction")
    apart = np.std([2, 8], ddof=1)
    assert (row["sd"], row["error_sd"], row["error_share"]) == pytest.approx((apart, apart, 1))
    assert [one["measure"] for one in found.rows if one["way"] == TRUTH] == ["fat_fraction"]


@pytest.mark.parametrize(("apart", "subjects"), [(26.0, ["S00", "S05"]), (60.0, ["S05"]), (YEAR, ["S00", "S05"])])
def test_visits_far_enough_apart_count(write_study, make_case, tmp_path, apart: float, subjects: list[str]) -> None:
    fractions: Fractions = {("S00", "1"): (10,), ("S00", "2"): (12,), ("S05", "1"): (10,), ("S05", "2"): (18,)}
    times = [("S00", "1", 0), ("S00", "2", YEAR), ("S05", "1", 3), ("S05", "2", 3 + 2 * YEAR)]
    study = visited(write_study(finished=[(0, 0)]), make_case, fractions)
    found = change([study], visits=visits(tmp_path, *times), apart=apart)
    assert sorted({row["subject"] for row in found.subjects}) == subjects
    with pytest.raises(InputError, match="no subject has visits 200 weeks apart; give a shorter --apart"):
        change([study], visits=tmp_path / "v.csv", apart=200)


def test_a_visit_that_cannot_be_read_leaves_the_subject_out_and_is_counted(write_study, make_case, tmp_path) -> None:
    fractions: Fractions = {("S00", "1"): (10,), ("S00", "2"): (np.nan,), ("S05", "1"): (10,), ("S05", "2"): (18,)}
    times = [(who, name, YEAR * (name == "2")) for who, name in fractions]
    study = visited(write_study(finished=[(0, 0)]), make_case, fractions)
    row = only(change([study], visits=visits(tmp_path, *times)).rows, way=PREDICTED, measure="fat_fraction")
    assert (row["subjects"], row["unreadable"], row["change"], row["sd"]) == (1, 1, pytest.approx(8), None)


def test_results_are_written_and_the_interval_of_the_srm_holds_it(write_study, make_case, tmp_path) -> None:
    rates = dict(zip(("S00", "S05"), (1.0, 2.5), strict=True))
    fractions, times = followed(rates)
    study = visited(write_study(finished=[(0, 0), (0, 1)]), make_case, fractions)
    found = change([study], visits=visits(tmp_path, *times))
    out = found.save(tmp_path / "out")
    names = {"change_subjects.csv", *(f"change.{kind}" for kind in ("csv", "tex", "png", "svg", "pdf"))}
    assert {file.name for file in out.iterdir()} == names
    for name, columns in (("change", COLUMNS), ("change_subjects", SUBJECT_COLUMNS)):
        assert (out / f"{name}.csv").read_text().splitlines()[0] == ",".join(columns)


@given(st.floats(0.05, 5))
def test_patients_see_the_effect_and_one_fewer_would_not(srm: float) -> None:
    patients = patients_per_arm(srm)
    assert patients is not None

    def power(each: int) -> float:
        free, shift = 2 * each - 2, srm / 2 * np.sqrt(each / 2)
        bound = stats.t.ppf(0.975, free)
        return float(1 - stats.nct.cdf(bound, free, shift) + stats.nct.cdf(-bound, free, shift))

    assert power(patients) >= 0.8 - 1e-9
    assert patients == 2 or power(patients - 1) < 0.8


@pytest.mark.parametrize("srm", [0.3, 0.65, 0.69, 1.0, 2.0, -0.65])
def test_patients_per_arm_are_those_of_statsmodels(srm: float) -> None:
    power: Any = pytest.importorskip("statsmodels.stats.power")
    known = power.TTestIndPower().solve_power(effect_size=abs(srm) / 2, alpha=0.05, power=0.8)
    assert patients_per_arm(srm) == int(np.ceil(known))


def test_a_change_of_nothing_needs_more_patients_than_there_are() -> None:
    assert patients_per_arm(0.0) is None and patients_per_arm(1e-4) is None


def test_a_phantom_tells_when_its_visits_were(write_study, make_case, tmp_path: Path) -> None:
    fractions, times = followed({"S00": 1.0, "S05": 3.0})
    study = visited(write_study(finished=[(0, 0), (0, 1)], table=tmp_path / "cohort.csv"), make_case, fractions)
    visits(tmp_path, *times).rename(tmp_path / "sessions.csv")
    assert only(change([study]).rows, way=PREDICTED, measure="fat_fraction")["change"] == pytest.approx(2)
