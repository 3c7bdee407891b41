"""A made-up study of 5 x 5 runs: scores drawn at random, two round limbs for every case."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.cohort.folds import NestedFolds
from musclesense.evaluation.report.page import write_report
from musclesense.metrics.case import Case
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.overlays import KeptSlice, write_overlays
from musclesense.studies.writing import open_study, record_failure, write_cases, write_done, write_epochs

GROUPS = ("ALS", "CMT", "HYPOPP", "control")
REGIONS = ("calf", "thigh")
ROWS, COLUMNS = 160, 320
ALL_RUNS = [(outer, inner) for outer in range(5) for inner in range(5)]
EPOCHS = 12
Lines = dict[tuple[str, str], int]
"""Line of the table of each subject and region."""


def limbs(radius: float) -> NDArray[np.bool_]:
    """Two discs on the grid."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    centres = np.array([[ROWS / 2, COLUMNS / 4], [ROWS / 2, 3 * COLUMNS / 4]])
    return np.any([np.hypot(row - y, column - x) < radius for y, x in centres], axis=0)


def made_folds(subjects: list[str]) -> NestedFolds:
    outer = [subjects[fold::5] for fold in range(5)]
    inner = [[[s for s in subjects if s not in tested][fold::5] for fold in range(5)] for tested in outer]
    return NestedFolds(
        table="0" * 64,
        seed=1,
        outer=tuple(map(tuple, outer)),
        inner=tuple(tuple(map(tuple, folds)) for folds in inner),
    )


def write_run(folder: RunFolder, outer: int, inner: int, subjects: Iterable[str], lines: Lines) -> None:
    folder.path.mkdir()
    random = np.random.default_rng([outer, inner])
    cases, kept = [], []
    for subject in subjects:
        infiltration = 5 + 12 * (lines[subject, "calf"] % 7)
        for region in REGIONS:
            radius = 42 if region == "calf" else 52
            truth, prediction = limbs(radius), limbs(radius + random.normal(0, 1.5))
            tp, fp, fn = (int(np.sum(x)) for x in (truth & prediction, ~truth & prediction, truth & ~prediction))
            noise = random.normal(0, 12, (ROWS, COLUMNS))
            image = np.clip(limbs(radius + 16) * 190 - truth * (150 - 1.4 * infiltration) + noise, 0, 255)
            line = lines[subject, region]
            distance, found = abs(random.normal(2, 1)), infiltration + random.normal(0.3, 0.8)
            cases.append(
                Case(
                    outer=outer,
                    inner=inner,
                    line=line,
                    subject=subject,
                    session="",
                    group=GROUPS[int(subject[1:]) % len(GROUPS)],
                    region=region,
                    slice=5,
                    label="muscle",
                    dice=2 * tp / (2 * tp + fp + fn),
                    hd95_mm=distance,
                    volume_true_ml=(tp + fn) * 0.0156,
                    volume_predicted_ml=(tp + fp) * 0.0156,
                    fat_fraction_true_mask=infiltration,
                    fat_fraction_predicted_mask=found,
                    tp=tp,
                    fp=fp,
                    fn=fn,
                    hd95_penalised_mm=distance,
                    measured_fat_fraction_true_mask=infiltration,
                    measured_fat_fraction_predicted_mask=found,
                    asd_mm=distance / 3,
                    asd_penalised_mm=distance / 3,
                    oracle_dice=(2 * tp / (2 * tp + fp + fn) + 1) / 2,
                )
            )
            pictures = (plane.astype(np.uint8) for plane in (image, truth, prediction))
            kept.append(KeptSlice(line, 5, *pictures))
    write_cases(folder, cases)
    write_overlays(folder, kept)
    write_curves(folder, random)
    write_done(folder, outer=outer, inner=inner, scores={}, best_epoch=9, epochs=EPOCHS, seconds=1.0)
    forget_digests(folder)


