"""Agreement of two ways to measure, beside textbook formulas and an independent package."""

import warnings

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from musclesense.evaluation.agreement import LEAST_SUBJECTS, STATISTICS, agreement

PAIRS = st.lists(st.tuples(st.floats(0, 100), st.floats(-3, 3)), min_size=3, max_size=30)


def by_mean_squares(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """ICC(A,1) and ICC(C,1) from the mean squares of rows, columns and error, as McGraw and Wong write them."""
    table = np.stack([x, y], axis=1)
    n, k = table.shape
    rows, columns, all_ = table.mean(axis=1), table.mean(axis=0), table.mean()
    of_rows = k * np.sum((rows - all_) ** 2) / (n - 1)
    of_columns = n * np.sum((columns - all_) ** 2) / (k - 1)
    error = np.sum((table - rows[:, None] - columns + all_) ** 2) / ((n - 1) * (k - 1))
    absolute = (of_rows - error) / (of_rows + (k - 1) * error + k / n * (of_columns - error))
    return float(absolute), float((of_rows - error) / (of_rows + (k - 1) * error))


@given(PAIRS)
def test_it_is_what_the_formulas_say(pairs: list[tuple[float, float]]) -> None:
    x = np.array([one for one, _ in pairs])
    y = x + [other for _, other in pairs]
    assume(x.std() > 0.01 and y.std() > 0.01 and (y - x).std() > 1e-3)
    found = {name: estimate.value for name, estimate in agreement([*x], [*y], [str(i) for i in range(len(x))]).items()}
    apart = y - x
    assert found["bias"] == pytest.approx(apart.mean(), abs=1e-9)
    assert found["sd"] == pytest.approx(apart.std(ddof=1), rel=1e-6)
    limits = (apart.mean() - 1.96 * apart.std(ddof=1), apart.mean() + 1.96 * apart.std(ddof=1))
    assert (found["lower"], found["upper"]) == pytest.approx(limits, rel=1e-6, abs=1e-6)
    assert (found["icc_a1"], found["icc_c1"]) == pytest.approx(by_mean_squares(x, y), rel=1e-6, abs=1e-6)
    shared = np.mean((x - x.mean()) * (y - y.mean()))
    lin = 2 * shared / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert found["concordance"] == pytest.approx(lin, rel=1e-6, abs=1e-6)


def test_correlations_are_those_of_pingouin() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on its import
        pingouin = pytest.importorskip("pingouin", exc_type=ImportError)
    from pandas import DataFrame

    random = np.random.default_rng(4)
    x = random.normal(30, 10, 40)
    y = x + random.normal(0.5, 2, 40)
    long = DataFrame({"who": [*range(40)] * 2, "how": [0] * 40 + [1] * 40, "value": [*x, *y]})
    table = pingouin.intraclass_corr(long, "who", "how", "value")
    known = dict(zip(table["Type"], table["ICC"], strict=True))
    found = agreement([*x], [*y], [str(number) for number in range(40)])
    absolute, consistent = (
        next(known[name] for name in names if name in known) for names in (("ICC(A,1)", "ICC2"), ("ICC(C,1)", "ICC3"))
    )
    assert (found["icc_a1"].value, found["icc_c1"].value) == pytest.approx((absolute, consistent))


def test_two_equal_measurements_agree_without_any_difference() -> None:
    values, subjects = [5.0, 12.5, 60.1, 7.2, 8.8], list("abcde")
    found = agreement(values, values, subjects)
    for name in ("bias", "sd", "lower", "upper"):
        assert found[name] == (0, (0, 0)), name
    for name in ("icc_a1", "icc_c1", "concordance"):
        assert found[name].value == 1


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_the_level_of_the_numbers_does_not_change_differences(shift: float) -> None:
    random = np.random.default_rng(5)
    x, subjects = random.normal(0, 1, 30), [str(number // 2) for number in range(30)]
    y = x + random.normal(0.1, 0.2, 30)
    plain, shifted = agreement([*x], [*y], subjects), agreement([*(x + shift)], [*(y + shift)], subjects)
    for name in STATISTICS:
        assert shifted[name].value == pytest.approx(plain[name].value, abs=1e-6), name
        assert shifted[name].interval == pytest.approx(plain[name].interval, abs=1e-6), name


def test_what_too_few_have_is_not_said() -> None:
    assert set(agreement([], [], []).values()) == {(None, None)}
    one = agreement([1.0], [3.0], ["a"])
    assert one["bias"] == (2.0, None) and one["sd"] == one["icc_a1"] == (None, None)
    same = agreement([4.0] * 6, [4.0] * 6, list("abcdef"))
    assert same["bias"] == (0.0, (0.0, 0.0)) and same["icc_c1"].value is None
    few = agreement([1.0, 2.0, 4.0], [1.5, 2.0, 3.0], list("abc"))
    assert few["bias"].interval and few["sd"].value and few["sd"].interval is None


def test_intervals_lie_around_their_numbers_and_within_what_is_possible() -> None:
    random = np.random.default_rng(6)
    x = random.normal(20, 8, LEAST_SUBJECTS)
    found = agreement([*x], [*(x + random.normal(0, 1, len(x)))], [str(number) for number in range(len(x))])
    for name, (value, ends) in found.items():
        assert value is not None and ends is not None and ends[0] <= ends[1]
        if name in ("icc_a1", "icc_c1", "concordance"):
            assert ends[0] >= -1 and ends[1] <= 1
