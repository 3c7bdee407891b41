"""One network in our loop, for `benchmarks.peers`: ``python -m benchmarks.peers.ours FOLDER``."""

import csv
import os
import statistics
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from benchmarks.peers.process_tree import cpu_seconds
from benchmarks.peers.task import CONF, Result, Task, skip
from musclesense.cohort.nnunet.record import Record
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.segmentation.segmenter import Segmenter
from musclesense.training import inputs
from musclesense.training.config import Config, register
from musclesense.training.folders import run_folder
from musclesense.training.run import make_module, train

PILOT_EPOCHS = 2


def main(folder: Path) -> None:
    task = Task.load(folder)
    torch.set_num_threads(task.threads)
    register()

    def configured(study: str, epochs: int) -> Config:
        length = (f"trainer.max_epochs={epochs}", f"callbacks.patience={epochs}")
        with initialize_config_dir(str(CONF), version_base="1.3"):
            composed = compose("train", [*task.overrides, *length, "trainer.accelerator=cpu", "logger=none"])
        config = cast(Config, composed)
        config.outer, config.inner, config.study = task.outer, task.inner, study
        config.cohort.path, config.runs, config.data = task.table, str(folder / "runs"), str(folder / "data")
        return config

    pilot = configured("pilot", PILOT_EPOCHS)
    try:
        module = make_module(pilot)
    except InputError as error:
        skip(folder, error)
        return
    started = time.monotonic()
    inputs.prepare(pilot)
    prepared = time.monotonic() - started
    train(pilot)
    epochs = max(2, int(task.seconds / statistics.median(epoch_seconds(pilot)[1:])))
    config = configured("whole", epochs)
    used = cpu_seconds(os.getpid())
    train(config)
    used = cpu_seconds(os.getpid()) - used
    seconds = epoch_seconds(config)
    Result(
        prepare_s=prepared,
        train_s=sum(seconds),
        epochs=len(seconds),
        seconds_an_epoch=statistics.median(seconds[1:]),
        train_cpu_s=used,
        ms_a_slice=1000 * predict(run_folder(config), Path(task.dataset), folder / "masks"),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    ).save(folder)


def epoch_seconds(config: Config) -> list[float]:
    """Give the seconds of each epoch of a finished run."""
    with (run_folder(config) / "metrics.csv").open(newline="") as file:
        ends = [0.0, *(float(row["seconds"]) for row in csv.DictReader(file))]
    return np.diff(ends).tolist()


def predict(run: Path, dataset: Path, masks: Path) -> float:
    """Segment the test scans of a data set; give the mean seconds of a slice."""
    segmenter, record = Segmenter.load(run), Record.load(dataset)
    masks.mkdir()
    started = time.monotonic()
    count = 0
    for scan in record.scans:
        if scan.part == "Ts":
            for number in scan.slices:
                images = {
                    name: read_volume(scan.image(dataset, number, channel))
                    for channel, name in enumerate(record.channels)
                }
                geometry = images[record.channels[0]].geometry
                classes = segmenter.segment({name: image.data for name, image in images.items()}, geometry)
                write_volume(masks / f"{scan.case(number)}.nii.gz", classes, geometry, np.uint8)
                count += 1
    return (time.monotonic() - started) / count


if __name__ == "__main__":
    main(Path(sys.argv[1]))
