"""What is written for a segmented scan: mask, fat fractions, a picture to judge it by, and what made it."""

import hashlib
import platform
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.frame import reference_channel
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.limbs import split_limbs
from musclesense.imaging.nifti import write_volume
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.metrics.overlap import volume_ml
from musclesense.segmentation.picture import draw_quality_control
from musclesense.segmentation.scan import Scan
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.atomic import atomic_path
from musclesense.storage.paths import is_file, is_there
from musclesense.storage.records import write_csv, write_json
from musclesense.version import __version__
from musclesense.vocabulary import Limbs, Region, Side

COLUMNS = ("slice", "limb", "label", "voxels", "volume_ml", "fat_fraction_percent")
FILES = ("mask.nii.gz", "fat_fraction.csv", "qc.png", "run.json")


def segment_scan(scan: Scan, *, model: Path, region: Region, limbs: Limbs, out: Path) -> None:
    """Segment a scan and write ``mask.nii.gz``, ``fat_fraction.csv``, ``qc.png`` and ``run.json`` into ``out``.

    Args:
        scan: The images.
        model: A study's folder, a run's folder or a checkpoint.
        region: What the scan shows.
        limbs: Both limbs side by side, or the one that it shows.
        out: Folder, made where it is missing. Results of an earlier call are replaced.

    Raises:
        InputError: The model cannot be used for this scan, or ``out`` cannot be written or holds a file of another
            origin under one of the names; then nothing is written.
    """
    segmenter = Segmenter.load(model)
    segmenter.require_region(region)
    segmenter.require_images(scan.channels)
    _require_only_results(out)
    with ExitStack() as drafts:
        # Opened before the work, which takes long, and moved to their places together, after the last one is whole.
        mask, table, picture, record = (drafts.enter_context(atomic_path(out / name)) for name in FILES)
        classes = segmenter.segment(scan.channels, scan.geometry)
        halves = limb_halves(scan, limbs)
        write_volume(mask, segmenter.spec.labels.decode(classes), scan.geometry, np.uint16)
        write_csv(table, COLUMNS, fat_fraction_rows(scan, segmenter.spec.labels.names, classes, halves))
        draw_quality_control(scan, segmenter.spec.grid, classes, halves).savefig(picture)
        write_json(record, _record(scan, segmenter, region, limbs))


def limb_halves(scan: Scan, limbs: Limbs) -> dict[Side, NDArray[np.bool_]]:
    """Give the part of the volume in which each limb lies, of ``scan.geometry.shape``."""
    if limbs is not Limbs.BOTH:
        return {Side(limbs): np.ones(scan.geometry.shape, dtype=bool)}
    halves = {limb: np.zeros(scan.geometry.shape, dtype=bool) for limb in Side}
    reference = scan.channels[reference_channel(scan.channels)]
    for number in range(slice_count(scan.geometry)):
        image = take_slice(reference, scan.geometry, number)
        for limb, half in split_limbs(image, scan.geometry).items():
            take_slice(halves[limb], scan.geometry, number)[:] = half
    return halves


def fat_fraction_rows(
    scan: Scan, labels: tuple[str, ...], classes: NDArray[np.uint8], halves: dict[Side, NDArray[np.bool_]]
) -> list[dict[str, Any]]:
    """Give voxels, volume and mean fat fraction of each class: by slice and limb, then over all slices.

    Fat fractions are blank where water is not known or the class is absent.
    """
    voxel_mm3 = float(np.prod(scan.geometry.zooms))
    rows = []
    for number in (*range(slice_count(scan.geometry)), None):

        def part(volume: NDArray[Any], number: int | None = number) -> NDArray[Any]:
            return volume if number is None else take_slice(volume, scan.geometry, number)

        for limb, half in halves.items():
            for index, label in enumerate(labels, start=1):
                mask = part(half) & (part(classes) == index)
                fraction = None if scan.fat_fraction is None else mean_fat_fraction(part(scan.fat_fraction), mask)
                rows.append(
                    {
                        "slice": "all" if number is None else number,
                        "limb": str(limb),
                        "label": label,
                        "voxels": int(mask.sum()),
                        "volume_ml": f"{volume_ml(mask, voxel_mm3):.3f}",
                        "fat_fraction_percent": "" if fraction is None else f"{fraction:.2f}",
                    }
                )
    return rows


def _require_only_results(out: Path) -> None:
    """Refuse to replace what no earlier call wrote, such as a mask drawn by hand that lies beside the images."""
    if is_file(out / "run.json"):
        return
    for name in FILES:
        if is_there(out / name):
            raise InputError(f"{out / name}: exists and was not made by this command; give another --out")


def _record(scan: Scan, segmenter: Segmenter, region: Region, limbs: Limbs) -> dict[str, Any]:
    """Say what made the mask, so that it can be made again."""
    return {
        "versions": {
            "musclesense": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "region": str(region),
        "limbs": str(limbs),
        "phase_unit": None if scan.phase_unit is None else str(scan.phase_unit),
        "inputs": {name: {"file": str(path), "sha256": _sha256(path)} for name, path in scan.files.items()},
        "channels": list(segmenter.spec.channels),
        "labels": segmenter.spec.labels.to_config(),
        "threshold": segmenter.spec.threshold,
        "grid": segmenter.spec.grid.to_config(),
        "networks": [{"file": str(path), "sha256": _sha256(path)} for path in segmenter.files],
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
