"""Processor time to draw a synthetic slice: ``python -m benchmarks.speed.synthetic_slices`` prints ms by generator.

The generators take turns, on one thread.
"""

import argparse
import statistics
import time

import numpy as np
from threadpoolctl import threadpool_limits

from musclesense.training.synthesis.pool import GENERATORS, find_generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=100)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in GENERATORS}
    with threadpool_limits(1):
        for number in range(-1, options.slices):  # the first one reads tables, and does not count
            for name, times in taken.items():
                started = time.process_time()
                find_generator(name).synthetic_slice(np.random.default_rng([0, number + 1]))
                times += [1000 * (time.process_time() - started)] * (number >= 0)
    for name, times in taken.items():
        print(f"{name}: mean {statistics.mean(times):.0f} ms, median {statistics.median(times):.0f} ms")


if __name__ == "__main__":
    main()
