"""The slice cache: made once, whole or absent, holding what preprocessing by hand gives."""

import dataclasses
import errno
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from musclesense.cohort import cache
from musclesense.cohort.cache import SliceCache, cache_folder, common_channels, digests_of_images, open_or_build
from musclesense.cohort.table import Acquisition
from musclesense.errors import DiskError
from musclesense.imaging.body import background_level
from musclesense.imaging.frame import Frame
from musclesense.imaging.grid import Grid, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, read_volume, write_volume
from musclesense.vocabulary import Limbs, Region

from ..shared.waiting import LONGEST_SECONDS

GRID = Grid(spacing_mm=4.0, rows=20, columns=32)
SIDES = LabelSet.from_config({"left": [1], "right": [2]})
MUSCLE = LabelSet.from_config({"muscle": []})


def volume(seed: int) -> np.ndarray:
    """Two bright discs in noise, (40, 30, 3), columns along the first axis as scanners store them."""
    i, j = np.mgrid[:40, :30]
    discs = ((i - 11) ** 2 + (j - 15) ** 2 < 64) | ((i - 29) ** 2 + (j - 15) ** 2 < 64)
    random = np.random.default_rng(seed)
    return (100 * discs[..., None] + 5 + random.random((40, 30, 3)) * 4).astype(np.float32)


@pytest.fixture
def cohort(tmp_path: Path) -> list[Acquisition]:
    """Two acquisitions: one names its slice, the other is labelled in slices 0 and 2."""
    geometry = Geometry.from_affine((40, 30, 3), np.diag([-3.0, -3.0, 8.0, 1.0]))
    acquisitions = []
    for number in range(2):
        files = {name: tmp_path / f"{number}_{name}.nii.gz" for name in ("fat", "water", "te345", "mask")}
        for position, name in enumerate(("fat", "water", "te345")):
            write_volume(files[name], volume(10 * number + position), geometry, np.float32)
        mask = np.zeros((40, 30, 3), dtype=np.uint8)
        mask[8:15, 12:19, 0::2], mask[26:33, 12:19, 0::2] = 2, 1
        mask[:, :, 1] = number == 0
        write_volume(files.pop("mask"), mask, geometry, np.uint8)
        if number == 1:
            files.pop("te345")
        acquisitions.append(
            Acquisition(
                line=2 + number,
                subject=f"s{number}",
                region=Region.CALF,
                channels=files,
                mask=tmp_path / f"{number}_mask.nii.gz",
                slice=1 if number == 0 else None,
            )
        )
    return acquisitions


def built(root: Path, cohort: Sequence[Acquisition], *, grid: Grid = GRID, labels: LabelSet = SIDES) -> SliceCache:
    folder = cache_folder(root, cohort, digests_of_images(root, cohort, column="mask"), grid=grid, labels=labels)
    return open_or_build(folder, cohort, grid=grid, labels=labels)


def test_holds_the_labelled_slices_of_the_channels_that_all_have(cohort, tmp_path):
    made = built(tmp_path / "cache", cohort)
    assert made.channels == common_channels(cohort) == ("fat", "water")
    assert [(case.acquisition, case.slice) for case in made.cases] == [
        (cohort[0], 1),
        (cohort[1], 0),
        (cohort[1], 2),
    ]
    assert made.images.shape == (3, 2, 20, 32) and made.images.dtype == np.float16
    assert made.classes.shape == (3, 20, 32) and made.classes.dtype == np.uint8
    assert made.air.shape == (3, 2) and made.air.dtype == np.float32
    assert isinstance(made.images, np.memmap) and not made.images.flags.writeable


def test_knows_which_classes_a_region_has(cohort, tmp_path):
    """The one of slice 1 is labelled in full, on both sides by value 1; the other has both."""
    thigh = dataclasses.replace(cohort[0], region=Region.THIGH)
    assert built(tmp_path / "cache", [thigh, cohort[1]]).classes_of == {
        Region.THIGH: frozenset({1}),
        Region.CALF: frozenset({1, 2}),
    }


