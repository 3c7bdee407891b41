"""Who is scanned, when and how, and the files that come of it."""
