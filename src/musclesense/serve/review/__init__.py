"""A page to look through the masks of many scans: judge, comment, paint, and take the list along."""
