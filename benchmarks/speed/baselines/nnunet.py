"""nnU-Net's 2d configuration by its own code: ``python -m benchmarks.speed.baselines.nnunet FOLDER``.

A worker of `benchmarks.speed.baselines`. Only the length of an epoch and the number of epochs are set: one pass over
the training set, as in our loop, instead of 250 batches, and as many as fit in the time instead of 1000. Planner,
preprocessing, augmentation, schedule, sliding window and mirroring at prediction are nnU-Net's own.
"""

import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.baselines.task import Task, Worker, measure, skip

CONFIGURATION = "2d"


def main(folder: Path) -> None:
    task = Task.load(folder)
    torch.set_num_threads(task.threads)
    # Where nnU-Net looks when it is imported.
    os.environ |= {
        "nnUNet_raw": str(Path(task.dataset).parent),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results"),
    }
    try:
        import nnunetv2  # noqa: F401
    except ImportError as error:
        skip(folder, error)
        return
    measure(NnUNet(task, folder), task, folder)


class NnUNet(Worker):
    """nnU-Net by its own planner, trainer and predictor."""

    def __init__(self, task: Task, folder: Path) -> None:
        self._raw, self._fold, self._processes = Path(task.dataset), task.inner, task.threads
        self._preprocessed = folder / "preprocessed" / self._raw.name
        self._trainer: Any = None

    def prepare(self) -> None:
        """Let nnU-Net look at the data set, plan and preprocess; put our folds beside its plans."""
        from nnunetv2.experiment_planning.plan_and_preprocess_api import (
            extract_fingerprints,
            plan_experiments,
            preprocess,
        )

        number = int(self._raw.name[len("Dataset") :][:3])
        extract_fingerprints([number], num_processes=self._processes, check_dataset_integrity=True)
        plan_experiments([number])
        preprocess([number], configurations=[CONFIGURATION], num_processes=[self._processes])
        shutil.copy(self._raw / "splits_final.json", self._preprocessed)

    def train(self, name: str, epochs: int) -> list[float]:
        """The seconds are from one epoch's start to the next, with what nnU-Net writes between them."""
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        files = ("nnUNetPlans.json", "dataset.json")
        plans, dataset = (json.loads((self._preprocessed / file).read_text()) for file in files)
        plans["continue_training"] = False
        trainer = self._trainer = nnUNetTrainer(plans, CONFIGURATION, self._fold, dataset, torch.device("cpu"))
        batch = trainer.configuration_manager.batch_size
        training, validation = trainer.do_split()
        trainer.num_epochs = epochs
        trainer.num_iterations_per_epoch = math.ceil(len(training) / batch)
        trainer.num_val_iterations_per_epoch = math.ceil(len(validation) / batch)
        trainer.run_training()
        first = trainer.logger.get_value("epoch_start_timestamps", step=0)
        ends = [trainer.logger.get_value("epoch_end_timestamps", step=step) for step in range(epochs)]
        seconds: list[float] = np.diff([first, *ends]).tolist()
        return seconds

    def predict(self, masks: Path) -> float:
        """As ``nnUNetv2_predict`` does."""
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        trainer = self._trainer
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
        predictor.predict_from_files_sequential(str(self._raw / "imagesTs"), str(masks))
        return (time.monotonic() - started) / len(list((self._raw / "labelsTs").iterdir()))

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._trainer.network.parameters())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
