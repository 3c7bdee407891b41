"""A corrected mask as editors save it: other numbers, axes and extents, NIfTI and NRRD."""

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from fuzz import seeds as sound
from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds

_AXES = ("RAS", "LPS", "LAS", "RPI", "SPL", "ASR")
_TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)
_SPACES = {"left-posterior-superior": (-1, -1, 1), "right-anterior-superior": (1, 1, 1)}


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Save the mask of the seeds with some voxels more or less; a quarter of the time it lies elsewhere."""
    affine = sound.affine()
    for name in ("fat", "water"):
        nib.save(nib.Nifti1Image(seeds.images[name].astype(np.float32), affine), folder / f"{name}.nii.gz")
    mask = (seeds.images["mask"] > 0).astype(np.float64)
    inside = np.argwhere(mask)
    for _ in range(draw.below(4)):
        mask[tuple(inside[draw.below(len(inside))])] = 0
    wanted, value = int(np.count_nonzero(mask)), 1 + draw.below(200)
    moved = draw.chance(0.25)
    data, place, said = _extent(draw, mask * value, affine)
    if moved:
        place = place.copy()
        place[:3, 3] += place[:3, draw.below(2)] * draw.random.uniform(0.25, 0.75)
    image = nib.Nifti1Image(data, place)
    codes = draw.one_of(_AXES)
    turned = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(place), nib.orientations.axcodes2ornt(codes))
    )
    kind = draw.one_of(_TYPES)
    file = _save(draw, folder, np.asarray(turned.dataobj).astype(kind), turned.affine)
    arguments = ("measure", "--mask", file, "--fat", "fat.nii.gz", "--water", "water.nii.gz", "--out", "out")

    def right(folder: Path, said: str) -> str | None:
        with (folder / "out" / "measurements.csv").open() as table:
            found = sum(int(row["voxels"]) for row in csv.DictReader(table) if row["slice"] != "all")
        return None if found == wanted else f"{found} voxels, not {wanted}"

    changes = f"{file}, {np.dtype(kind)}, {value} as {codes}, {said}{', moved' * moved}"
    verdict = Verdict.REFUSE if moved else Verdict.ACCEPT
    return Case(arguments=arguments, changes=changes, verdict=verdict, right=right)


def _extent(
    draw: Draw, mask: NDArray[np.float64], affine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Store the part that is filled, or a margin around all, or the image's own voxels."""
    kind, place = draw.one_of(("whole", "part", "margin")), affine.copy()
    if kind == "part":
        places = np.argwhere(mask)
        first, last = places.min(axis=0), places.max(axis=0) + 1
        mask = mask[tuple(slice(*ends) for ends in zip(first, last, strict=True))]
        place[:3, 3] += place[:3, :3] @ first
    elif kind == "margin":
        before = [draw.below(4) for _ in range(3)]
        mask = np.pad(mask, [(n, draw.below(4)) for n in before])
        place[:3, 3] -= place[:3, :3] @ before
    return mask, place, kind


def _save(draw: Draw, folder: Path, data: NDArray[Any], affine: NDArray[np.float64]) -> str:
    if draw.chance(0.5):
        name = draw.one_of(("c.nii", "c.nii.gz"))
        nib.save(nib.Nifti1Image(data, affine), folder / name)
        return name
    import nrrd  # the other makers do without

    space = draw.one_of(tuple(_SPACES))
    own = np.diag([*_SPACES[space], 1.0]) @ affine
    header = {"space": space, "space directions": own[:3, :3].T, "space origin": own[:3, 3]}
    nrrd.write(str(folder / "c.nrrd"), data, header | {"encoding": draw.one_of(("gzip", "raw", "bzip2"))})
    return "c.nrrd"
