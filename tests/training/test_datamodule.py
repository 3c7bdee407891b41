"""Parts, batches, channels and order of a run's data."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.cohort.cache import SliceCache
from musclesense.cohort.folds import Split
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.training.augmentation import Augmentation, transform
from musclesense.training.composition import compose
from musclesense.training.config import LoaderConfig
from musclesense.training.datamodule import Batch, CachedSlices, CaseSampler, NestedFoldDataModule, fits

SIDES = LabelSet.from_config({"left": [1], "right": [2]})
SPLIT = Split(train=("s0", "s1", "s2", "s3", "s4"), validation=("s5",), test=("s6", "s7"))


CHANGES = Augmentation(0.3, [0.8, 1.2], 0.5, 0.5)
COMPOSED = compose("channels=[fat,water]")


def module_of(
    cache: SliceCache,
    *,
    split: Split = SPLIT,
    labels: LabelSet = SIDES,
    overfit_cases: int | None = None,
    pin_memory: bool = False,
    devices: int = 1,
) -> NestedFoldDataModule:
    settings = replace(
        COMPOSED,
        spec=replace(COMPOSED.spec, labels=labels),
        config=replace(COMPOSED.config, augmentation=CHANGES, loader=LoaderConfig(overfit_cases=overfit_cases)),
    )
    return NestedFoldDataModule(cache, split, settings, batch_size=4, seed=7, pin_memory=pin_memory, devices=devices)


def at_epoch(epoch: int, *, training: bool) -> Any:
    """What a datamodule asks of its trainer."""
    progress = SimpleNamespace(current=SimpleNamespace(processed=epoch))
    fit_loop = SimpleNamespace(epoch_progress=progress)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    return SimpleNamespace(training=training, current_epoch=epoch, fit_loop=fit_loop, strategy=strategy)


def pretend(monkeypatch: pytest.MonkeyPatch, *, rank: int, devices: int) -> None:
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: rank)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: devices)


def test_parts_share_no_subject_and_hold_every_case(toy):
    module = module_of(toy)
    parts = [
        {toy.cases[case].acquisition.subject for case in part}
        for part in (module.train_cases, module.validation_cases, module.test_cases)
    ]
    assert parts == [{"s0", "s1", "s2", "s3", "s4"}, {"s5"}, {"s6", "s7"}]
    cases = [case for part in (module.train_cases, module.validation_cases, module.test_cases) for case in part]
    assert sorted(cases) == list(range(16))


def test_parts_of_a_real_split_share_no_subject(slices):
    module = module_of(slices.slices, split=slices.split, labels=LabelSet.from_config({"muscle": []}))
    train, validation, test = (
        {slices.slices.cases[case].acquisition.subject for case in part}
        for part in (module.train_cases, module.validation_cases, module.test_cases)
    )
    assert not train & validation and not train & test and not validation & test
    assert len(train | validation | test) == 12


def test_each_case_comes_once_an_epoch(toy):
    module = module_of(toy)
    for loader, part in (
        (module.train_dataloader(), module.train_cases),
        (module.val_dataloader(), module.validation_cases),
    ):
        batches = list(loader)
        assert sorted(case for batch in batches for case in batch.case.tolist()) == part
        assert len(batches) == len(loader) == -(-len(part) // 4)


def test_only_training_is_shuffled(toy):
    module = module_of(toy)
    assert [case for batch in module.val_dataloader() for case in batch.case.tolist()] == module.validation_cases
    assert [case for batch in module.train_dataloader() for case in batch.case.tolist()] != module.train_cases


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_order_is_a_function_of_seed_and_epoch(seed, epoch):
    def order(seed: int, epoch: int) -> list[int]:
        sampler = CaseSampler(range(50), seed=seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    first = order(seed, epoch)
    assert first == order(seed, epoch)
    assert sorted(first) == list(range(50))
    assert first != order(seed + 1, epoch)
    assert first != order(seed, epoch + 1)


@pytest.mark.parametrize("cases", [1, 7, 8])
@pytest.mark.parametrize("devices", [2, 3])
def test_devices_share_validation_cases_and_train_in_step(monkeypatch, cases, devices):
    val, train, lengths = [], [], []
    for rank in range(devices):
        pretend(monkeypatch, rank=rank, devices=devices)
        own = CaseSampler(range(cases))
        val += list(own)
        assert len(own) == len(list(own))
        shuffled = CaseSampler(range(cases), seed=1)
        train += list(shuffled)
        lengths.append(len(shuffled))
    assert sorted(val) == list(range(cases))
    assert len(set(lengths)) == 1
    assert set(train) == set(range(cases))
    assert len(train) - cases < devices
    assert max(Counter(train).values()) <= -(-len(train) // cases)


def test_loader_of_a_resumed_run_begins_with_its_epoch(toy):
    """Lightning sets the epoch of the sampler after workers have begun to read."""
    resumed, expected = module_of(toy), CaseSampler(module_of(toy).train_cases, seed=7)
    resumed.trainer = at_epoch(3, training=True)
    expected.set_epoch(3)
    assert [case for batch in resumed.train_dataloader() for case in batch.case.tolist()] == list(expected)


@pytest.mark.parametrize("channels", [("water",), ("fat",), ("water", "fat")])
def test_channels_are_picked_by_name_and_order(toy, channels):
    batch = CachedSlices(toy, channels, 2).__getitems__([5, 2])
    positions = [("fat", "water").index(name) for name in channels]
    np.testing.assert_array_equal(batch.images.numpy(), toy.images[[5, 2]][:, positions])
    np.testing.assert_array_equal(batch.air.numpy(), toy.air[[5, 2]][:, positions])
    np.testing.assert_array_equal(batch.classes.numpy(), toy.classes[[5, 2]])
    assert batch.case.tolist() == [5, 2]


def transferred(module: NestedFoldDataModule, batch: Batch) -> Batch:
    """What Lightning does with a batch on its way to the device."""
    return module.on_after_batch_transfer(module.on_before_batch_transfer(batch, 0), 0)


def test_training_batches_are_changed_by_seed_epoch_and_case(toy):
    module = module_of(toy)
    batch = CachedSlices(toy, ("fat", "water"), 2).__getitems__([3, 9])
    drawn = CHANGES.draw(16, seed=7, epoch=2)[[3, 9]]
    images, classes = transform(
        batch.images.float(), batch.classes, air=batch.air, changes=torch.from_numpy(drawn), mirror=SIDES.mirror
    )
    module.trainer = at_epoch(2, training=True)
    changed = transferred(module, batch)
    torch.testing.assert_close(changed.images, images)
    assert torch.equal(changed.classes, classes)
    alone = transferred(module, Batch(*(part[1:] for part in batch)))
    torch.testing.assert_close(alone.images, images[1:])
    module.trainer = at_epoch(3, training=True)
    assert not torch.allclose(transferred(module, batch).images, images)


def test_intensities_change_with_the_same_shapes_and_in_training_alone(toy, monkeypatch):
    plain, batch = module_of(toy), CachedSlices(toy, ("fat", "water"), 2).__getitems__([3, 9])
    monkeypatch.setitem(globals(), "CHANGES", replace(CHANGES, intensity=1.0, brightness=[1.2, 1.2]))
    varied = module_of(toy)
    for module in (plain, varied):
        module.trainer = at_epoch(2, training=True)
    before, after = transferred(plain, batch), transferred(varied, batch)
    assert torch.equal(after.classes, before.classes)
    level = batch.air[:, :, None, None]
    torch.testing.assert_close(after.images, (before.images - level) * 1.2 + level, rtol=0, atol=1e-4)
    varied.trainer = at_epoch(2, training=False)
    torch.testing.assert_close(transferred(varied, batch).images, batch.images.float())


@pytest.mark.parametrize("training", [True, False])
def test_slices_that_a_device_holds_are_the_same(toy, monkeypatch, training):
    read, held = module_of(toy), module_of(toy, pin_memory=True)
    monkeypatch.setattr("musclesense.training.datamodule.fits", lambda size, device: size == toy_size(toy))
    held.trainer = at_epoch(3, training=training)
    held.setup("fit")
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    read.trainer = at_epoch(3, training=training)
    loaders = [one.train_dataloader() if training else one.val_dataloader() for one in (read, held)]
    assert not loaders[1].pin_memory and loaders[1].num_workers == 0
    count = 0
    for one, other in zip(*loaders, strict=True):
        batches = [
            part.on_after_batch_transfer(part.on_before_batch_transfer(batch, 0), 0)
            for part, batch in ((read, one), (held, other))
        ]
        for name, expected, found in zip(Batch._fields, *batches, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=name)
        count += len(one.case)
    assert count == len(read.train_cases if training else read.validation_cases)


def toy_size(cache: SliceCache) -> int:
    return cache.images[:, :2].nbytes + cache.classes.nbytes


@pytest.mark.parametrize(
    ("device", "free", "fit"), [("cuda", 4000, True), ("cuda", 3999, False), ("cpu", 10**9, False)]
)
def test_a_gpu_holds_slices_in_a_part_of_its_free_memory(monkeypatch, device, free, fit):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 10**9))
    assert fits(1000, torch.device(device)) is fit


def test_validation_and_test_batches_are_as_they_are(toy):
    module = module_of(toy)
    module.trainer = at_epoch(2, training=False)
    batch = next(iter(module.val_dataloader()))
    same = transferred(module, batch)
    assert same.images.dtype == torch.float32 and same.classes.dtype == torch.int64
    np.testing.assert_array_equal(same.images.numpy(), toy.images[batch.case].astype(np.float32))
    np.testing.assert_array_equal(same.classes.numpy(), toy.classes[batch.case])


def test_overfitting_validates_on_the_few_cases_it_trains_on(toy):
    module = module_of(toy, overfit_cases=3)
    assert module.train_cases == module.validation_cases == [0, 1, 2]
    assert module.test_cases == [12, 13, 14, 15]


def test_a_part_without_a_case_is_refused(toy):
    with pytest.raises(InputError, match="validation set holds no labelled slice"):
        module_of(toy, split=Split(train=("s0",), validation=("somebody",), test=("s1",)))


def test_each_device_judges_at_least_one_case(toy):
    with pytest.raises(InputError, match="validation set holds 2 labelled slices for 3 devices; give fewer devices"):
        module_of(toy, devices=3)
    assert module_of(toy, devices=2).validation_cases == [10, 11]


@pytest.mark.parametrize("wanted", [True, False])
def test_memory_is_pinned_where_asked(toy, wanted):
    module = module_of(toy, pin_memory=wanted)
    assert module.train_dataloader().pin_memory is wanted
    assert module.val_dataloader().pin_memory is wanted
