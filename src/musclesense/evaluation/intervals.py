"""How sure a number is when cases of one subject are alike: the subjects are drawn again, not the cases."""

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

DRAWS = 2000
LEVEL = 95.0
Floats = NDArray[np.float64]
Interval = tuple[float, float]


def interval_by_subject(values: Sequence[float | None], subjects: Sequence[str], *, seed: int = 0) -> Interval | None:
    """Give the interval in which the mean over cases lies.

    >>> low, high = interval_by_subject([0.90, 0.92, 0.96], ["a", "a", "b"])
    >>> round(low, 3), round(high, 3)
    (0.91, 0.96)

    Args:
        values: Of each case; None is left out.
        subjects: Whose case it is.
        seed: The same gives the same interval.

    Returns:
        Both ends, `LEVEL` percent apart; None where fewer than two subjects have a value.
    """
    known = [(value, subject) for value, subject in zip(values, subjects, strict=True) if value is not None]
    own = [subject for _, subject in known]
    sums = sums_by_subject([[1.0] * len(known), [value for value, _ in known]], own)
    return interval_of(lambda total: total[1] / total[0], sums, seed=seed)


def sums_by_subject(columns: Sequence[Sequence[float] | Floats], subjects: Sequence[str]) -> Floats:
    """Add up the values of each subject: (columns, subjects), subjects in the order of their names."""
    names, whose = np.unique(np.asarray(subjects, str), return_inverse=True)
    return np.array([np.bincount(whose, np.asarray(column, np.float64), len(names)) for column in columns])


def interval_of(
    statistic: Callable[[Floats], Floats], sums: Floats, *, level: float = LEVEL, draws: int = DRAWS, seed: int = 0
) -> Interval | None:
    """Give the interval of a number that follows from sums over cases, by the bootstrap over subjects.

    Subjects are drawn again with all their cases. The ends are percentiles of what the draws give, a little further
    out than the level says: the percentiles themselves are too near to each other for few subjects, by as much as
    normal quantiles are nearer than Student's.

    Source: Field and Welsh, Journal of the Royal Statistical Society B 2007;69:369-390, the cluster bootstrap;
    Hesterberg, The American Statistician 2015;69:371-386, the expanded percentile interval.

    Args:
        statistic: Gives the number for each column of sums, (sums, draws).
        sums: Of each subject, (sums, subjects), as of `sums_by_subject`.
        level: In percent.
        draws: How often subjects are drawn.
        seed: The same gives the same interval.

    Returns:
        Both ends; None for fewer than two subjects, or where no draw has the number.
    """
    subjects = sums.shape[1]
    if subjects < 2:
        return None
    outside = (100 - level) / 200
    outside = stats.norm.cdf(np.sqrt(subjects / (subjects - 1)) * stats.t.ppf(outside, subjects - 1))
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nanquantile, where no draw has the number
        drawn = statistic(sums @ _times_drawn(subjects, draws, seed))
        low, high = np.nanquantile(drawn, (outside, 1 - outside))
    return (float(low), float(high)) if np.isfinite(low) else None


def ends(name: str, value: float | None, interval: Interval | None) -> dict[str, float | None]:
    """Name a number and the ends of its interval, as columns of a table.

    >>> ends("bias", 0.5, (0.4, 0.6))
    {'bias': 0.5, 'bias_low': 0.4, 'bias_high': 0.6}
    """
    low, high = interval or (None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


@lru_cache(maxsize=8)  # the same for all measures of the same number of subjects
def _times_drawn(subjects: int, draws: int, seed: int) -> Floats:
    """Give how often each subject is drawn: (subjects, draws)."""
    return np.random.default_rng(seed).multinomial(subjects, [1 / subjects] * subjects, draws).T.astype(np.float64)
