"""Pixels and physics: files and their geometry, voxel grids, fat and water, limbs, labels."""
