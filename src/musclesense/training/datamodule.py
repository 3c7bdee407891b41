"""Training, validation and test cases of one run as batches: from the slice cache, and synthetic slices from a pool."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor, distributed
from torch.utils.data import BatchSampler, DataLoader, Dataset, Sampler

from musclesense.cohort.cache import SliceCache
from musclesense.cohort.folds import Split
from musclesense.errors import InputError
from musclesense.training.augmentation import NO_CHANGE, transform
from musclesense.training.intensity import vary
from musclesense.training.settings import Settings
from musclesense.training.streams import Stream
from musclesense.training.synthesis.pool import Pool
from musclesense.training.synthesis.schedule import Synthesis

HELD_SHARE = 0.25
"""How much of the free memory of a GPU the slices of a run may take, so that several runs may share it."""
_HELD = ("images", "classes", "air", "possible")


class Batch(NamedTuple):
    """Slices of a cache.

    Attributes:
        images: (batch, channels, rows, columns) float16 from the cache, float32 on the device.
        classes: (batch, rows, columns) class indices.
        air: (batch, channels), the value of air in each image.
        case: (batch,) positions in the cache, or behind its end in the pool.
        changes: (batch, 5 or more) random changes of `Augmentation.draw`, then of `Augmentation.draw_intensity`; those
            that change nothing outside training.
        possible: (batch, classes) boolean, whether the slice's region has the class at all.
    """

    images: Tensor
    classes: Tensor
    air: Tensor
    case: Tensor
    changes: Tensor
    possible: Tensor


class CachedSlices(Dataset[Batch]):
    """Batches read from the memory-mapped cache, a whole batch at a time.

    Slice ``n`` of the pool lies at position ``n`` behind the end of the cache.
    """

    def __init__(self, cache: SliceCache, channels: Sequence[str], n_classes: int, pool: Pool | None = None) -> None:
        self._cache = cache
        self._channels = np.array([cache.channels.index(name) for name in channels])
        self._pool = pool
        there = {region: np.isin(range(1, n_classes + 1), [*own]) for region, own in cache.classes_of.items()}
        self._possible = np.array([there[case.acquisition.region] for case in cache.cases])

    def __getitems__(self, cases: list[int]) -> Batch:
        """Read the slices at these positions, those of the cohort first."""
        positions, end = np.array(cases), len(self._cache.cases)
        scanned, drawn = positions[positions < end], positions[positions >= end]
        own = np.ix_(scanned, self._channels)
        arrays = [self._cache.images[own], self._cache.classes[scanned], self._cache.air[own], self._possible[scanned]]
        if self._pool is not None and len(drawn):
            records = self._pool.read(drawn - end)
            every_class = np.ones((len(drawn), self._possible.shape[1]), bool)
            shown = records["image"].reshape(len(drawn), -1, *records["classes"].shape[1:])
            made = (shown, records["classes"], records["air"].reshape(len(drawn), -1), every_class)
            arrays = [np.concatenate(both) for both in zip(arrays, made, strict=True)]
        images, classes, air, possible = map(torch.from_numpy, arrays)
        changes = torch.tensor(NO_CHANGE).expand(len(cases), -1).contiguous()
        return Batch(images, classes, air, torch.from_numpy(np.concatenate([scanned, drawn])), changes, possible)

    @property
    def size(self) -> int:
        """Bytes of the cohort's slices, as the network takes them."""
        cases, _, rows, columns = self._cache.images.shape
        image = len(self._channels) * self._cache.images.itemsize
        return int(cases * rows * columns * (image + self._cache.classes.itemsize))


class HeldSlices(Dataset[Batch]):
    """The same batches, of a cohort that lies in the memory of a device; a batch is read by its position alone."""

    def __init__(self, slices: CachedSlices, cases: int, device: torch.device) -> None:
        held = slices.__getitems__([*range(cases)])
        self._held = held._replace(**{name: getattr(held, name).to(device) for name in _HELD})
        self._device = device

    def __getitems__(self, cases: list[int]) -> Batch:
        """Give the slices at these positions; ``case`` and ``changes`` stay in main memory, as from `CachedSlices`."""
        position = torch.tensor(cases)
        there = (position.pin_memory() if self._device.type == "cuda" else position).to(self._device, non_blocking=True)
        on_device = {name: getattr(self._held, name)[there] for name in _HELD}
        return self._held._replace(**on_device, case=position, changes=self._held.changes[position])


def fits(size: int, device: torch.device) -> bool:
    """Tell whether so many bytes are to lie in the memory of a device: of a GPU with room for them."""
    return device.type == "cuda" and size <= HELD_SHARE * torch.cuda.mem_get_info(device)[0]


