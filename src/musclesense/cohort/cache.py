"""Preprocessed slices of a cohort, made once and memory-mapped by every run and process."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from musclesense.cohort.images import read_channel, read_reference
from musclesense.cohort.table import Acquisition
from musclesense.errors import InputError
from musclesense.imaging.digests import image_digest
from musclesense.imaging.frame import Z_SCORE, Frame, reference_channel
from musclesense.imaging.grid import Grid, slices_with, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.messages import log
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.digests import digest_of_bytes, digests_of
from musclesense.storage.locks import locked
from musclesense.storage.paths import unwritable_errors
from musclesense.storage.records import read_json, write_json
from musclesense.vocabulary import Region

_FORMAT = 3
_ARRAYS, _INDEX, _DIGESTS = ("images.npy", "classes.npy", "air.npy"), "index.json", "sha256.json"


@dataclass(frozen=True)
class Case:
    """One labelled slice of one acquisition: what is trained on and scored."""

    acquisition: Acquisition
    slice: int


@dataclass(frozen=True, eq=False)
class SliceCache:
    """The labelled slices of a cohort on one grid."""

    channels: tuple[str, ...]  # names along the channel axis of ``images``
    cases: tuple[Case, ...]  # what each entry shows
    images: NDArray[np.float16]  # (cases, channels, rows, columns) float16, each normalised
    air: NDArray[np.float32]  # (cases, channels) float32, the value of air in each image
    classes: NDArray[np.uint8]  # (cases, rows, columns) uint8 class indices, 0 is background
    classes_of: Mapping[Region, frozenset[int]]
    """The class indices that some case of a region has, background left out: a calf has no rectus femoris."""

    @property
    def placed_by(self) -> str:
        """The image by which the slices were placed on the grid, which a network trained on them needs to know."""
        return reference_channel(self.channels)

    @classmethod
    def open(cls, folder: Path, acquisitions: Sequence[Acquisition]) -> Self:
        """Map the arrays of a finished cache without reading them."""
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        of_line = {acquisition.line: acquisition for acquisition in acquisitions}
        return cls(
            channels=tuple(index["channels"]),
            cases=tuple(Case(of_line[line], number) for line, number in index["cases"]),
            images=np.load(folder / "images.npy", mmap_mode="r"),
            air=np.load(folder / "air.npy"),
            classes=np.load(folder / "classes.npy", mmap_mode="r"),
            classes_of={Region(region): frozenset(found) for region, found in index["classes_of"].items()},
        )


def common_channels(acquisitions: Sequence[Acquisition]) -> tuple[str, ...]:
    """Give the channels that every acquisition has, in the table's order of channels."""
    return tuple(name for name in acquisitions[0].channels if all(name in other.channels for other in acquisitions))


def image_files(acquisition: Acquisition, column: str, channels: Iterable[str]) -> dict[str, Path]:
    """Give the files of an acquisition by their columns of the table: of these channels, labels and fat fraction."""
    files = {name: acquisition.channels.get(name) for name in channels}
    files |= {column: acquisition.labels(column), "fat_fraction": acquisition.fat_fraction}
    return {name: file for name, file in files.items() if file is not None}


def digests_of_images(
    root: Path, acquisitions: Sequence[Acquisition], *, column: str, channels: Iterable[str] = (), keep: bool = True
) -> dict[Path, str]:
    """Give the digest of each of `image_files`, of ``channels`` and those that all have; they are kept in ``root``."""
    wanted = dict.fromkeys((*common_channels(acquisitions), *channels)) if acquisitions else ()
    files = [file for row in acquisitions for file in image_files(row, column, wanted).values()]
    return digests_of(files, image_digest, kept=root / "digests.json", keep=keep)


def cache_folder(
    root: Path,
    acquisitions: Sequence[Acquisition],
    digests: Mapping[Path, str],
    *,
    grid: Grid,
    labels: LabelSet,
    column: str = "mask",
    normalisation: str = Z_SCORE,
) -> Path:
    """Name the cache of these acquisitions: a function of rows, the digest of each of `image_files`, and the rest.

    What is cached has been checked. So the fat fraction, which is not cached, is one of the files.
    """
    sources = []
    for acquisition in acquisitions:
        files = image_files(acquisition, column, common_channels(acquisitions))
        who = [acquisition.subject, acquisition.session, acquisition.group, acquisition.region, acquisition.limbs]
        images = {name: digests[file] for name, file in files.items()}
        sources.append([acquisition.line, acquisition.slice, who, images])
    how = [] if normalisation == Z_SCORE else [normalisation]  # as caches were named before there was another one
    content = json.dumps([_FORMAT, grid.to_config(), labels.to_config(), sources, *how])
    return root / hashlib.sha256(content.encode()).hexdigest()[:16]


