"""Intervals by the bootstrap over subjects, beside their definition and scipy's bootstrap."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from musclesense.evaluation.intervals import interval_by_subject, interval_of, sums_by_subject

CASES = st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcde")), min_size=1, max_size=40)


@given(CASES)
def test_it_lies_within_the_means_of_the_subjects(cases: list[tuple[float, str]]) -> None:
    values, subjects = zip(*cases, strict=True)
    interval = interval_by_subject(values, subjects)
    if len({*subjects}) < 2:
        assert interval is None
        return
    means = [np.mean([value for value, own in cases if own == subject]) for subject in {*subjects}]
    assert interval is not None
    assert min(means) - 1e-9 <= interval[0] <= interval[1] <= max(means) + 1e-9


def test_cases_without_a_value_are_left_out() -> None:
    with_gaps = interval_by_subject([0.5, None, 0.7, None], ["a", "b", "c", "c"])
    assert with_gaps == interval_by_subject([0.5, 0.7], ["a", "c"])
    assert interval_by_subject([0.5, None], ["a", "b"]) is None
    assert interval_by_subject([], []) is None


def test_more_cases_of_the_same_subjects_make_nothing_surer() -> None:
    few, subjects = [0.80, 0.90, 0.95, 0.99], ["a", "b", "c", "d"]
    assert interval_by_subject(few, subjects) == pytest.approx(interval_by_subject(few * 10, subjects * 10))


def test_it_is_as_wide_as_the_normal_one_for_many_subjects() -> None:
    values = np.random.default_rng(1).normal(0.9, 0.05, 400)
    low, high = interval_by_subject(list(values), [str(number) for number in range(400)]) or (0.0, 0.0)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


@pytest.mark.parametrize(("subjects", "level"), [(4, 95.0), (12, 95.0), (12, 90.0), (60, 95.0)])
def test_it_is_scipys_bootstrap_of_subjects_at_the_expanded_level(subjects: int, level: float) -> None:
    random = np.random.default_rng(subjects)
    sums = np.array([random.integers(1, 6, subjects), random.gamma(2, 1, subjects)])

    def ratio(count: Any, total: Any, axis: int = -1) -> Any:
        return total.sum(axis) / count.sum(axis)

    tail = (1 - level / 100) / 2
    wide = stats.norm.cdf(-np.sqrt(subjects / (subjects - 1)) * stats.t.isf(tail, subjects - 1))
    asked = {"n_resamples": 40_000, "confidence_level": 1 - 2 * wide, "method": "percentile"}
    known = stats.bootstrap((sums[0], sums[1]), ratio, paired=True, vectorized=True, **asked)
    found = interval_of(lambda total: total[1] / total[0], sums, level=level, draws=40_000)
    spread = np.std(known.bootstrap_distribution)
    assert found == pytest.approx(tuple(known.confidence_interval), abs=0.1 * spread)


def test_sums_are_those_of_each_subject_by_name() -> None:
    sums = sums_by_subject([[1.0, 1.0, 1.0], [0.5, 0.25, 4.0]], ["b", "a", "b"])
    assert sums.tolist() == [[1.0, 2.0], [0.25, 4.5]]


def test_no_draw_with_the_number_has_no_interval() -> None:
    assert interval_of(lambda total: total[0] / 0, np.zeros((1, 5))) is None
