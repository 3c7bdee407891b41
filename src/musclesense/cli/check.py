"""``musclesense check``: a cohort table and every file that it names."""

import argparse

from musclesense.cohort import checks
from musclesense.cohort.table import scan_table


def run(options: argparse.Namespace) -> None:
    """Check a cohort table and say who is in it."""
    table = scan_table(options.cohort)
    checks.check(table)
    print(checks.summary(table))
