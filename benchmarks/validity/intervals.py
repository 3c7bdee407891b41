"""Do intervals over subjects hold what they say, and does the paired test? Cohorts drawn with a known mean tell.

``python -m benchmarks.validity.intervals`` prints how often the 95 % interval holds the true mean, how often the paired
test is wrong where there is no difference, and how often it finds a difference of 0.01 of Dice.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from musclesense.evaluation.compare import paired_p
from musclesense.evaluation.intervals import interval_by_subject

MEAN, SPREAD = 0.94, 0.02
"""Of Dice: the mean, and its SD over subjects. Between acquisitions of a subject the SD is half of that."""
APART = 0.008
"""SD over subjects of the difference of two networks."""
SHAPES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "normal": lambda random, n: random.normal(0, 1, n),
    "skewed": lambda random, n: (4 - random.gamma(4, 1, n)) / 2,  # to the left, as Dice is
}
PLANTED = 0.01


@dataclass(frozen=True)
class Rate:
    """How often something was so."""

    times: int
    of: int

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's 99 % interval of the probability."""
        ends = stats.binomtest(self.times, self.of).proportion_ci(0.99)
        return float(ends.low), float(ends.high)

    def __str__(self) -> str:
        return f"{self.times / self.of:.3f} ({self.interval[0]:.3f} to {self.interval[1]:.3f})"


def cohort(
    random: np.random.Generator, subjects: int, shape: str, spread: float
) -> tuple[NDArray[np.float64], list[str]]:
    """Draw one value for each of one to four acquisitions of each subject, around a mean of 0, and whose it is."""
    counts = random.integers(1, 5, subjects)
    whose = np.repeat(np.arange(subjects), counts)
    values = SHAPES[shape](random, subjects)[whose] + random.normal(size=len(whose)) / 2
    return spread * values, [*map(str, whose)]


def coverage(subjects: int, shape: str, cohorts: int, seed: int = 0) -> Rate:
    """Count cohorts in which the interval holds the true mean."""
    random, held = np.random.default_rng([seed, subjects]), 0
    for number in range(cohorts):
        values, whose = cohort(random, subjects, shape, SPREAD)
        low, high = interval_by_subject((MEAN + values).tolist(), whose, seed=number) or (np.nan, np.nan)
        held += bool(low <= MEAN <= high)
    return Rate(held, cohorts)


def found(subjects: int, shape: str, cohorts: int, difference: float, seed: int = 1) -> Rate:
    """Count cohorts in which the paired test tells two networks apart at 5 %, which differ by ``difference``."""
    random, told = np.random.default_rng([seed, subjects]), 0
    for _ in range(cohorts):
        apart, whose = cohort(random, subjects, shape, APART)
        told += (paired_p((difference + apart).tolist(), whose) or 1.0) <= 0.05
    return Rate(told, cohorts)


def main() -> None:
    """Read the command line and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=2000, help="for intervals; a quarter of them for tests")
    parser.add_argument("--subjects", type=int, nargs="+", default=[12, 20, 30, 60, 166])
    options = parser.parse_args()
    print("| subjects | scores | interval holds the mean | test is wrong without a difference | finds 0.01 |")
    print(5 * "|---" + "|")
    for subjects in options.subjects:
        for shape in SHAPES:
            held = coverage(subjects, shape, options.cohorts)
            wrong, right = (found(subjects, shape, options.cohorts // 4, apart) for apart in (0.0, PLANTED))
            print(f"| {subjects} | {shape} | {held} | {wrong} | {right} |", flush=True)


if __name__ == "__main__":
    main()
