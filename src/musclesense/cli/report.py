"""``musclesense report``: tables and page of a study."""

import argparse

from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.tables import study_table


def run(options: argparse.Namespace) -> None:
    """Write the report of a study, and print the scores and where the page is."""
    page = write_report(options.study)
    print(study_table(options.study))
    print(f"report: {page}")
