"""The same scan as other programs store it: axes in another order, rounded affines, labels with a scale factor."""

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from fuzz import seeds as sound
from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds

_AXES = ("RAS", "LPS", "LAS", "RPI", "SPL", "ASR", "PIR", "LSA")


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Store fat, water and mask each in a way of its own; a third of the time one of them elsewhere."""
    affine = _tilted(draw)
    moved = draw.one_of(("water", "mask")) if draw.chance(0.33) else None
    said = []
    for name in ("fat", "water", "mask"):
        data, place = seeds.images[name].astype(np.float64), affine
        if name == moved:
            place = affine.copy()
            place[:3, 3] += place[:3, draw.below(3)] * draw.random.uniform(0.3, 3) * draw.one_of((-1, 1))
        codes, decimals = draw.one_of(_AXES), 4 + draw.below(4)
        _save(draw, folder / f"{name}.nii.gz", data, place, codes, decimals)
        said.append(f"{name} as {codes}, {decimals} decimals{', moved' * (name == moved)}")
    verdict = Verdict.REFUSE if moved else Verdict.ACCEPT
    if moved == "mask" or draw.chance(0.5):
        (folder / "cohort.csv").write_text(
            "subject,region,fat,water,mask\nS1,thigh,fat.nii.gz,water.nii.gz,mask.nii.gz\n"
        )
        return Case(arguments=("check", "cohort.csv"), changes="; ".join(said), verdict=verdict, right=_one_subject)
    (folder / "model.ckpt").write_bytes(seeds.model)
    images = ("--fat", "fat.nii.gz", "--water", "water.nii.gz")
    arguments = ("segment", *images, "--region", "thigh", "--model", "model.ckpt", "--out", "out")
    return Case(arguments=arguments, changes="; ".join(said), verdict=verdict, right=_fractions)


def _tilted(draw: Draw) -> NDArray[np.float64]:
    """Tilt the seeds' stack about the axis from right to left, and move it anywhere."""
    angle = draw.random.uniform(-0.9, 0.9)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ sound.affine()
    affine[:3, 3] += draw.random.uniform(-300, 300, 3)
    return np.asarray(affine)


def _save(draw: Draw, path: Path, data: NDArray[Any], affine: NDArray[np.float64], codes: str, decimals: int) -> None:
    image = nib.Nifti1Image(data, affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    stored = nib.Nifti1Image(np.asarray(turned.dataobj), turned.affine.round(decimals))
    stored.set_data_dtype(draw.one_of((np.int16, np.float32, np.float64)))
    nib.save(stored, path)


def _one_subject(folder: Path, said: str) -> str | None:
    return None if "1 subject, 1 acquisition" in said else said[:200]


def _fractions(folder: Path, said: str) -> str | None:
    """Compare with what nibabel finds in the files, all turned to one order of axes."""
    fat, water, mask = (
        np.asarray(nib.as_closest_canonical(nib.load(folder / name)).dataobj)
        for name in ("fat.nii.gz", "water.nii.gz", "out/mask.nii.gz")
    )
    if mask.shape != fat.shape:
        return f"a mask of {mask.shape} beside an image of {fat.shape}"
    inside = mask > 0
    wanted = float((100 * fat[inside] / np.maximum(fat[inside] + water[inside], 1)).mean())
    with (folder / "out" / "fat_fraction.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["slice"] == "all" and row["voxels"] != "0"]
    voxels = [int(row["voxels"]) for row in rows]
    mean = sum(n * float(row["fat_fraction_percent"]) for n, row in zip(voxels, rows, strict=True)) / sum(voxels)
    return None if abs(mean - wanted) < 0.1 else f"fat fraction {mean:.2f}, not {wanted:.2f}"
