"""Who was scanned: table, checks, folds, cache."""
