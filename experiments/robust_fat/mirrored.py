"""What the mean over an image and its mirror gives, on phantoms: ``mirrored.py COHORT.csv RUN RUN ...``.

Prints, for each run, the mean Dice over its D4 with and without it. D2 and real scans have no part in the choice.
"""

import argparse
from pathlib import Path

import numpy as np

from musclesense.cohort.folds import NestedFolds
from musclesense.cohort.table import read_table
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.overlap import overlap
from musclesense.segmentation.segmenter import Segmenter


def main() -> None:
    """Read the command line, segment and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs, outer0_inner0 each")
    options = parser.parse_args()
    for run in options.runs:
        d4 = NestedFolds.load(run.parent / "folds.json").split(0, 0).d4
        segmenter = Segmenter.load(run / "checkpoints" / "best.ckpt")
        cases = [case for case in read_table(options.cohort).acquisitions if case.subject in d4]
        for mirrored in (False, True):
            segmenter.networks[0].mirrored = mirrored
            dice = []
            for case in cases:
                fat, mask = read_volume(case.channels["fat"]), read_volume(case.labels("mask"))
                predicted = segmenter.segment({"fat": fat.data}, fat.geometry)
                truth, found = (take_slice(data, fat.geometry, 0) > 0 for data in (mask.data, predicted))
                dice.append(overlap(truth, found).dice)
            print(f"{run.parent.name}: D4 {np.mean(dice):.4f} over {len(dice)} cases, mirrored={mirrored}")


if __name__ == "__main__":
    main()