def open_or_build(
    folder: Path,
    acquisitions: Sequence[Acquisition],
    *,
    grid: Grid,
    labels: LabelSet,
    column: str = "mask",
    normalisation: str = Z_SCORE,
) -> SliceCache:
    """Open the cache in ``folder``, made first by the one process that gets there first; a damaged one is made anew.

    Args:
        folder: From `cache_folder`, for the same acquisitions, grid, labels, column and normalisation.
        acquisitions: Checked rows of a cohort table, each with labels.
        grid: The frame of the network.
        labels: What the values of the reference labels mean.
        column: The table's column of reference labels, of ``table.LABEL_COLUMNS``.
        normalisation: One of `musclesense.imaging.frame.NORMALISATIONS`.
    """
    if _damaged(folder):
        with locked(folder):
            if damaged := _damaged(folder):
                if damaged != folder:
                    log.warning(f"{damaged}: damaged; the cache is made anew")
                    with unwritable_errors(folder):
                        shutil.rmtree(folder)
                with atomic_folder(folder) as draft:
                    _build(draft, acquisitions, grid, labels, column, normalisation)
    return SliceCache.open(folder, acquisitions)


def _damaged(folder: Path) -> Path | None:
    """Give a file of a cache that is not as it was written, the folder where there is none, or None."""
    if not folder.is_dir():
        return folder
    digests = folder / _DIGESTS
    try:
        # A cache of an earlier release has no digests: its files must have the sizes that they speak of.
        written = read_json(digests, remedy="") if digests.exists() else dict.fromkeys((*_ARRAYS, _INDEX))
        names: list[str] = list(written)
    except (InputError, TypeError):
        return digests
    for name in names:
        try:
            if written[name] and digest_of_bytes(folder / name) != written[name]:
                return folder / name
            read_json(folder / name, remedy="") if name == _INDEX else np.load(folder / name, mmap_mode="r")
        except (InputError, OSError, ValueError, EOFError):
            return folder / name
    return None


def _build(
    folder: Path,
    acquisitions: Sequence[Acquisition],
    grid: Grid,
    labels: LabelSet,
    column: str,
    normalisation: str,
) -> None:
    channels = common_channels(acquisitions)
    # Placed by an image that all of the cohort have, slices lie alike whatever a network takes.
    frame = Frame(grid, channels, reference_channel(channels), normalisation)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        numbers = list(pool.map(partial(labelled_slices, column=column), acquisitions))
        firsts = np.concatenate([[0], np.cumsum([len(own) for own in numbers])])
        count = int(firsts[-1])
        size = (grid.rows, grid.columns)
        images = _new_array(folder / "images.npy", np.float16, (count, len(channels), *size))
        classes = _new_array(folder / "classes.npy", np.uint8, (count, *size))
        air = np.zeros((count, len(channels)), dtype=np.float32)

        def fill(position: int) -> set[int]:
            """Fill in the cases of an acquisition; give the classes that they have."""
            acquisition, found = acquisitions[position], set[int]()
            volumes = {name: read_channel(acquisition, name) for name in channels}
            reference = read_reference(acquisition, column)
            for case, number in enumerate(numbers[position], start=int(firsts[position])):
                slices = {name: take_slice(volume.data, volume.geometry, number) for name, volume in volumes.items()}
                images[case], air[case], placement = frame.prepare(volumes[frame.placed_by].geometry, slices)
                native = labels.encode(take_slice(reference.data, reference.geometry, number))
                classes[case] = placement.labels_to_grid(native, labels.n_classes)
                found.update(np.unique(classes[case]).tolist())
            return found - {0}

        classes_of = {str(acquisition.region): set[int]() for acquisition in acquisitions}
        for acquisition, found in zip(acquisitions, pool.map(fill, range(len(acquisitions))), strict=True):
            classes_of[acquisition.region] |= found
    images.flush()
    classes.flush()
    np.save(folder / "air.npy", air)
    cases = [[acquisitions[i].line, number] for i, own in enumerate(numbers) for number in own]
    regions = {region: sorted(found) for region, found in classes_of.items()}
    write_json(folder / _INDEX, {"channels": channels, "cases": cases, "classes_of": regions})
    write_json(folder / _DIGESTS, {name: digest_of_bytes(folder / name) for name in (*_ARRAYS, _INDEX)})


def _new_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    """Make an array on disk with all the room that it takes.

    Without the room, the system would kill the process that first touches a page on a full disk.
    """
    array: np.memmap[Any, Any] = open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def labelled_slices(acquisition: Acquisition, column: str) -> list[int]:
    """Give the slices of an acquisition that are trained on: the one that the table names, or all with labels."""
    if acquisition.slice is not None:
        return [acquisition.slice]
    reference = read_reference(acquisition, column)
    return slices_with(reference.data > 0, reference.geometry)
