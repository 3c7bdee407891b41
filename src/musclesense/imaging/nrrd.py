"""NRRD volumes, as 3D Slicer saves masks: read with clear errors.

Slicer stores a segmentation (``.seg.nrrd``) for the part of the image that it fills, and names its segments.
"""

import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.nifti import LONGEST_AXIS, MOST_VOXELS, Geometry, Volume, affine_problem
from musclesense.storage.paths import require_file
from musclesense.storage.records import unreadable

_MAGIC = b"NRRD"
_REMEDY = "save it again as .nii.gz"
_AWAY = "lpi"
"""Axes that run away from right, anterior and superior."""
_DAMAGED = (OSError, EOFError, zlib.error, ValueError, KeyError, IndexError, TypeError, AttributeError, MemoryError)


def is_nrrd(path: Path) -> bool:
    """Tell whether a file begins as NRRD does, whatever its name."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except (OSError, ValueError):
        return False


def read_nrrd(path: Path) -> Volume:
    """Read a 3-D NRRD image: integers as they are, else float32.

    Raises:
        InputError: It is damaged, not 3-D, keeps its voxels in another file, or does not say where they lie.
    """
    import nrrd

    with _readable(path), path.open("rb") as stream:
        header = nrrd.read_header(stream)
        geometry = _geometry(path, header)
        data = nrrd.read_data(header, stream)
    if data.dtype.kind not in "iuf" or data.shape != geometry.shape:
        raise InputError(f"{path}: voxels of type {data.dtype} cannot be used; {_REMEDY}")
    plain = data.dtype.newbyteorder("=") if data.dtype.kind in "iu" else np.dtype(np.float32)
    with np.errstate(over="ignore"):
        return Volume(data.astype(plain, copy=False), geometry)


def segment_names(path: Path) -> dict[int, str]:
    """Give the names of a segmentation's segments by their values; nothing where the file names none."""
    import nrrd

    with _readable(path), path.open("rb") as stream:
        header = nrrd.read_header(stream)
        numbers = [key.removesuffix("_LabelValue") for key in header if key.endswith("_LabelValue")]
        return {int(header[f"{key}_LabelValue"]): str(header[f"{key}_Name"]).strip() for key in numbers}


def _readable(path: Path) -> Any:
    import nrrd

    require_file(path)
    return unreadable(path, nrrd.NRRDError, *_DAMAGED, remedy=_REMEDY, said="not a readable NRRD file")


def _geometry(path: Path, header: Any) -> Geometry:
    """Give where the voxels lie, before they are read."""
    if "data file" in header or "datafile" in header:
        raise InputError(f"{path}: keeps its voxels in another file; save it as one .nrrd or .nii.gz")
    sizes = [int(size) for size in header["sizes"]]
    if len(sizes) != 3:
        said = "segments lie in several layers, or it has a time axis" if len(sizes) == 4 else "not three axes"
        shape = "x".join(map(str, sizes))
        raise InputError(f"{path}: has shape {shape}, {said}; export it as one label map (.nii.gz)")
    if min(sizes) < 1 or max(sizes) > LONGEST_AXIS or np.prod(sizes, dtype=float) > MOST_VOXELS:
        raise InputError(f"{path}: has {'x'.join(map(str, sizes))} voxels; crop it, or save it again")
    affine = _affine(header)
    problem = "does not say where its voxels lie" if affine is None else affine_problem(affine)
    if affine is None or problem:
        raise InputError(f"{path}: {problem}; {_REMEDY}")
    i, j, k = sizes
    return Geometry.from_affine((i, j, k), affine)


def _affine(header: Any) -> NDArray[np.float64] | None:
    """Give the affine to scanner millimetres (RAS+), None where the header has none."""
    space = str(header.get("space", "")).lower()
    words = space.split("-") if "-" in space else list(space)
    letters = "".join(word[:1] for word in words)
    if not re.fullmatch("[rl][ap][si]", letters):
        return None
    if "space directions" not in header or "space origin" not in header:
        return None
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], dtype=np.float64).T
    affine[:3, 3] = np.asarray(header["space origin"], dtype=np.float64)
    signs = [-1.0 if letter in _AWAY else 1.0 for letter in letters]
    flipped: NDArray[np.float64] = np.diag([*signs, 1.0]) @ affine
    return flipped
