"""Synthetic slices: a pool of them on disk, and who draws it when."""
