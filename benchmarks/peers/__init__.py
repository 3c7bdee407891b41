"""Ours and others', trained side by side: ``python -m benchmarks.peers``."""
