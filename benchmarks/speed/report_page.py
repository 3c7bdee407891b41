"""Size of the page of a large study, and how long it takes to be written and opened in a browser.

``python -m benchmarks.speed.report_page [--acquisitions 571] [--folder DIR] [--viewer NIIVUE.tgz]``

The study is made: scores and images drawn at random, 5 x 5 runs, written as training writes them. Opening needs
Playwright and a Chromium; without them it is left out.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from musclesense.cohort.folds import NestedFolds
from musclesense.evaluation.report.page import write_report
from musclesense.metrics.case import Case
from musclesense.metrics.overlap import overlap
from musclesense.storage.niivue import Viewer
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.overlays import KeptSlice, write_overlays
from musclesense.studies.writing import open_study, write_cases, write_done, write_epochs

FOLDS, EPOCHS, OPENINGS = 5, 100, 3
GROUPS, REGIONS = ("ALS", "CMT", "HYPOPP", "control"), ("calf", "thigh")
SHAPE = (160, 320)
CONFIG: dict[str, Any] = {
    "seed": 0,
    "runs": "runs",
    "edition": {"name": "professional"},
    "channels": ["fat", "water", "te345", "te575"],
    "region": {"name": "lower_limb", "regions": list(REGIONS)},
    "labels": {"name": "whole_muscle", "classes": {"muscle": []}},
    "cohort": {"path": None, "phantom": {"preset": "paper", "seed": 1}},
    "trainer": {"max_epochs": EPOCHS},
}


def main() -> None:
    """Make the study, write its page and open it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--acquisitions", type=int, default=571)
    parser.add_argument("--folder", type=Path, help="where the study is left (default: nowhere)")
    parser.add_argument("--viewer", type=Path, help="npm's package @niivue/niivue: with scans in a viewer")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study((asked.folder or Path(folder)) / "study", asked.acquisitions)
        began = time.perf_counter()
        page = write_report(study, Viewer(asked.viewer) if asked.viewer else None)
        print(f"written in {time.perf_counter() - began:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        beside = sum(file.stat().st_size for file in StudyFolder(study).report.volumes.glob("*"))
        print(f"beside it, for the viewer: {beside / 1e6:.1f} MB")
        seconds = [opened(page) for _ in range(OPENINGS)]
        print("opened in " + ", ".join(f"{one:.2f}" for one in seconds) + " s" if None not in seconds else "not opened")


def make_study(path: Path, acquisitions: int) -> Path:
    """Write a study of which all runs have finished, one labelled slice an acquisition."""
    study, names = StudyFolder(path), [f"S{number:03}" for number in range(-(-acquisitions // 2))]
    open_study(study, CONFIG, {})
    outer = tuple(tuple(names[fold::FOLDS]) for fold in range(FOLDS))
    rest = [[name for name in names if name not in tested] for tested in outer]
    inner = tuple(tuple(tuple(own[fold::FOLDS]) for fold in range(FOLDS)) for own in rest)
    NestedFolds(table="0" * 64, seed=1, outer=outer, inner=inner).save(study.folds)
    for fold, tested in enumerate(outer):
        for number in range(FOLDS):
            lines = [(2 + 2 * names.index(name) + part, name) for name in tested for part in range(len(REGIONS))]
            write_run(study.run(fold, number), fold, number, [one for one in lines if one[0] < 2 + acquisitions])
    return path


def write_run(folder: RunFolder, outer: int, inner: int, lines: list[tuple[int, str]]) -> None:
    """Write one finished run: a round limb with noise on both sides of each slice."""
    random, cases, kept = np.random.default_rng([outer, inner]), [], []
    folder.path.mkdir()
    for line, subject in lines:
        region = REGIONS[line % 2]
        truth, predicted = limbs(45), limbs(45 + random.normal(0, 1.5))
        counts, fat = overlap(truth, predicted), float(random.uniform(5, 60))
        image = np.clip(limbs(62) * 150.0 - truth * (120 - fat) + random.normal(0, 12, SHAPE), 0, 255)
        values: dict[str, Any] = {
            "slice": 5,
            "label": "muscle",
            "session": "",
            "group": GROUPS[line % 4],
            "region": region,
        }
        measured = {"fat_fraction_true_mask": fat, "fat_fraction_predicted_mask": fat + random.normal(0, 0.5)}
        scores: dict[str, Any] = {
            **vars(counts),
            "dice": counts.dice,
            "hd95_mm": 2.0,
            "hd95_penalised_mm": 2.0,
            **measured,
        }
        cases.append(Case(outer=outer, inner=inner, line=line, subject=subject, **values, **scores))
        kept.append(KeptSlice(line, 5, *(plane.astype(np.uint8) for plane in (image, truth, predicted))))
    write_cases(folder, cases)
    write_overlays(folder, kept)
    columns = {"train_loss": 0.1, "val_loss": 0.2, "val_dice": 0.9, "learning_rate": 0.001}
    write_epochs(folder, [{"epoch": epoch, **columns, "seconds": float(epoch)} for epoch in range(EPOCHS)])
    write_done(folder, outer=outer, inner=inner, scores={}, best_epoch=9, epochs=EPOCHS, seconds=1.0)


def limbs(radius: float) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Give two discs on the grid."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    across = np.minimum(abs(column - SHAPE[1] / 4), abs(column - 3 * SHAPE[1] / 4))
    return np.asarray(np.hypot(row - SHAPE[0] / 2, across) < radius)


def opened(page: Path) -> float | None:
    """Open a page in a new browser, and give the seconds until all of it is loaded; None where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1400, "height": 900})
        began = time.perf_counter()
        tab.goto(page.absolute().as_uri(), wait_until="load")
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


if __name__ == "__main__":
    main()
