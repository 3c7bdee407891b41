"""What a phantom cohort takes in time and on disk: ``python -m benchmarks.speed.phantom_speed --preset paper``.

Makes a sample of the subjects, spread over the cohort, in a temporary folder, and prints what the whole would take.
"""

import argparse
import os
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from musclesense.phantom.cohorts.generate import make_subject
from musclesense.phantom.cohorts.presets import PRESETS, Preset, find_preset
from musclesense.phantom.cohorts.subjects import Subject, list_subjects


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="paper")
    parser.add_argument("--slices", choices=("all", "mid"), default="all")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--subjects", type=int, default=16, help="how many to make")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    preset = find_preset(options.preset)
    everyone = list_subjects(preset)
    count = min(options.subjects, len(everyone))
    sample = [everyone[(2 * number + 1) * len(everyone) // (2 * count)] for number in range(count)]
    middle_only = options.slices == "mid"
    folder = Path(tempfile.mkdtemp())
    try:
        before = _used()
        with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(abs, range(options.workers)))  # the start of the processes is not what is measured
            started = time.perf_counter()
            list(pool.map(partial(make_subject, folder, preset, options.seed, middle_only, False), sample))
            seconds = time.perf_counter() - started
        used = _used() - before  # the processes have ended, their start included
        filled = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    finally:
        shutil.rmtree(folder)
    made, whole = (slices(preset, subjects, middle_only) for subjects in (sample, everyone))
    print(f"{options.preset}, slices {options.slices}, {options.workers} workers: {count} of {len(everyone)} subjects")
    print(f"{made / seconds:.2f} slices a second, {filled / made / 1e6:.3f} MB a slice")
    print(f"{used / made:.3f} s of one core a slice: tells more than the time where the machine has other work")
    print(f"the whole, {whole} slices: {whole * seconds / made / 60:.1f} min, {whole * filled / made / 1e9:.2f} GB")


def _used() -> float:
    """Give the seconds of processor time that child processes have used."""
    times = os.times()
    return times.children_user + times.children_system


def slices(preset: Preset, subjects: list[Subject], middle_only: bool) -> int:
    """Count the slices that are made of subjects."""
    each = 1 if middle_only or preset.stack is None else preset.stack.slices
    return each * sum(len(visit.regions) for subject in subjects for visit in subject.visits)


if __name__ == "__main__":
    main()
