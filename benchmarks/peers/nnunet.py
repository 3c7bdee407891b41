"""nnU-Net's 2d configuration by its own code, for `benchmarks.peers`: ``python -m benchmarks.peers.nnunet FOLDER``.

Only the length of an epoch and the number of epochs are set: one pass over D3, as in our loop, instead of 250 batches,
and as many as fit in the time instead of 1000. Planner, preprocessing, augmentation, schedule, sliding window and
mirroring at prediction are nnU-Net's own.
"""

import json
import math
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.process_tree import cpu_seconds
from benchmarks.peers.task import Result, Task, skip

PILOT_EPOCHS = 2
CONFIGURATION = "2d"


def main(folder: Path) -> None:
    task = Task.load(folder)
    torch.set_num_threads(task.threads)
    raw = Path(task.dataset)
    # Where nnU-Net looks when it is imported.
    os.environ |= {
        "nnUNet_raw": str(raw.parent),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results"),
    }
    try:
        import nnunetv2  # noqa: F401
    except ImportError as error:
        skip(folder, error)
        return
    started = time.monotonic()
    preprocessed = prepare(raw, folder / "preprocessed", task.threads)
    prepared = time.monotonic() - started
    pilot = epoch_seconds(train(preprocessed, task.inner, PILOT_EPOCHS))
    epochs = max(2, int(task.seconds / statistics.median(pilot[1:])))
    used = cpu_seconds(os.getpid())
    trainer = train(preprocessed, task.inner, epochs)
    used = cpu_seconds(os.getpid()) - used
    seconds = epoch_seconds(trainer)
    Result(
        prepare_s=prepared,
        train_s=sum(seconds),
        epochs=len(seconds),
        seconds_an_epoch=statistics.median(seconds[1:]),
        train_cpu_s=used,
        ms_a_slice=1000 * predict(trainer, raw, folder / "masks"),
        parameters=sum(parameter.numel() for parameter in trainer.network.parameters()),
    ).save(folder)


def prepare(raw: Path, preprocessed: Path, processes: int) -> Path:
    """Let nnU-Net look at the data set, plan and preprocess; put our folds beside its plans."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprints,
        plan_experiments,
        preprocess,
    )

    number = int(raw.name[len("Dataset") :][:3])
    extract_fingerprints([number], num_processes=processes, check_dataset_integrity=True)
    plan_experiments([number])
    preprocess([number], configurations=[CONFIGURATION], num_processes=[processes])
    shutil.copy(raw / "splits_final.json", preprocessed / raw.name)
    return preprocessed / raw.name


def train(preprocessed: Path, fold: int, epochs: int) -> Any:
    """Train for so many passes over D3."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans, dataset = (json.loads((preprocessed / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    plans["continue_training"] = False
    trainer = nnUNetTrainer(plans, CONFIGURATION, fold, dataset, torch.device("cpu"))
    batch = trainer.configuration_manager.batch_size
    training, validation = trainer.do_split()
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = math.ceil(len(training) / batch)
    trainer.num_val_iterations_per_epoch = math.ceil(len(validation) / batch)
    trainer.run_training()
    return trainer


def epoch_seconds(trainer: Any) -> list[float]:
    """Give the seconds of each epoch, with what nnU-Net writes after it."""
    first = trainer.logger.get_value("epoch_start_timestamps", step=0)
    ends = [trainer.logger.get_value("epoch_end_timestamps", step=step) for step in range(trainer.num_epochs)]
    return np.diff([first, *ends]).tolist()


def predict(trainer: Any, raw: Path, masks: Path) -> float:
    """Segment the test scans as ``nnUNetv2_predict`` does, one after the other; give the mean seconds of a slice."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    masks.mkdir()
    started = time.monotonic()
    predictor.predict_from_files_sequential(str(raw / "imagesTs"), str(masks))
    return (time.monotonic() - started) / len(list((raw / "labelsTs").iterdir()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
