"""Our network and others', trained side by side: ``python -m benchmarks.speed.baselines``."""
