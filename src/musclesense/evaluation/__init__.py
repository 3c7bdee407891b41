"""From runs to a study's scores: study.py reads a study folder, report/ writes its tables and its page."""
