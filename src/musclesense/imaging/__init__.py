"""Pixels and physics: nifti, dixon, grid, labels."""
