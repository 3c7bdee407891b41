"""How well two ways to measure the same agree: bias, limits of agreement, intraclass and concordance correlation.

Of each acquisition both ways give a number, ``x`` and ``y``. Subjects may have several acquisitions; intervals are by
the bootstrap over subjects.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from musclesense.evaluation.intervals import Floats, Interval, interval_of, sums_by_subject

LIMITS = 1.96
"""So many standard deviations from the bias lie the 95 % limits of agreement."""

LEAST_SUBJECTS = 5
"""With fewer, draws of one subject again and again leave spread and correlation without a meaningful interval."""
_ROUNDING = 1e-12


class Estimate(NamedTuple):
    """A number and its 95 % interval; None where there is none."""

    value: float | None
    interval: Interval | None


@dataclass(frozen=True)
class _Moments:
    """Means, variances (n - 1) and the covariance of pairs, each for every draw."""

    n: Floats
    x: Floats
    y: Floats
    var_x: Floats
    var_y: Floats
    covariance: Floats

    @classmethod
    def of(cls, sums: Floats) -> "_Moments":
        n, x, y, xx, yy, xy = sums
        parts = []
        for squares, product in ((xx, x * x), (yy, y * y), (xy, x * y)):
            part = squares - product / n
            parts.append(np.where(np.abs(part) <= _ROUNDING * np.sqrt(xx * yy), 0, part) / (n - 1))
        return cls(n, x / n, y / n, *parts)

    @property
    def bias(self) -> Floats:
        return self.y - self.x

    @property
    def sd(self) -> Floats:
        """Of the differences."""
        return np.sqrt(np.maximum(self.var_x + self.var_y - 2 * self.covariance, 0))


def _concordance(of: _Moments) -> Floats:
    part = (of.n - 1) / of.n  # variances by n, as Lin has them
    return 2 * part * of.covariance / (part * (of.var_x + of.var_y) + of.bias**2)


STATISTICS: Mapping[str, Callable[[_Moments], Floats]] = MappingProxyType(
    {
        "bias": lambda of: of.bias,
        "sd": lambda of: of.sd,
        "lower": lambda of: of.bias - LIMITS * of.sd,
        "upper": lambda of: of.bias + LIMITS * of.sd,
        "icc_a1": lambda of: 2 * of.covariance / (of.var_x + of.var_y + of.bias**2 - of.sd**2 / of.n),
        "icc_c1": lambda of: 2 * of.covariance / (of.var_x + of.var_y),
        "concordance": _concordance,
    }
)
"""What `agreement` gives.

- ``bias``: mean of y - x; ``sd``: standard deviation of y - x (n - 1); ``lower``, ``upper``: bias -+ 1.96 SD, the 95 %
  limits of agreement. Source: Bland and Altman, Lancet 1986;1:307-310.
- ``icc_a1``: ICC(A,1), two-way, absolute agreement, single measurement; ``icc_c1``: ICC(C,1), the same for
  consistency, to which a bias does not matter. Source: McGraw and Wong, Psychological Methods 1996;1:30-46. For two
  ways their mean squares come down to variances and the covariance of x and y.
- ``concordance``: the concordance correlation coefficient, variances by n. Source: Lin, Biometrics 1989;45:255-268.
"""


def agreement(x: Sequence[float], y: Sequence[float], subjects: Sequence[str]) -> dict[str, Estimate]:
    """Compare two ways to measure the same.

    >>> found = agreement([10.0, 20.0, 30.0], [11.0, 20.0, 32.0], ["a", "b", "c"])
    >>> found["bias"].value, found["sd"].value, round(found["icc_a1"].value, 3)
    (1.0, 1.0, 0.992)

    Args:
        x: One number for each acquisition.
        y: The other.
        subjects: Whose acquisition it is.

    Returns:
        An estimate for each of `STATISTICS`.
    """
    # All around one number: sums of squares of large numbers would lose the digits of small differences.
    middle = float(np.mean(x)) if len(x) else 0.0
    one, other = np.asarray(x, np.float64) - middle, np.asarray(y, np.float64) - middle
    sums = sums_by_subject([np.ones(len(one)), one, other, one * one, other * other, one * other], subjects)
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = _Moments.of(sums.sum(axis=1, keepdims=True))
        values = {name: float(statistic(whole)[0]) for name, statistic in STATISTICS.items()}
    found = {}
    for name, own in STATISTICS.items():
        sure = np.isfinite(values[name]) and (name == "bias" or sums.shape[1] >= LEAST_SUBJECTS)
        ends = interval_of(lambda total, own=own: own(_Moments.of(total)), sums) if sure else None  # type: ignore[misc]
        found[name] = Estimate(values[name] if np.isfinite(values[name]) else None, ends)
    return found
