"""Image, truth and prediction of each test case of a run, for pictures."""

import math
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.storage.atomic import atomic_path
from musclesense.storage.paths import require_file
from musclesense.studies.layout import RunFolder

_INDEX, _IMAGES = ("line", "slice"), ("image", "truth", "prediction")
_MOST_BYTES = 512 * 1024**2


@dataclass(frozen=True, eq=False)
class KeptSlice:
    """One labelled slice on the network's grid."""

    line: int  # line of the acquisition in the cohort table
    slice: int  # slice along the slice axis, the first is 0
    image: NDArray[np.uint8]  # (rows, columns) uint8, windowed for display
    truth: NDArray[np.uint8]  # (rows, columns) uint8 class indices
    prediction: NDArray[np.uint8]  # (rows, columns) uint8 class indices


def write_overlays(folder: RunFolder, slices: Sequence[KeptSlice]) -> None:
    """Write the slices of a run, whole or not at all."""
    columns = {name: np.array([getattr(slice_, name) for slice_ in slices]) for name in (*_IMAGES, *_INDEX)}
    with atomic_path(folder.overlays) as draft:
        np.savez_compressed(draft, allow_pickle=False, **columns)


def read_index(folder: RunFolder) -> list[tuple[int, int]]:
    """Read which slices a run kept: line of the table and slice.

    Raises:
        InputError: The file is damaged or none that `write_overlays` wrote.
    """
    lines, slices = _load(folder.overlays, *_INDEX)
    return list(zip(lines.tolist(), slices.tolist(), strict=True))


def read_overlay(folder: RunFolder, line: int, number: int) -> KeptSlice:
    """Read one slice that a run kept, likewise."""
    return read_kept(folder, [(line, number)])[0]


def read_overlays(folder: RunFolder, line: int) -> list[KeptSlice]:
    """Read the slices of an acquisition that a run kept, likewise."""
    return read_kept(folder, [own for own in read_index(folder) if own[0] == line])


def read_kept(folder: RunFolder, wanted: Iterable[tuple[int, int]]) -> list[KeptSlice]:
    """Read slices of any acquisitions that a run kept, by line of the table and slice; likewise."""
    lines, slices, *images = _load(folder.overlays, *_INDEX, *_IMAGES)
    at = {own: place for place, own in enumerate(zip(lines.tolist(), slices.tolist(), strict=True))}
    return [KeptSlice(*own, *(stack[at[own]] for stack in images)) for own in wanted]


def _load(path: Path, *names: str) -> list[NDArray[Any]]:
    """Read arrays: whole numbers (cases,) that name slices, and images (cases, rows, columns)."""
    remedy = "remove its folder and run train.py again"
    require_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
                raise InputError(f"{path}: unpacks to more than {_MOST_BYTES // 1024**2} MiB; {remedy}")
            arrays = [_array(archive, name) for name in names]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zlib.error, NotImplementedError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())}); {remedy}") from error
    shapes = [array.shape for array in arrays]
    if len({shape[0] for shape in shapes}) > 1 or len({shape for shape in shapes if len(shape) == 3}) > 1:
        raise InputError(f"{path}: arrays of {', '.join(map(str, shapes))} do not belong together; {remedy}")
    return arrays


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Read one array, once its header has been compared with the bytes that are there."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{name} has format {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        size = archive.getinfo(f"{name}.npy").file_size - file.tell()
        of_kind = len(shape) == 3 and dtype == np.uint8 if name in _IMAGES else len(shape) == 1 and dtype.kind in "iu"
        if not of_kind or fortran or 0 in shape or math.prod(shape) * dtype.itemsize != size:
            raise ValueError(f"{name} holds {size} bytes of type {dtype} and shape {shape}")
        return np.frombuffer(file.read(), dtype=dtype).reshape(shape)
