"""Whole files or none, locks between processes, records, and processes that end with their parent."""
