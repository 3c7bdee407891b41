"""What happens beside training: early stopping, the record of epochs, scores of the test fold."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch import Tensor, distributed

from musclesense.cohort.cache import SliceCache
from musclesense.files import atomic_path, write_csv
from musclesense.training.datamodule import Batch
from musclesense.training.module import SegmentationModule
from musclesense.training.scoring import CASE_COLUMNS, ScoredCase, score

MONITOR = "val_dice"
_NETWORK_STREAM = 3


class StepSeed(Callback):
    """What a network draws itself, such as dropout, from (seed, epoch, step), so that a resumed run draws it again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Seed the generators of all devices."""
        sequence = np.random.SeedSequence([_NETWORK_STREAM, self._seed, trainer.current_epoch, batch_idx])
        torch.manual_seed(int(sequence.generate_state(1)[0]))


class EarlyStop(EarlyStopping):
    """Early stopping on D4 that stays stopped when a run goes on from its last epoch."""

    def __init__(self, *, patience: int, min_delta: float) -> None:
        super().__init__(
            MONITOR, mode="max", patience=patience, min_delta=min_delta, check_on_train_epoch_end=True, verbose=False
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once when the checkpoint was written by the epoch that ended training."""
        if self.stopped_epoch:
            trainer.should_stop = True


def best_and_last(folder: Path) -> list[Callback]:
    """Keep the best epoch on D4 in ``best.ckpt`` and the last in ``last.ckpt``, both written at the end of an epoch.

    They are two, since ``save_last`` of one writes ``last.ckpt`` only where the epoch is the best so far.
    ``last.ckpt`` is written after ``best.ckpt``, and so knows of it.
    """
    return [
        _Checkpoint(
            folder,
            filename=name,
            monitor=monitor,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        for name, monitor in (("best", MONITOR), ("last", None))
    ]


class _Checkpoint(ModelCheckpoint):
    """A checkpoint that knows the best epoch so far, even where the study's folder was moved in between."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score so far; Lightning's own would drop it in another folder."""
        super().load_state_dict(state_dict | {"dirpath": self.dirpath})


class History(Callback):
    """``metrics.csv``: one row an epoch. The rows live in the checkpoint, so that none is doubled by a resumption."""

    COLUMNS = ("epoch", "train_loss", "val_loss", "val_dice", "learning_rate")

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch that ends."""
        metrics = trainer.callback_metrics
        row: dict[str, float] = {"epoch": trainer.current_epoch}
        row |= {name: float(metrics[name]) for name in ("train_loss", "val_loss", "val_dice")}
        row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.rows.append(row)
        if trainer.is_global_zero:
            write_csv(self._path, self.COLUMNS, self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Give the rows so far."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the run so far."""
        self.rows = list(state_dict["rows"])


class TestFoldScores(Callback):
    """``cases.csv`` and ``overlays.npz``: every case of D2 scored in scanner space.

    Args:
        folder: Of the run.
        cache: That the test batches come from.
        fold: ``outer`` and ``inner``, written into each row.
    """

    def __init__(self, folder: Path, cache: SliceCache, fold: dict[str, int]) -> None:
        self._folder = folder
        self._cache = cache
        self._fold = fold
        self.cases: list[ScoredCase] = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor,  # type: ignore[override]
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the cases of a batch."""
        assert isinstance(pl_module, SegmentationModule)
        for position, probabilities in zip(batch.case.tolist(), outputs.cpu().numpy(), strict=True):
            self.cases.append(score(self._cache, position, probabilities, pl_module))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the cases of all devices together, in the order of the cache, and write them."""
        if distributed.is_initialized():
            gathered: list[list[ScoredCase]] = [[] for _ in range(distributed.get_world_size())]
            distributed.all_gather_object(gathered, self.cases)
            self.cases = [case for share in gathered for case in share]
        self.cases.sort(key=lambda case: case.position)
        if not trainer.is_global_zero:
            return
        rows = [self._fold | row for case in self.cases for row in case.rows]
        write_csv(self._folder / "cases.csv", CASE_COLUMNS, rows)
        with atomic_path(self._folder / "overlays.npz") as draft:
            np.savez_compressed(
                draft,
                allow_pickle=False,
                image=np.stack([case.image for case in self.cases]),
                truth=np.stack([case.truth for case in self.cases]),
                prediction=np.stack([case.prediction for case in self.cases]),
                line=np.array([self._cache.cases[case.position].acquisition.line for case in self.cases]),
                slice=np.array([self._cache.cases[case.position].slice for case in self.cases]),
            )
