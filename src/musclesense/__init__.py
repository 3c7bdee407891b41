"""Segmentation of calf and thigh muscle in 3-point Dixon MRI, proven by nested cross-validation."""

__version__ = "0.1.0"
