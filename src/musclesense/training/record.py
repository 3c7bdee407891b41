"""What a run writes down of itself: learning curves and test scores."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import distributed
from torch.optim import Optimizer

from musclesense.cohort.cache import SliceCache
from musclesense.cohort.images import read_channel, read_reference
from musclesense.imaging.grid import take_slice
from musclesense.imaging.labels import decide
from musclesense.metrics.case import Case, score_slice
from musclesense.networks.spec import NetworkSpec
from musclesense.studies.layout import RunFolder
from musclesense.studies.overlays import KeptSlice, write_overlays
from musclesense.studies.writing import write_cases, write_epochs
from musclesense.training.datamodule import Batch
from musclesense.training.module import SegmentationModule
from musclesense.training.settings import Settings

MONITOR = "val_dice"
"""By which epochs are compared."""


class History(Callback):
    """``metrics.csv``: one row an epoch. The rows live in the checkpoint, so that none is doubled by a resumption.

    ``learning_rate`` is that of the epoch's last step, ``seconds`` what training took up to the end of the epoch:
    validation and waiting among it, the time between an interruption and the resumption not.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._started = self._learning_rate = 0.0
        self.rows: list[dict[str, float]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Look at the learning rate while it is in use: the schedule goes on right after the step."""
        self._learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch that ends."""
        metrics = trainer.callback_metrics
        measured = {name: float(metrics[name]) for name in ("train_loss", "val_loss", "val_dice")}
        measured |= {"learning_rate": self._learning_rate, "seconds": round(time.monotonic() - self._started, 1)}
        self.rows.append({"epoch": trainer.current_epoch, **measured})
        if trainer.is_global_zero:
            write_epochs(self._folder, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Give the rows so far."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the run so far."""
        self.rows = list(state_dict["rows"])
        if self.rows:
            self._started -= self.rows[-1]["seconds"]


@dataclass(frozen=True, eq=False)
class ScoredCase:
    """One test case: its position in the cache, a score for each class that its region has, and its pictures."""

    position: int
    scores: tuple[Case, ...]
    overlay: KeptSlice


def score(
    cache: SliceCache,
    position: int,
    probabilities: NDArray[np.float32],
    spec: NetworkSpec,
    *,
    outer: int,
    inner: int,
    column: str = "mask",
) -> ScoredCase:
    """Bring probabilities (classes, rows, columns) back to the scan and compare them with its labels."""
    case = cache.cases[position]
    acquisition = case.acquisition
    mask, image = read_reference(acquisition, column), read_channel(acquisition, cache.placed_by)
    placement = spec.grid.place(image.geometry, take_slice(image.data, image.geometry, case.slice))
    scores = score_slice(
        acquisition,
        case.slice,
        mask.geometry,
        outer=outer,
        inner=inner,
        labels=spec.labels,
        classes=cache.classes_of[acquisition.region],
        truth=spec.labels.encode(take_slice(mask.data, mask.geometry, case.slice)),
        predicted=decide(placement.to_scanner(probabilities), spec.threshold),
    )
    overlay = KeptSlice(
        acquisition.line,
        case.slice,
        image=_display(np.asarray(cache.images[position, 0], dtype=np.float32)),
        truth=np.array(cache.classes[position]),
        prediction=decide(probabilities, spec.threshold),
    )
    return ScoredCase(position, scores, overlay)


def _display(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, (1, 99.5))
    return np.asarray(np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)


class TestFoldScores(Callback):
    """``cases.csv`` and ``overlays.npz``: every test case of a run scored in scanner space."""

    def __init__(self, settings: Settings, cache: SliceCache) -> None:
        self._settings = settings
        self._cache = cache
        self.cases: list[ScoredCase] = []

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *_: Any, **__: Any
    ) -> None:
        """Score the cases of a batch."""
        assert isinstance(pl_module, SegmentationModule)
        for position, probabilities in zip(batch.case.tolist(), outputs.cpu().numpy(), strict=True):
            fold, column = self._settings.fold, self._settings.config.labels.column
            self.cases.append(score(self._cache, position, probabilities, pl_module.spec, **fold, column=column))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the cases of all devices together, in the order of the cache, and write them."""
        if distributed.is_initialized():
            gathered: list[list[ScoredCase]] = [[] for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(gathered, self.cases)
            self.cases = [case for share in gathered for case in share]
        self.cases.sort(key=lambda case: case.position)
        if trainer.is_global_zero:
            write_cases(self._settings.run, [label for case in self.cases for label in case.scores])
            write_overlays(self._settings.run, [case.overlay for case in self.cases])
