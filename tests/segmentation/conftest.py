"""Networks whose answers are known without training, and a scan of two round limbs."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from musclesense.cohort.folds import NestedFolds
from musclesense.cohort.table import Acquisition, read_table, write_table
from musclesense.imaging.digests import image_digest
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.phantom.any_contrast import synthetic_slice
from musclesense.phantom.held import Held
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.segmentation.result import Segmentation
from musclesense.segmentation.scan import Scan
from musclesense.studies.content import write_content
from musclesense.studies.layout import StudyFolder
from musclesense.vocabulary import Limbs, Region

from ..shared.networks import spec_of, write_checkpoint

PLAIN = (
    *("pose", "surroundings", "cropping", "artefacts", "hips", "sides", "arms", "masses", "implants", "fluid"),
    *("disease", "noise", "shading", "swaps"),
)
"""What is left out of phantoms, so that nothing but limbs is seen."""
RIGHT_MM, LEFT_MM = 35.0, 50.0
RIGHT_PERCENT, LEFT_PERCENT = 20.0, 60.0


def found_in(scan: Scan, classes: NDArray[np.uint8], limbs: Limbs = Limbs.BOTH, **spec: Any) -> Segmentation:
    """What networks of a specification would have found."""
    return Segmentation(scan, classes, spec_of(**spec), (), Region.THIGH, limbs)


def write_run(run: Path, **network: Any) -> Path:
    """Write the folder of a finished run with such a network."""
    write_checkpoint(run / "checkpoints" / "best.ckpt", **network)
    (run / "done.json").write_text(json.dumps({"scores": {}}))
    return run


@dataclass(frozen=True)
class TwoLimbs:
    """A scan of a thin right limb with little fat and a thick left limb with much.

    Attributes:
        fat: File.
        water: File.
        geometry: Where the voxels lie.
        right: Voxels of the right limb.
        left: Voxels of the left limb.
    """

    fat: Path
    water: Path
    geometry: Geometry
    right: NDArray[np.bool_]
    left: NDArray[np.bool_]


def odd_geometry(codes: str = "ILA", angles: Sequence[float] = (9, -7, 12)) -> Geometry:
    """Store 400 x 200 x 40 mm in an odd order of axes, oblique, with two different orientation codes."""
    size, zooms = np.array([400.0, 200.0, 40.0]), np.array([1.6, 2.0, 10.0])
    axes = ["RLAPSI".index(code) // 2 for code in codes]
    directions = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    affine = np.eye(4)
    for column, (axis, code) in enumerate(zip(axes, codes, strict=True)):
        affine[:3, column] = directions[:, axis] * zooms[axis] * (1 if code in "RAS" else -1)
    i, j, k = (int(size[axis] / zooms[axis]) for axis in axes)
    shape = (i, j, k)
    affine[:3, 3] = (30, -20, 100) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="aligned")
    header.set_xyzt_units("mm", "sec")
    return Geometry(shape, affine, header)


def body_mm(geometry: Geometry, angles: Sequence[float] = (9, -7, 12)) -> NDArray[np.float64]:
    """Give right (+), anterior (+) and superior (+) of every voxel along the axes of an `odd_geometry`."""
    indices = np.moveaxis(np.indices(geometry.shape), 0, -1)
    scanner: NDArray[np.float64] = nib.affines.apply_affine(geometry.affine, indices) - (30, -20, 100)
    return scanner @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix()


def write_limbs(folder: Path, geometry: Geometry, angles: Sequence[float] = (9, -7, 12)) -> TwoLimbs:
    """Write fat and water images of two limbs in int16, as scanners do."""
    points = body_mm(geometry, angles)
    right, left = (np.hypot(points[..., 0] - x, points[..., 1]) < r for x, r in ((80, RIGHT_MM), (-80, LEFT_MM)))
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, of_right, of_left in (("fat", RIGHT_PERCENT, LEFT_PERCENT), ("water", 100 - RIGHT_PERCENT, 40)):
        files[name] = folder / f"{name}.nii.gz"
        write_volume(files[name], 200 * (of_right * right + of_left * left), geometry, np.int16)
    return TwoLimbs(files["fat"], files["water"], geometry, right, left)


def leg_scan(
    region: Region,
    levels: Sequence[float],
    *,
    contrast: Contrast = Contrast.DIXON_FAT,
    codes: str = "RAS",
    seed: int = 5,
    channel: str = "image",
) -> Scan:
    """Slices of a healthy adult's limbs at levels of the region, from the ankle's or the knee's end (0) to the other.

    The volume's axes run as ``codes`` say.
    """
    held = Held(build="usual", pixel_mm=1.5, slice_mm=5.0, sequence=contrast, readout={"finer": 1.0})
    slices = []
    for level in levels:
        own = replace(held, level=level)
        one = synthetic_slice(np.random.default_rng(seed), regions=[region], held=own, without=PLAIN)
        slices.append(one.stored(one.image))
    wide, high = np.max([image.shape for image in slices], axis=0)
    volume = np.zeros((wide, high, len(slices)), np.float32)
    for number, image in enumerate(slices):
        left, top = (wide - image.shape[0]) // 2, (high - image.shape[1]) // 2
        volume[left : left + image.shape[0], top : top + image.shape[1], number] = image
    # Slices run to the left and to posterior.
    flips = tuple(axis for axis in range(3) if codes[axis] != "LPS"[axis])
    volume = np.ascontiguousarray(np.flip(volume, flips))
    signs = [1.5 if code in "RAS" else -1.5 for code in codes]
    geometry = Geometry.from_affine((wide, high, len(slices)), np.diag([signs[0], signs[1], 10 * signs[2] / 1.5, 1.0]))
    return Scan({channel: volume}, None, geometry, {})


@pytest.fixture
def limbs(tmp_path: Path) -> TwoLimbs:
    return write_limbs(tmp_path / "scan", odd_geometry())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "study" / "outer0_inner0")


FOLDS = (("s0", "s1"), ("s2", "s/3"))
"""Whom each outer fold tests."""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A table of four subjects with a thigh each, of another order than the folds; ``s/3`` has two visits."""
    geometry = Geometry.from_affine((40, 24, 2), np.diag([-9.0, -9.0, 10.0, 1.0]))
    rows = []
    for number, (subject, session) in enumerate((("s/3", "a"), ("s0", ""), ("s1", ""), ("s2", ""), ("s/3", "b"))):
        folder = tmp_path / "work" / "cohort" / f"scan{number}"
        i, j = np.mgrid[:40, :24]
        body = np.hypot(i - 12, j - 12) < 9 - 0.2 * number
        body |= np.hypot(i - 30, j - 12) < 8
        noise = np.random.default_rng(number).normal(0, 3, (40, 24, 2))
        write_volume(folder / "fat.nii.gz", 100 * body[..., None] + 20 + noise, geometry, np.float32)
        write_volume(folder / "mask.nii.gz", np.repeat(body[..., None], 2, axis=2), geometry, np.uint8)
        rows.append(
            Acquisition(
                line=2 + number,
                subject=subject,
                session=session,
                region=Region.THIGH,
                limbs=Limbs.BOTH,
                channels={"fat": folder / "fat.nii.gz"},
                mask=folder / "mask.nii.gz",
            )
        )
    write_table(tmp_path / "work" / "cohort" / "cohort.csv", rows)
    return tmp_path / "work" / "cohort" / "cohort.csv"


@pytest.fixture
def study(cohort: Path) -> StudyFolder:
    """A study whose networks of outer fold 0 find nothing, and those of outer fold 1 muscle everywhere."""
    folder, table = StudyFolder(cohort.parents[1] / "runs" / "mine"), read_table(cohort)
    for outer, bias in ((0, -9.0), (1, 9.0)):
        for inner in (0, 1):
            write_run(folder.run(outer, inner).path, channels=["fat"], weight=0, bias=bias)
    inner_folds = ((("s2",), ("s/3",)), (("s0",), ("s1",)))
    NestedFolds(table=table.digest, seed=0, outer=FOLDS, inner=inner_folds).save(folder.folds)
    config = {"format": 2, "cohort": {"path": str(cohort)}, "labels": {"column": "mask"}, "data": "data"}
    folder.settings.write_text(yaml.safe_dump(config))
    files = [{"fat": row.channels["fat"], "mask": row.mask} for row in table.acquisitions]
    images = [{name: (file, image_digest(file)) for name, file in own.items() if file} for own in files]
    write_content(folder, table.acquisitions, images)
    return folder


def fat_of(cohort: Path, number: int) -> Path:
    return cohort.parent / f"scan{number}" / "fat.nii.gz"
