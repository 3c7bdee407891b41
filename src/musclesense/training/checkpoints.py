"""Checkpoints: which are kept while a run trains, each whole or absent, and the one that it goes on from."""

import io
import math
import time
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from musclesense.errors import InputError
from musclesense.messages import log
from musclesense.storage.atomic import atomic_path
from musclesense.storage.digests import digest_of_bytes
from musclesense.studies.layout import CheckpointFolder
from musclesense.training.callbacks import Averaging
from musclesense.training.record import MONITOR, History


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints, each whole or absent; what was ``last.ckpt`` before becomes ``previous.ckpt``.

    Lightning's own are written to the system's temporary folder and moved from there. Where that is on another disk, a
    move is a copy over the earlier checkpoint, and a kill in the middle of it leaves half a file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write what the trainer gives.

        Raises:
            DiskError: There is no writing there, or no room.
        """
        content = io.BytesIO()  # torch would tell of a full disk in words that name neither file nor reason
        torch.save(checkpoint, content)
        file, folder = Path(path), CheckpointFolder(Path(path).parent)
        with atomic_path(file, keep=folder.previous if file == folder.last else None) as draft:
            draft.write_bytes(content.getbuffer())


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint is there and as it was written, by its checksums, which torch passes over."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return False


def to_go_on_from(folder: CheckpointFolder) -> Path | None:
    """Give the last checkpoint that is whole, or None where training starts from the beginning.

    Damaged ones are told of in a line and removed. A damaged ``best.ckpt`` cannot be made again from a later epoch:
    then all are.
    """
    best, states = folder.best, [path for path in (folder.last, folder.previous) if path.is_file()]
    if states and not is_whole(best):
        log.warning(f"{best}: missing or damaged; the run is trained from the beginning")
        for path in (*states, best):  # the best one last: should this be interrupted, it says again what is to be done
            path.unlink(missing_ok=True)
        return None
    for number, path in enumerate(states, start=1):
        if is_whole(path):
            return path
        path.unlink()
        instead = f"goes on from {states[number].name}" if number < len(states) else "is trained from the beginning"
        log.warning(f"{path}: damaged; the run {instead}")
    return None


def require_best(path: Path, epoch: int, digest: str | None = None) -> None:
    """Refuse to test a checkpoint that is damaged, of another epoch than the best one, or of another run.

    Args:
        path: The checkpoint.
        epoch: The best one.
        digest: Of the file as the run wrote it, or None where that is not known.

    Raises:
        InputError: It is.
    """
    if not is_whole(path):
        raise InputError(f"{path}: missing or damaged; give the same command again, which trains the run anew")
    found = torch.load(path, map_location="cpu", weights_only=True)["epoch"]
    remedy = f"remove {path.parent} and give the same command again, which trains the run anew"
    if found != epoch:
        raise InputError(f"{path}: of epoch {found}, and the best one is {epoch}; {remedy}")
    if digest not in (None, digest_of_bytes(path)):
        raise InputError(f"{path}: is not the file that this run wrote; put that back, or {remedy}")


class Pace(Callback):
    """Whether a run writes what it has after the epoch that ends: so many ``seconds`` after it last did, or at the end.

    On a GPU an epoch of few slices takes less time than writing does. All devices do alike. A callback after
    `EarlyStop`, which tells the end, and before those that write.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._written = -math.inf
        self.is_due = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the clock, that of the first device."""
        is_last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        now = time.monotonic()
        self.is_due = trainer.strategy.broadcast(is_last or now - self._written >= self._seconds)
        if self.is_due:
            self._written = now


class LastState(ModelCheckpoint):
    """``last.ckpt``, all that a run needs to go on, when it is due."""

    def __init__(self, folder: CheckpointFolder, pace: Pace) -> None:
        super().__init__(
            folder.path, filename=folder.last.stem, save_on_train_epoch_end=True, enable_version_counter=False
        )
        self._pace = pace

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it where it is time."""
        if self._pace.is_due:
            super().on_train_epoch_end(trainer, pl_module)


@dataclass(eq=False)
class KeptWeights(Callback):
    """Weights that were validated after an epoch, enough to use the network, not to go on.

    ``best.ckpt`` is of the epoch best on the validation cases so far, the first of equal ones. Which it is, is read
    from the record of epochs, which lives in ``last.ckpt``, written after it: ``history`` and ``pace`` are callbacks
    before this one. Until both are due, the best weights are kept in memory. Beside, ``every`` so many epochs are kept
    as ``epoch-0009.ckpt``. ``best`` is the digest of ``best.ckpt``, on the device that writes.
    """

    folder: CheckpointFolder
    history: History
    pace: Pace
    every: int | None
    averaging: Averaging | None
    best: str | None = None
    _waiting: dict[str, Any] | None = field(default=None, init=False)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the weights where it is their turn, and where they are better than all before."""
        epoch = trainer.current_epoch
        if trainer.is_global_zero and self.every and (epoch + 1) % self.every == 0:
            WholeCheckpoints().save_checkpoint(self._weights(trainer, pl_module), self.folder.epoch(epoch))
        *earlier, score = (row[MONITOR] for row in self.history.rows)
        if score > max(earlier, default=-math.inf):
            self.best = None  # on every device, since the file that it names is about to be another
            if trainer.is_global_zero:
                self._waiting = self._weights(trainer, pl_module)
            if self._waiting is not None and not self.pace.is_due:  # the next step changes them in place
                self._waiting["state_dict"] = {name: one.clone() for name, one in self._waiting["state_dict"].items()}
        if self.pace.is_due:
            self._write_best()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the best weights where training ended within an epoch, as a limit of steps ends it."""
        self._write_best()

    def state_dict(self) -> dict[str, Any]:
        """Give the digest of the best weights so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take that of the run so far."""
        self.best = state_dict["best"]

    def _write_best(self) -> None:
        if self._waiting is not None:
            WholeCheckpoints().save_checkpoint(self._waiting, self.folder.best)
            self.best, self._waiting = digest_of_bytes(self.folder.best), None

    def _weights(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        """Give the weights as they are now, without the optimizer's state, which is twice their size for AdamW."""
        checkpoint = {
            "epoch": trainer.current_epoch,
            "global_step": trainer.global_step,
            "pytorch-lightning_version": lightning.__version__,
            "state_dict": module.state_dict() if self.averaging is None else self.averaging.weights(),
            module.CHECKPOINT_HYPER_PARAMS_KEY: dict(module.hparams),
        }
        module.on_save_checkpoint(checkpoint)
        return checkpoint
