"""Networks on held-out phantoms, by several views of a slice.

``python -m experiments.any_scanner_fat.phantoms STUDY COHORT.csv validation|test MODEL MODEL ...``

Prints the mean Dice of each checkpoint over a part of the first fold of a study. Choices are made on validation cases.
"""

import argparse
from pathlib import Path

import numpy as np
from experiments.any_scanner_fat.real_scans import augmented, compare, segment

from musclesense.cohort.folds import NestedFolds
from musclesense.cohort.table import read_table
from musclesense.imaging.nifti import read_volume
from musclesense.studies.layout import StudyFolder

VIEWS = (
    (False, (1.0,)),
    (True, (1.0,)),
    (False, (1.0, 1.3)),
    *((True, scales) for scales in ((1.3,), (1.0, 1.15), (1.0, 1.3), (1.0, 1.5), (1.1, 1.3), (1.0, 1.15, 1.3))),
)
"""Flipped or not, and at which sizes."""


def main() -> None:
    """Read the command line, segment and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("part", choices=("validation", "test"))
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args()
    subjects = getattr(NestedFolds.load(StudyFolder(options.study).folds).split(0, 0), options.part)
    scans = [
        (read_volume(case.channels["fat"]), read_volume(case.mask), case.slice)
        for case in read_table(options.cohort).acquisitions
        if case.subject in subjects and case.mask is not None and case.slice is not None
    ]
    for model in options.models:
        for flip, scales in VIEWS:
            segmenter = augmented(model, flip=flip, scales=scales)
            scores = [compare(segment(segmenter, fat), mask, number).dice for fat, mask, number in scans]
            dice = [score for score in scores if score is not None]
            seen = f"{'flipped, ' if flip else ''}at {', '.join(map(str, scales))}"
            print(f"{model}: {np.mean(dice):.4f} over {len(dice)} cases, {seen}")


if __name__ == "__main__":
    main()
