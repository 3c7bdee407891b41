"""How sure a mean is when cases of one subject are alike: the subjects are drawn again, not the cases."""

from collections.abc import Sequence

import numpy as np

DRAWS = 2000
LEVEL = 95.0


def interval_by_subject(
    values: Sequence[float | None], subjects: Sequence[str], *, seed: int = 0
) -> tuple[float, float] | None:
    """Give the interval in which the mean over cases lies, by the percentile bootstrap over subjects.

    >>> low, high = interval_by_subject([0.90, 0.92, 0.96], ["a", "a", "b"])
    >>> round(low, 3), round(high, 3)
    (0.91, 0.96)

    Source: Field and Welsh, Journal of the Royal Statistical Society B 2007;69:369-390, the cluster bootstrap.

    Args:
        values: Of each case; None is left out.
        subjects: Whose case it is.
        seed: The same gives the same interval.

    Returns:
        Both ends, `LEVEL` percent apart; None where fewer than two subjects have a value.
    """
    known = [(value, subject) for value, subject in zip(values, subjects, strict=True) if value is not None]
    names = sorted({subject for _, subject in known})
    if len(names) < 2:
        return None
    of_subject = np.searchsorted(names, [subject for _, subject in known])
    sums = np.bincount(of_subject, [value for value, _ in known])
    counts = np.bincount(of_subject)
    drawn = np.random.default_rng(seed).integers(len(names), size=(DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, ((100 - LEVEL) / 2, (100 + LEVEL) / 2))
    return float(low), float(high)
