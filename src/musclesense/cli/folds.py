"""``musclesense folds``: the nested folds of a cohort."""

import argparse
from collections.abc import Sequence

from musclesense.cohort import folds
from musclesense.cohort.table import Acquisition, CohortTable, read_table
from musclesense.errors import InputError
from musclesense.vocabulary import Region


def run(options: argparse.Namespace) -> None:
    """Draw the folds of a cohort and show them."""
    table = read_table(options.cohort)
    used = [row for row in table.acquisitions if options.region is None or row.region is Region(options.region)]
    drawn = draw(table, used, seed=options.seed, outer=options.outer, inner=options.inner)
    print(folds.describe(drawn, used))


def draw(table: CohortTable, used: Sequence[Acquisition], **asked: int) -> folds.NestedFolds:
    """Draw nested folds of the rows that are used.

    Raises:
        InputError: There are too few; names the table.
    """
    try:
        return folds.draw(used, table=table.digest, **asked)
    except InputError as error:
        raise InputError(*(f"{table.path}: {problem}" for problem in error.problems)) from error
