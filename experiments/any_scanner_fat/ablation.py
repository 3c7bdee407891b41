"""What each ingredient of the generator gives: networks trained without it, on phantoms with all and on a real scan.

``MUSCLESENSE_REAL_DATA=DIR python -m experiments.any_scanner_fat.ablation OUT.csv RUN ...`` writes a row a run: what
was left out, the test Dice (phantoms with every ingredient), and the mean Dice on slices 2..8 of ``ideal_thigh``.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import yaml
from experiments.any_scanner_fat.real_scans import mean_dice, segment

from musclesense.imaging.nifti import read_volume
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.records import write_csv
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_done


def main() -> None:
    """Read the command line and score every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    folder = Path(os.environ["MUSCLESENSE_REAL_DATA"]) / "ideal_thigh"
    fat, labels = read_volume(folder / "fat.nii.gz"), read_volume(folder / "muscles.nii.gz")
    rows = []
    for run in map(RunFolder, options.runs):
        config = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        done = read_done(run)
        predicted = segment(Segmenter.load(run.checkpoints.best), fat)
        rows.append(
            {
                "without": " ".join(config["synthesis"]["without"]) or "nothing",
                "seed": config["seed"],
                "phantom_dice": round(done["scores"]["dice"], 4),
                "real_dice": round(mean_dice(predicted, labels), 4),
                "minutes": round(done["seconds"] / 60, 1),
            }
        )
        print(rows[-1])
    rows.sort(key=lambda row: (row["without"], row["seed"]))
    write_csv(options.out, ("without", "seed", "phantom_dice", "real_dice", "minutes"), rows)
    for without in dict.fromkeys(row["without"] for row in rows):
        own = [row for row in rows if row["without"] == without]
        phantom, real = (np.mean([row[name] for row in own]) for name in ("phantom_dice", "real_dice"))
        print(f"without {without}: phantoms {phantom:.4f}, real {real:.4f}, mean of {len(own)} seeds")


if __name__ == "__main__":
    main()
