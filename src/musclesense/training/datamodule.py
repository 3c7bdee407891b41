"""D3, D4 and D2 of one run as batches from the slice cache."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor, distributed
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from musclesense.cohort.cache import SliceCache
from musclesense.cohort.folds import Split
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.training.augmentation import NO_CHANGE, Augmentation, transform

_SHUFFLE_STREAM = 2


class Batch(NamedTuple):
    """Slices of a cache.

    Attributes:
        images: (batch, channels, rows, columns) float16 from the cache, float32 on the device.
        classes: (batch, rows, columns) class indices.
        air: (batch, channels), the value of air in each image.
        case: (batch,) positions in the cache.
        changes: (batch, 5) random changes of `Augmentation.draw`; those that change nothing outside training.
    """

    images: Tensor
    classes: Tensor
    air: Tensor
    case: Tensor
    changes: Tensor


class CachedSlices(Dataset[Batch]):
    """Batches read from the memory-mapped cache, a whole batch at a time."""

    def __init__(self, cache: SliceCache, channels: Sequence[str]) -> None:
        self._cache = cache
        self._channels = [cache.channels.index(name) for name in channels]

    def __len__(self) -> int:
        return len(self._cache.cases)

    def __getitems__(self, cases: list[int]) -> Batch:
        """Read the cases at these positions of the cache."""
        return Batch(
            torch.from_numpy(np.stack([self._cache.images[case][self._channels] for case in cases])),
            torch.from_numpy(self._cache.classes[cases]),
            torch.from_numpy(self._cache.air[np.ix_(cases, self._channels)]),
            torch.tensor(cases),
            torch.tensor(NO_CHANGE).expand(len(cases), -1).contiguous(),
        )


class CaseSampler(Sampler[int]):
    """Positions of cases in the cache, each once an epoch over all devices.

    Args:
        cases: Positions to draw from.
        seed: Shuffled by (seed, epoch); None keeps the order.
    """

    def __init__(self, cases: Sequence[int], *, seed: int | None = None) -> None:
        self._cases = np.asarray(cases)
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch; Lightning calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[int]:
        return iter(self._own().tolist())

    def _own(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        order = self._cases
        if self._seed is not None:
            order = np.random.default_rng([_SHUFFLE_STREAM, self._seed, self._epoch]).permutation(order)
        rank, devices = (
            (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
        )
        if self._seed is not None:
            # Gradients are averaged over devices in step, so each needs as many cases: some come round again.
            order = np.resize(order, -(-len(order) // devices) * devices)
        return order[rank::devices]


class NestedFoldDataModule(LightningDataModule):
    """The three parts of one run of nested cross-validation.

    Args:
        cache: Slices of every acquisition of the study.
        split: Subjects of D3, D4 and D2.
        channels: Channels of the network, in its order.
        labels: Classes of the cache.
        augmentation: Random changes of D3.
        batch_size: Cases a step on each device.
        workers: Processes that read batches; none reads them in the training process.
        seed: Of shuffling and augmentation.
        overfit_cases: Train and validate on the first so many cases of D3 alone.
        pin_memory: Lock batches in memory, for faster copies to a GPU.

    Raises:
        InputError: A part holds no case.
    """

    def __init__(
        self,
        cache: SliceCache,
        split: Split,
        *,
        channels: Sequence[str],
        labels: LabelSet,
        augmentation: Augmentation,
        batch_size: int,
        workers: int,
        seed: int,
        overfit_cases: int | None,
        pin_memory: bool,
    ) -> None:
        super().__init__()
        self.cache = cache
        self.d3, self.d4, self.d2 = (self._cases_of(subjects) for subjects in (split.d3, split.d4, split.d2))
        if overfit_cases is not None:
            self.d3 = self.d4 = self.d3[:overfit_cases]
        for name, cases in (("D3", self.d3), ("D4", self.d4), ("D2", self.d2)):
            if not cases:
                raise InputError(f"{name} holds no labelled slice; add subjects or ask for fewer folds")
        self._dataset = CachedSlices(cache, channels)
        self._augmentation = augmentation
        self._mirror = labels.mirror
        self._batch_size = batch_size
        self._workers = workers
        self._seed = seed
        self._pin_memory = pin_memory
        self._changes: tuple[int, Tensor] | None = None

    def train_dataloader(self) -> DataLoader[Batch]:
        """Give D3, shuffled."""
        sampler = CaseSampler(self.d3, seed=self._seed)
        if self.trainer is not None:
            # Lightning sets the epoch, too, but only after workers have begun to read the first one of a resumed run.
            sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
        return self._loader(sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Give D4."""
        return self._loader(CaseSampler(self.d4))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Give D2."""
        return self._loader(CaseSampler(self.d2))

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Look up the changes of a training batch while it is still in main memory, so that no device has to wait."""
        if self.trainer is None or not self.trainer.training:
            return batch
        return batch._replace(changes=self._changes_of_epoch(self.trainer.current_epoch)[batch.case])

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Bring a batch to 32 bit on its device, and change it at random while training."""
        batch = batch._replace(images=batch.images.float(), classes=batch.classes.long())
        if self.trainer is None or not self.trainer.training:
            return batch
        images, classes = transform(
            batch.images, batch.classes, air=batch.air, changes=batch.changes, mirror=self._mirror
        )
        return batch._replace(images=images, classes=classes)

    def _changes_of_epoch(self, epoch: int) -> Tensor:
        if self._changes is None or self._changes[0] != epoch:
            drawn = self._augmentation.draw(len(self._dataset), seed=self._seed, epoch=epoch)
            self._changes = (epoch, torch.from_numpy(drawn))
        return self._changes[1]

    def _cases_of(self, subjects: Sequence[str]) -> list[int]:
        wanted = frozenset(subjects)
        return [i for i, case in enumerate(self.cache.cases) if case.acquisition.subject in wanted]

    def _loader(self, sampler: CaseSampler) -> DataLoader[Batch]:
        return DataLoader(
            self._dataset,
            batch_sampler=BatchSampler(sampler, self._batch_size, drop_last=False),
            collate_fn=_as_it_is,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            pin_memory=self._pin_memory,
        )


def _as_it_is(batch: Any) -> Any:
    """Leave the batch as `CachedSlices` gives it, whole already."""
    return batch
