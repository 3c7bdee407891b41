"""A page for people without a terminal, and the same by HTTP for programs: upload a scan, get its mask and numbers."""