def test_content_is_preprocessing_by_hand(cohort, tmp_path):
    made = built(tmp_path / "cache", cohort)
    for position, case in enumerate(made.cases):
        acquisition = case.acquisition
        volumes = {name: read_volume(acquisition.channels[name]) for name in ("fat", "water")}
        slices = {name: take_slice(v.data, v.geometry, case.slice) for name, v in volumes.items()}
        placement = GRID.place(volumes["fat"].geometry, slices["fat"])
        for channel, image in enumerate(slices.values()):
            on_grid = placement.to_grid(image, background=background_level(image)).astype(np.float64)
            expected = (on_grid - on_grid.mean()) / on_grid.std()
            np.testing.assert_allclose(made.images[position, channel], expected, atol=2e-3)
            air = (background_level(image) - on_grid.mean()) / on_grid.std()
            assert made.air[position, channel] == pytest.approx(air, abs=1e-4)
        assert acquisition.mask is not None
        mask = read_volume(acquisition.mask)
        native = take_slice(mask.data, mask.geometry, case.slice).astype(np.uint8)
        np.testing.assert_array_equal(made.classes[position], placement.labels_to_grid(native, 2))
    # The first axis begins on the right, where label 2 was drawn, and columns run from right to left.
    left, right = (np.nonzero(made.classes[1] == index)[1].mean() for index in (1, 2))
    assert right < left


def test_masks_of_floats_hold_the_same_classes(cohort, tmp_path):
    whole = built(tmp_path / "cache", cohort)
    mask = read_volume(cohort[1].mask)
    stored = tmp_path / "float_mask.nii.gz"
    write_volume(stored, mask.data.astype(np.float32) * np.float32(0.9999999), mask.geometry, np.float32)
    other = built(tmp_path / "cache", [cohort[0], dataclasses.replace(cohort[1], mask=stored)])
    np.testing.assert_array_equal(other.classes, whole.classes)


def test_name_follows_files_rows_grid_and_labels(cohort, tmp_path):
    def name(
        rows: Sequence[Acquisition] = cohort, *, grid: Grid = GRID, labels: LabelSet = SIDES, kind: str = "z_score"
    ) -> str:
        digests = digests_of_images(tmp_path, rows, column="mask")
        return cache_folder(tmp_path, rows, digests, grid=grid, labels=labels, normalisation=kind).name

    before = name()
    assert before == name()
    fat, elsewhere = cohort[0].channels["fat"], tmp_path / "elsewhere.nii.gz"
    os.utime(fat, ns=(0, 0))
    shutil.copy(fat, elsewhere)
    moved = dataclasses.replace(cohort[0], channels={**cohort[0].channels, "fat": elsewhere})
    assert before == name() == name([moved, cohort[1]]), "what an image holds counts, not where and of when it is"
    changed = [
        name(grid=Grid(spacing_mm=4.0, rows=20, columns=33)),
        name(labels=MUSCLE),
        name(kind="percentile"),
        name(kind="body_z_score"),
        name(cohort[:1]),
        name([cohort[0], dataclasses.replace(cohort[1], slice=0)]),
        name([cohort[0], dataclasses.replace(cohort[1], subject="s9")]),
        name([cohort[0], dataclasses.replace(cohort[1], limbs=Limbs.LEFT)]),
        name([cohort[0], dataclasses.replace(cohort[1], mask=cohort[0].mask)]),
        name([cohort[0], dataclasses.replace(cohort[1], fat_fraction=fat)]),
        name([cohort[0], dataclasses.replace(cohort[1], fat_fraction=cohort[1].channels["fat"])]),
    ]
    geometry = read_volume(fat).geometry
    write_volume(fat, volume(99), geometry, np.float32)
    os.utime(fat, ns=(0, 0))
    changed.append(name())
    assert len({before, *changed}) == 1 + len(changed)


def test_a_changed_image_is_read_again(cohort, tmp_path):
    before = np.array(built(tmp_path / "cache", cohort).images)
    geometry = read_volume(cohort[0].channels["fat"]).geometry
    write_volume(cohort[0].channels["fat"], volume(99), geometry, np.float32)
    after = built(tmp_path / "cache", cohort).images
    assert not np.array_equal(after[0, 0], before[0, 0])
    np.testing.assert_array_equal(after[1:], before[1:])


