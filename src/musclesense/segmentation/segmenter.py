"""From trained networks to a mask in the voxels of a scan."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musclesense.errors import InputError
from musclesense.imaging.frame import Frame, reference_channel, restore
from musclesense.imaging.grid import Grid, slice_count, take_slice
from musclesense.imaging.labels import LabelSet, decide
from musclesense.imaging.nifti import Geometry
from musclesense.storage.paths import is_file, is_folder
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.training.module import SegmentationModule
from musclesense.vocabulary import Region

_SLICES_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class Segmenter:
    """An ensemble of networks that were trained alike; one network is an ensemble of one.

    Attributes:
        networks: Their modules, ready to predict.
        checkpoints: The files they come from.
    """

    networks: tuple[SegmentationModule, ...]
    checkpoints: tuple[Path, ...]

    @classmethod
    def load(cls, model: Path) -> Self:
        """Load the best networks of a study's finished runs, of one run, or one checkpoint.

        Raises:
            InputError: Nothing usable is there, or the networks differ in channels, classes or grid.
        """
        checkpoints = _checkpoints(model)
        networks = tuple(SegmentationModule.load(checkpoint) for checkpoint in checkpoints)
        first = networks[0]
        for network, checkpoint in zip(networks, checkpoints, strict=True):
            for name in ("channels", "labels", "grid", "threshold", "regions"):
                if getattr(network, name) != getattr(first, name):
                    raise InputError(
                        f"{checkpoint}: {name} {getattr(network, name)} differs from {getattr(first, name)} "
                        f"of {checkpoints[0]}; give networks of one study"
                    )
        return cls(networks, checkpoints)

    @property
    def channels(self) -> tuple[str, ...]:
        """Images that the networks take, in order."""
        return self.networks[0].channels

    @property
    def labels(self) -> LabelSet:
        """What they segment."""
        return self.networks[0].labels

    @property
    def grid(self) -> Grid:
        """The frame on which they work."""
        return self.networks[0].grid

    @property
    def threshold(self) -> float:
        """Foreground probability from which a voxel is segmented."""
        return self.networks[0].threshold

    def require_region(self, region: Region) -> None:
        """Refuse a region that the networks were not trained on."""
        trained = self.networks[0].regions
        if region not in trained:
            raise InputError(f"--region {region}: the model was trained on {' and '.join(trained)}; give another model")

    def require_channels(self, given: Collection[str]) -> None:
        """Refuse a scan that lacks images which the networks take."""
        missing = [f"--{name} FILE" for name in self.channels if name not in given]
        if missing:
            raise InputError(
                f"the model takes {', '.join(self.channels)}; add {' '.join(missing)}, or give another model"
            )

    @torch.inference_mode()
    def segment(self, images: Mapping[str, NDArray[Any]], geometry: Geometry) -> NDArray[np.uint8]:
        """Segment every slice of a scan, a few slices at a time.

        Args:
            images: Volume of each channel, all of ``geometry.shape``; channels that the networks do not take
                are left alone.
            geometry: Where the voxels lie.

        Returns:
            Class indices of shape ``geometry.shape``, 0 is background.

        Raises:
            InputError: A channel is missing.
        """
        self.require_channels(images)
        frame = Frame(self.grid, self.channels, reference_channel(images))
        classes = np.zeros(geometry.shape, dtype=np.uint8)
        for first in range(0, slice_count(geometry), _SLICES_AT_ONCE):
            numbers = range(first, min(first + _SLICES_AT_ONCE, slice_count(geometry)))
            slices = ({name: take_slice(image, geometry, n) for name, image in images.items()} for n in numbers)
            prepared = [frame.prepare(geometry, images) for images in slices]
            likely = self._mean_probabilities(torch.from_numpy(np.stack([one.images for one in prepared])))
            for number, one, probabilities in zip(numbers, prepared, likely, strict=True):
                native = restore(one.placement, probabilities)
                take_slice(classes, geometry, number)[:] = decide(native, self.threshold)
        return classes

    def _mean_probabilities(self, images: Tensor) -> NDArray[np.float32]:
        total = self.networks[0].probabilities(images)
        for network in self.networks[1:]:
            total += network.probabilities(images)
        mean: NDArray[np.float32] = (total / len(self.networks)).numpy()
        if not np.isfinite(mean).all():
            raise InputError(f"{self.checkpoints[0]}: gives no numbers for this scan; give another model")
        return mean


def _checkpoints(model: Path) -> tuple[Path, ...]:
    if is_file(model):
        return (model,)
    if not is_folder(model):
        raise InputError(f"{model}: no such model; give a study's folder below runs/, a run's folder or a checkpoint")
    own = RunFolder(model)
    runs = [own] if own.is_finished else StudyFolder(model).finished_runs()
    found = tuple(run.checkpoints.best for run in runs)
    if not found:
        raise InputError(f"{model}: holds no finished run; train one first, or give a checkpoint")
    return found
