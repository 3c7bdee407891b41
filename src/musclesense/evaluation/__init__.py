"""From the scores of runs to tables and a page: pooling.py, report/."""
