"""What a run writes down of itself: learning curves and test scores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
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
from musclesense.networks.predictor import Predictor
from musclesense.studies.layout import RunFolder
from musclesense.studies.overlays import KeptSlice, write_overlays
from musclesense.studies.writing import write_cases, write_epochs
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


def test_fold(
    predictor: Predictor, cache: SliceCache, positions: Sequence[int], settings: Settings
) -> list[ScoredCase]:
    """Score the test cases of a run, each device its share, and write ``cases.csv`` and ``overlays.npz``.

    They are segmented from their files, as by ``musclesense segment``: the cache keeps images in 16 bit, and training
    may compute in 16 bit.
    """
    together = distributed.is_initialized()
    rank, devices = (distributed.get_rank(), distributed.get_world_size()) if together else (0, 1)
    shares: list[list[ScoredCase]] = [[]]
    for _, own in groupby(positions[rank::devices], key=lambda position: cache.cases[position].acquisition.line):
        column = settings.config.labels.column
        shares[0] += score_scan(predictor, cache, list(own), **settings.fold, column=column)
    if together:
        mine, shares = shares[0], [[] for _ in range(devices)]
        distributed.all_gather_object(shares, mine)
    cases = sorted(chain.from_iterable(shares), key=lambda case: case.position)
    if rank == 0:
        write_cases(settings.run, [label for case in cases for label in case.scores])
        write_overlays(settings.run, [case.overlay for case in cases])
    return cases


def score_scan(
    predictor: Predictor, cache: SliceCache, positions: Sequence[int], *, outer: int, inner: int, column: str = "mask"
) -> list[ScoredCase]:
    """Segment labelled slices of one scan, and compare them with its labels in the voxels of the scan."""
    acquisition, spec = cache.cases[positions[0]].acquisition, predictor.spec
    mask = read_reference(acquisition, column)
    images = {name: read_channel(acquisition, name) for name in dict.fromkeys((spec.placed_by, *spec.channels))}
    scored = []
    for position in positions:
        number = cache.cases[position].slice
        slices = {
            name: take_slice(image.data, image.geometry, number).astype(np.float32) for name, image in images.items()
        }
        prepared = spec.frame.prepare(images[spec.placed_by].geometry, slices)
        (probabilities,) = predictor.probabilities(prepared.images[None])
        found = prepared.placement.to_scanner(probabilities)
        scores = score_slice(
            acquisition,
            number,
            mask.geometry,
            outer=outer,
            inner=inner,
            labels=spec.labels,
            classes=cache.classes_of[acquisition.region],
            truth=spec.labels.encode(take_slice(mask.data, mask.geometry, number)),
            predicted=decide(found, spec.threshold),
            probabilities=found,
        )
        overlay = KeptSlice(
            acquisition.line,
            number,
            image=_display(np.asarray(cache.images[position, 0], dtype=np.float32)),
            truth=np.array(cache.classes[position]),
            prediction=decide(probabilities, spec.threshold),
        )
        scored.append(ScoredCase(position, scores, overlay))
    return scored


def mean_scores(cases: Sequence[ScoredCase]) -> dict[str, float]:
    """Give the mean DSC over cases and classes, in all and by region; undefined ones do not count."""
    defined = [(label.region, label.dice) for case in cases for label in case.scores if label.dice is not None]
    names = {"dice": [dice for _, dice in defined]}
    for region in sorted({region for region, _ in defined}):
        names[f"dice_{region}"] = [dice for own, dice in defined if own == region]
    return {name: float(np.mean(dice)) for name, dice in names.items() if dice}


def _display(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = np.percentile(image, (1, 99.5))
    return np.asarray(np.clip((image - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.uint8)
