"""What the server gives of a scan: slices as the job's process wrote them, and what is painted on them.

The server itself imports little: what takes long belongs to the processes of jobs.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError

VIEW, MASK = "view.json", "mask.npy"


def slice_of(folder: Path, name: str, number: int) -> bytes:
    """Give the numbers of a slice of an array of the view: rows, each from the subject's right to the left."""
    array: NDArray[Any] = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return np.ascontiguousarray(array[number]).tobytes()


def read_view(folder: Path) -> dict[str, Any]:
    """Give what `write_view` told."""
    told: dict[str, Any] = json.loads((folder / VIEW).read_text(encoding="utf-8"))
    return told


def painted(edits: bytes, mask: NDArray[np.uint8], labels: int) -> NDArray[np.uint8]:
    """Give a mask with the slices that were painted.

    Args:
        edits: For each painted slice its number, 4 bytes in little endian, and a byte for each of its voxels.
        mask: Of (slices, rows, columns): what was painted on.
        labels: How many there are.

    Raises:
        InputError: They are no such slices.
    """
    slices, rows, columns = mask.shape
    kind = np.dtype([("number", "<u4"), ("voxels", "u1", (rows, columns))])
    if not edits or len(edits) % kind.itemsize or len(edits) > slices * kind.itemsize:
        raise InputError("mask: has no whole slices of this scan; paint it again")
    records = np.frombuffer(edits, kind)
    if records["number"].max() >= slices or records["voxels"].max() > labels:
        raise InputError("mask: has a slice or a label that this scan has not; paint it again")
    changed = mask.copy()
    changed[records["number"]] = records["voxels"]
    return changed