def forget_digests(folder: RunFolder) -> None:
    """Let the record of a run be as releases wrote it that knew no digests: then its files may be changed."""
    done = json.loads(folder.done.read_text())
    folder.done.write_text(json.dumps({key: value for key, value in done.items() if key not in ("files", "cohort")}))


def write_curves(folder: RunFolder, random: np.random.Generator, epochs: int = EPOCHS) -> None:
    rows = []
    for epoch in range(epochs):
        loss = np.exp(-epoch / 3) + 0.1
        rows.append(
            {
                "epoch": epoch,
                "train_loss": loss * random.uniform(0.9, 1.1),
                "val_loss": loss * random.uniform(0.95, 1.3),
                "val_dice": 0.96 - 0.8 * np.exp(-epoch / 2) * random.uniform(0.9, 1.1),
                "learning_rate": 0.001,
                "seconds": 1.0 + epoch,
            }
        )
    write_epochs(folder, rows)


StudyWriter = Callable[..., Path]


def study_writer(parent: Path) -> StudyWriter:
    """Give a function that writes study folders below ``parent``, in which the given runs have finished."""

    def write(
        name: str = "demo",
        *,
        finished: Iterable[tuple[int, int]] = ALL_RUNS,
        table: Path | None = None,
        subjects: int = 10,
    ) -> Path:
        study = StudyFolder(parent / name)
        config = {
            "seed": 0,
            "runs": "runs",
            "folds": {"outer": 5, "inner": 5, "seed": 0},
            "edition": {"name": "professional"},
            "channels": ["fat", "water", "te345", "te575"],
            "region": {"name": "lower_limb", "regions": list(REGIONS)},
            "labels": {"name": "whole_muscle", "classes": {"muscle": []}},
            "inference": {"threshold": 0.5},
            "cohort": {"path": None if table is None else str(table), "phantom": {"preset": "demo", "seed": 1}},
            "grid": {"spacing_mm": 1.25, "rows": ROWS, "columns": COLUMNS, "fit": "centre"},
            "augmentation": {"shift": 0.5, "scale": [0.7, 1.3], "flip_horizontal": 0.5, "flip_vertical": 0.5},
            "model": {"name": "unet", "width": 16, "depth": 4},
            "trainer": {"max_epochs": EPOCHS},
        }
        open_study(study, config, {})
        names = [f"S{number:02}" for number in range(subjects)]
        lines = {key: line for line, key in enumerate(((s, r) for s in names for r in REGIONS), start=2)}
        folds = made_folds(names)
        folds.save(study.folds)
        for outer, inner in finished:
            write_run(study.run(outer, inner), outer, inner, folds.outer[outer], lines)
        return study.path

    return write


@pytest.fixture
def write_study(tmp_path: Path) -> StudyWriter:
    """Write a study folder of its own for one test."""
    return study_writer(tmp_path)


@pytest.fixture(scope="session")
def reported_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with two finished runs, a failed one and a written report, to be read only."""
    folder = study_writer(tmp_path_factory.mktemp("reported"))(finished=[(0, 0), (1, 1)])
    failed = StudyFolder(folder).run(0, 1)
    failed.path.mkdir()
    record_failure(failed, "loss <is> not finite", outer=0, inner=1, details="Traceback ...")
    write_report(folder)
    return folder


CaseMaker = Callable[..., Case]


@pytest.fixture
def make_case() -> CaseMaker:
    """Make one case, of which a test names only what it is about."""

    def make(**values: Any) -> Case:
        usual = {
            "outer": 0,
            "inner": 0,
            "line": 2,
            "subject": "S00",
            "session": "",
            "group": "control",
            "region": "calf",
            "slice": 5,
            "label": "muscle",
            "dice": 0.9,
            "hd95_mm": 2.0,
            "volume_true_ml": 100.0,
            "volume_predicted_ml": 101.0,
            "fat_fraction_true_mask": 10.0,
            "fat_fraction_predicted_mask": 10.5,
            "tp": 90,
            "fp": 10,
            "fn": 10,
        }
        return Case(**{**usual, **values})

    return make