@dataclass(eq=False)
class CaseSampler(Sampler[int]):
    """Positions of slices for `CachedSlices`, each once an epoch over all devices.

    Attributes:
        cases: Positions of the cohort's slices.
        seed: Shuffled by (seed, epoch); None keeps the order.
        synthesis: Slices drawn beside, each epoch others, waited for where need be.
        first_drawn: Position of the first of them.
    """

    cases: Sequence[int]
    seed: int | None = None
    synthesis: Synthesis | None = None
    first_drawn: int = 0
    _epoch: int = field(default=0, init=False)

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch; Lightning calls it."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[int]:
        if self.synthesis is not None:
            self.synthesis.wait(self._epoch)
        return iter(self._own().tolist())

    def _own(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        order = np.asarray(self.cases, dtype=np.int64)
        if self.synthesis is not None:
            assert self.seed is not None
            drawn = self.synthesis.sample(seed=self.seed, epoch=self._epoch)
            order = np.concatenate([order, self.first_drawn + drawn])
        if self.seed is not None:
            order = np.random.default_rng([Stream.SHUFFLE, self.seed, self._epoch]).permutation(order)
        if not distributed.is_initialized():
            return order
        rank, devices = distributed.get_rank(), distributed.get_world_size()
        if self.seed is not None:
            # Gradients are averaged over devices in step, so each needs as many cases: some come round again.
            order = np.resize(order, -(-len(order) // devices) * devices)
        return order[rank::devices]


class NestedFoldDataModule(LightningDataModule):
    """The three parts of one run of nested cross-validation, which ``devices`` processes share.

    Args:
        batch_size: Cases a step on each device.
        seed: Of shuffling and augmentation.
        pin_memory: Lock batches in memory, for faster copies to a GPU.

    Raises:
        InputError: A part holds no case, or is judged by more devices than it holds cases.
    """

    def __init__(
        self,
        cache: SliceCache,
        split: Split,
        settings: Settings,
        *,
        batch_size: int,
        seed: int,
        pin_memory: bool,
        devices: int = 1,
    ) -> None:
        super().__init__()
        self.cache = cache
        self.synthesis = settings.synthesis
        self.train_cases, self.validation_cases, self.test_cases = (
            self._cases_of(subjects) for subjects in (split.train, split.validation, split.test)
        )
        if settings.config.loader.overfit_cases is not None:
            self.train_cases = self.validation_cases = self.train_cases[: settings.config.loader.overfit_cases]
        sets = {"training": self.train_cases, "validation": self.validation_cases}
        if split.test:  # none in a search, which tests nothing
            sets["test"] = self.test_cases
        for name, cases in sets.items():
            if not cases:
                raise InputError(f"the {name} set holds no labelled slice; add subjects or ask for fewer folds")
            if len(cases) < devices:
                held = f"{len(cases)} labelled slices for {devices} devices"
                raise InputError(f"the {name} set holds {held}; give fewer devices")
        spec, pool = settings.spec, None if self.synthesis is None else self.synthesis.pool
        self._dataset = CachedSlices(cache, spec.channels, spec.labels.n_classes, pool)
        self._mirror = spec.labels.mirror
        self._settings = settings
        self._batch_size = batch_size
        self._seed = seed
        self._pin_memory = pin_memory
        self._changes: tuple[int, Tensor] | None = None
        self._held: HeldSlices | None = None

    def setup(self, stage: str) -> None:
        """Hold the cohort's slices in the memory of the GPU that trains, where they fit and none are drawn beside."""
        device = self.trainer.strategy.root_device  # type: ignore[union-attr]
        if stage == "fit" and self.synthesis is None and fits(self._dataset.size, device):
            self._held = HeldSlices(self._dataset, len(self.cache.cases), device)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Give the training cases, shuffled."""
        scanned = [] if self.synthesis is not None and self.synthesis.config.replace else self.train_cases
        end = len(self.cache.cases)
        sampler = CaseSampler(scanned, seed=self._seed, synthesis=self.synthesis, first_drawn=end)
        if self.trainer is not None:
            # Lightning sets the epoch, too, but only after workers have begun to read the first one of a resumed run.
            sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
        return self._loader(sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Give the validation cases."""
        return self._loader(CaseSampler(self.validation_cases))

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Look up the changes of a training batch while it is still in main memory, so that no device has to wait."""
        if self.trainer is None or not self.trainer.training:
            return batch
        changes = self._changes_of_epoch(self.trainer.current_epoch)[batch.case]
        return batch._replace(changes=changes.pin_memory() if self._pin_memory else changes)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Bring a batch to 32 bit on its device, and change it at random while training."""
        batch = batch._replace(images=batch.images.float())
        if self.trainer is None or not self.trainer.training:
            return batch._replace(classes=batch.classes.long())
        air, mirror, augmentation = batch.air, self._mirror, self._settings.config.augmentation
        last = batch.changes.shape[1] - augmentation.intensity_columns(batch.images.shape[1])
        changes, intensity = batch.changes[:, :last], batch.changes[:, last:]
        images, classes = transform(batch.images, batch.classes, air=air, changes=changes, mirror=mirror)
        return batch._replace(images=vary(images, air, intensity), classes=classes)

    def _changes_of_epoch(self, epoch: int) -> Tensor:
        if self._changes is None or self._changes[0] != epoch:
            samples = len(self.cache.cases) + (0 if self.synthesis is None else self.synthesis.available(epoch))
            augmentation, when = self._settings.config.augmentation, {"seed": self._seed, "epoch": epoch}
            drawn = augmentation.draw(samples, **when)
            intensity = augmentation.draw_intensity(samples, len(self._settings.spec.channels), **when)
            self._changes = (epoch, torch.from_numpy(np.hstack([drawn, intensity])))
        return self._changes[1]

    def _cases_of(self, subjects: Sequence[str]) -> list[int]:
        wanted = frozenset(subjects)
        return [i for i, case in enumerate(self.cache.cases) if case.acquisition.subject in wanted]

    def _loader(self, sampler: CaseSampler) -> DataLoader[Batch]:
        # What lies on the GPU is read by no other process, and lies in no memory that could be pinned.
        workers = 0 if self._held else self._settings.config.loader.workers
        return DataLoader(
            self._held or self._dataset,
            batch_sampler=BatchSampler(sampler, self._batch_size, drop_last=False),
            collate_fn=_as_it_is,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self._pin_memory and not self._held,
        )


def _as_it_is(batch: Any) -> Any:
    """Leave the batch as `CachedSlices` gives it, whole already."""
    return batch
