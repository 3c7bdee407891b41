"""One network in our loop: ``python -m benchmarks.speed.baselines.ours FOLDER``, a worker of that benchmark."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.baselines.task import PILOT_EPOCHS, Task, Worker, measure, skip
from musclesense.errors import InputError
from musclesense.imaging.nifti import read_volume, write_volume
from musclesense.nnunet.record import Record
from musclesense.segmentation.segmenter import Segmenter
from musclesense.studies.reading import read_epochs
from musclesense.training import inputs
from musclesense.training.composition import compose
from musclesense.training.run import train
from musclesense.training.session import make_module
from musclesense.training.settings import Settings


def main(folder: Path) -> None:
    task = Task.load(folder)
    torch.set_num_threads(task.threads)
    try:
        worker = Ours(task, folder)
    except InputError as error:
        skip(folder, error)
        return
    measure(worker, task, folder)


class Ours(Worker):
    """A network that our configuration names; it is made at once, so that one that cannot be is known."""

    def __init__(self, task: Task, folder: Path) -> None:
        self._task, self._folder = task, folder
        self._pilot = self._last = self._configured("pilot", PILOT_EPOCHS)
        self._module = make_module(self._pilot)

    def prepare(self) -> None:
        inputs.prepare(self._pilot)

    def train(self, name: str, epochs: int) -> list[float]:
        self._last = self._configured(name, epochs)
        train(self._last)
        ends = [0.0, *(epoch.seconds or 0.0 for epoch in read_epochs(self._last.run))]
        seconds: list[float] = np.diff(ends).tolist()
        return seconds

    def predict(self, masks: Path) -> float:
        dataset = Path(self._task.dataset)
        segmenter, record = Segmenter.load(self._last.run.path), Record.load(dataset)
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

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._module.parameters())

    def _configured(self, study: str, epochs: int) -> Settings:
        task, own = self._task, self._folder
        length = (f"trainer.max_epochs={epochs}", f"early_stopping.patience={epochs}")
        which = (f"outer={task.outer}", f"inner={task.inner}", f"study={study}", f"cohort.path={task.table}")
        places = (f"runs={own / 'runs'}", f"data={own / 'data'}")
        return compose(*task.overrides, *length, *which, *places, "trainer.accelerator=cpu", "logger=none")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