def _count_and_build(builds: Path, root: Path, rows: list[Acquisition]) -> None:
    original = cache._build

    def counted(*arguments: object) -> None:
        (builds / f"{os.getpid()}-{threading.get_ident()}").touch()
        time.sleep(0.2)
        original(*arguments)  # type: ignore[arg-type]

    cache._build = counted  # type: ignore[assignment]
    try:
        made = built(root, rows)
    finally:
        cache._build = original
    assert len(made.cases) == 3 and made.images[0].std() > 0


def test_processes_that_start_together_build_once(cohort, tmp_path):
    builds = tmp_path / "builds"
    builds.mkdir()
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count_and_build, args=(builds, tmp_path / "cache", cohort)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LONGEST_SECONDS)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list(builds.iterdir())) == 1


def test_threads_that_start_together_build_once(cohort, tmp_path, monkeypatch):
    calls, original = [], cache._build
    monkeypatch.setattr(cache, "_build", lambda *a: (calls.append(1), time.sleep(0.1), original(*a)))
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(len(built(tmp_path / "cache", cohort).cases))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST_SECONDS)
    assert results == [3] * 4
    assert len(calls) == 1


def test_a_build_that_fails_leaves_nothing_and_can_be_tried_again(cohort, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Frame, "prepare", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            built(tmp_path / "cache", cohort)
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
    assert len(built(tmp_path / "cache", cohort).cases) == 3


def test_an_open_cache_is_not_built_again(cohort, tmp_path, monkeypatch):
    made = built(tmp_path / "cache", cohort)
    monkeypatch.setattr(cache, "_build", lambda *_: pytest.fail("built again"))
    np.testing.assert_array_equal(built(tmp_path / "cache", cohort).images, made.images)


def test_a_full_disk_is_an_error_and_no_death(tmp_path, cohort, monkeypatch):
    """Pages of a mapped file that find no room end a process without a word: the room is taken first."""
    asked = []

    def full(descriptor: int, start: int, length: int) -> None:
        asked.append((start, length, os.fstat(descriptor).st_size))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    folder = tmp_path / "cache" / "x"
    with pytest.raises(DiskError, match=r"x: cannot be written \(No space left"):
        open_or_build(folder, cohort, grid=GRID, labels=MUSCLE)
    ((start, length, size),) = asked
    assert start == 0 and length == size > 3 * 2 * 20 * 32 * 2
    assert [path.name for path in folder.parent.iterdir()] == [".x.lock"]


def spoilt(kind: str, path: Path) -> None:
    """Damage a file of a cache."""
    content = path.read_bytes()
    match kind:
        case "shortened":
            path.write_bytes(content[: len(content) // 2])
        case "emptied":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
        case "a bit":
            path.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
        case "the start":
            path.write_bytes(bytes(8) + content[8:])


@pytest.mark.parametrize("kind", ["shortened", "emptied", "missing", "a bit", "the start"])
@pytest.mark.parametrize("name", ["images.npy", "classes.npy", "air.npy", "index.json"])
def test_a_damaged_cache_is_named_and_made_anew(cohort, tmp_path, caplog, name, kind):
    made = built(tmp_path / "cache", cohort)
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    images, classes = np.array(made.images), np.array(made.classes)
    spoilt(kind, folder / name)
    again = built(tmp_path / "cache", cohort)
    assert caplog.messages == [f"{folder / name}: damaged; the cache is made anew"]
    assert np.array_equal(again.images, images) and np.array_equal(again.classes, classes)
    assert again.cases == made.cases
    caplog.clear()
    built(tmp_path / "cache", cohort)
    assert caplog.messages == []


@pytest.mark.parametrize(("kind", "seen"), [("shortened", True), ("missing", True), (None, False)])
def test_a_cache_of_an_earlier_release_is_used_as_long_as_its_files_are_whole(cohort, tmp_path, caplog, kind, seen):
    built(tmp_path / "cache", cohort)
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    (folder / "sha256.json").unlink()
    if kind:
        spoilt(kind, folder / "images.npy")
    assert len(built(tmp_path / "cache", cohort).cases) == 3
    assert bool(caplog.messages) is seen
