"""What a job's process leaves for the page: slices as small numbers, upright as radiologists look, and the images."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.imaging.label_files import colour
from musclesense.imaging.nifti import Geometry, read_volume, write_volume
from musclesense.segmentation.measured import MeasuredMask
from musclesense.segmentation.pictures import around, upright, upright_step, upright_zooms
from musclesense.segmentation.scan import FAT_FRACTION, Scan
from musclesense.serve.view import VIEW
from musclesense.storage.records import write_json

_KEPT = ".nii"
_GREATEST = 65535
_USUAL_WINDOW = 99.0
"""Percent of the body's voxels that are not shown as white alone."""


def write_view(folder: Path, found: MeasuredMask) -> None:
    """Write what the page shows of a mask and its images."""
    folder.mkdir()
    told, arrays = view_of(found)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    write_json(folder / VIEW, told)


def view_of(found: MeasuredMask) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Give what the page shows of a mask and its images, and arrays of (slices, rows, columns) by name."""
    scan, geometry = found.scan, found.geometry
    shown = around(np.logical_or.reduce(upright(scan.bodies, geometry)), upright_zooms(geometry))
    arrays, images = {"mask": upright(found.classes, geometry)}, list[dict[str, Any]]()
    for name, image in _images(scan):
        told, arrays[name] = _as_numbers(name, image, found)
        images.append(told)
    slices, rows, columns = arrays["mask"].shape
    return {
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "zooms": upright_zooms(geometry),
        "step": upright_step(geometry),
        "body": [[max(0, round(first + 0.5)), round(last + 0.5)] for first, last in shown],
        "images": images,
        "labels": [{"name": name, "colour": colour(index)} for index, name in enumerate(found.labels.names)],
    }, arrays


def _images(scan: Scan) -> Iterator[tuple[str, NDArray[Any]]]:
    """Give the images that a reader looks at, the one in which the body is found first."""
    first, known = scan.reference, set[int]()
    for name in (first, *(name for name in scan.channels if name != first)):
        if id(scan.channels[name]) not in known:  # one image may stand under two names
            known.add(id(scan.channels[name]))
            yield name, scan.channels[name]
    if scan.fat_fraction is not None:
        yield FAT_FRACTION, scan.fat_fraction


def _as_numbers(name: str, image: NDArray[Any], found: MeasuredMask) -> tuple[dict[str, Any], NDArray[np.uint16]]:
    """Give what black and white are in an image, and the image as whole numbers."""
    percent = name == FAT_FRACTION
    finite = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = (0.0, 100.0) if percent else (float(min(finite.min(), 0.0)), float(finite.max()))
    scaled = (finite - low) * (_GREATEST / max(high - low, 1e-12))
    inside = image[found.scan.bodies & np.isfinite(image)]
    white = high if percent or not inside.size else float(np.percentile(inside, _USUAL_WINDOW))
    told = {"name": name, "low": low, "high": high, "black": max(low, 0.0), "white": max(white, low + 1e-6)}
    return told, upright(np.clip(np.rint(scaled), 0, _GREATEST).astype("<u2"), found.geometry)


def laid_down(shown: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    """Turn an upright mask back to the voxels of the scan, as `upright` turned them.

    >>> geometry = Geometry.from_affine((4, 3, 2), np.diag([-1.0, 1.0, 5.0, 1.0]))
    >>> classes = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    >>> bool((laid_down(upright(classes, geometry), geometry) == classes).all())
    True
    """
    classes = np.zeros(geometry.shape, np.uint8)
    upright(classes, geometry)[:] = shown  # a view of the same voxels
    return classes


def keep(folder: Path, scan: Scan) -> None:
    """Keep the images of a scan, and nothing of its files, so that masks of it can be measured again."""
    folder.mkdir()
    for name, image in _kept(scan):
        write_volume(folder / f"{name}{_KEPT}", image, scan.geometry, np.float32)
    write_json(folder / "scan.json", {"channels": [*scan.channels], "phase_unit": scan.phase_unit})


def _kept(scan: Scan) -> Iterator[tuple[str, NDArray[Any]]]:
    yield from scan.channels.items()
    if scan.fat_fraction is not None:
        yield FAT_FRACTION, scan.fat_fraction


def kept(folder: Path) -> Scan:
    """Read the images that were kept.

    Raises:
        InputError: They are gone.
    """
    told = json.loads((folder / "scan.json").read_text(encoding="utf-8"))
    files = {name: folder / f"{name}{_KEPT}" for name in told["channels"]}
    volumes = {name: read_volume(file) for name, file in files.items()}
    fraction = folder / f"{FAT_FRACTION}{_KEPT}"
    return Scan(
        {name: volume.data for name, volume in volumes.items()},
        read_volume(fraction).data if fraction.is_file() else None,
        next(iter(volumes.values())).geometry,
        files,
        told["phase_unit"],
    )
