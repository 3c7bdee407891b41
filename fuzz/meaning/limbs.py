"""One limb or two, anywhere in an image: phantoms of one limb laid into frames of air."""

import csv
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fuzz.case import Case, Draw, Verdict
from fuzz.seeds import Seeds
from musclesense.phantom.any_scanner import synthetic_slice
from musclesense.vocabulary import Limbs, Side

SCENES = ("alone", "amputee", "piece", "apart", "touching", "unequal", "beside the middle", "towel", "coil")
_PIXEL_MM = 2.0
_OVER_SKIN = 2
_ALONE = ("noise", "surroundings", "artefacts", "shading", "swaps")


@dataclass(frozen=True, eq=False)
class Scene:
    """A slice in display order: rows from anterior to posterior, columns from right to left.

    Attributes:
        kind: One of `SCENES`.
        image: Fat is bright.
        owner: 0 in air, 1 in the right limb, 2 in the left one.
        limbs: What it shows.
        sides: Which answers are right: a side, or that it is not known.
    """

    kind: str
    image: NDArray[np.float32]
    owner: NDArray[np.uint8]
    limbs: Limbs
    sides: tuple[str, ...]


def scene(draw: Draw, kind: str) -> Scene:
    """Lay one or two limbs into a frame, as a kind of scene says."""
    first, second = _limb(draw), _limb(draw)
    if kind != "unequal":
        second = first[:, ::-1] * np.float32(draw.random.uniform(0.7, 1.3))
    elif first.shape[0] < second.shape[0]:
        first, second = second, first
    thin = min(first.shape[1], second.shape[1])
    gap = {"touching": 0, "piece": draw.below(12), "unequal": 2 + draw.below(15)}.get(kind, 4 + draw.below(40))
    below = max(first.shape[0], second.shape[0])
    parts = [np.pad(part, ((below - part.shape[0], 0), (0, 0))) for part in (first, second)]
    body = np.concatenate([parts[0], np.zeros((below, gap), np.float32), parts[1]], axis=1)
    owner = np.concatenate([np.ones_like(parts[0]), np.zeros((below, gap)), 2 * np.ones_like(parts[1])], axis=1)
    owner = (owner * (body > 0)).astype(np.uint8)
    limbs, side = Limbs.BOTH, Side.RIGHT
    if kind in ("alone", "amputee"):
        owner[owner == 2] = 0
        body *= owner > 0
        limbs = Limbs.RIGHT
        if kind == "alone":
            body, owner = body[:, : first.shape[1]], owner[:, : first.shape[1]]
    elif kind == "piece":
        keep = first.shape[1] + gap + max(3, int(draw.random.uniform(0.03, 0.3) * thin))
        body, owner, limbs = body[:, :keep], owner[:, :keep], Limbs.RIGHT
    elif kind in ("towel", "coil") and draw.chance(0.5):
        body, owner, limbs = body[:, : first.shape[1]], owner[:, : first.shape[1]], Limbs.RIGHT
    beside = [4 + draw.below(25), 0 if kind == "piece" else 4 + draw.below(25)]
    beside[0] += draw.below(90) if kind == "beside the middle" else 0
    around = ((8 + draw.below(20), 8 + draw.below(20)), (beside[0], beside[1]))
    body, owner = np.pad(body, around), np.pad(owner, around)
    if kind in ("towel", "coil"):
        body = np.maximum(body, _thing(draw, kind, owner))
    if draw.chance(0.5):  # the same in a mirror
        body, owner = body[:, ::-1], np.array([0, 2, 1], np.uint8)[owner[:, ::-1]]
        limbs, side = limbs if limbs is Limbs.BOTH else Limbs.LEFT, Side.LEFT
    noise = draw.random.normal(0, draw.random.uniform(1, 6), (2, *body.shape))
    image = np.hypot(body + noise[0], noise[1]).astype(np.float32)
    sides = ("both",) if limbs is Limbs.BOTH else (side.value,) if kind == "amputee" else (side.value, "one")
    return Scene(kind, image, owner, limbs, sides)


def _limb(draw: Draw) -> NDArray[np.float32]:
    """Draw one limb without air around it, 0 outside, 200 where it is brightest."""
    while True:
        slice_ = synthetic_slice(draw.random, without=_ALONE)
        inside = ndimage.binary_fill_holes(slice_.image > 0.02 * slice_.image.max())
        edge = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
        if slice_.limbs is Limbs.BOTH or edge.any():
            continue
        zoom = slice_.geometry.zooms[0] / _PIXEL_MM
        limb = ndimage.zoom(np.where(inside, np.maximum(slice_.image, 1), 0), zoom, order=1)
        (rows, columns) = ndimage.find_objects((limb > 0).astype(int))[0]
        if limb.max() > 0:
            return np.asarray(limb[rows, columns] * (200 / np.percentile(limb, 99.5)), np.float32)


def _thing(draw: Draw, kind: str, owner: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Draw the line of a coil's housing about the front, or a faint folded towel beside or below, apart by air."""
    air = ndimage.distance_transform_edt(owner == 0)
    bright = np.float32(draw.random.uniform(15, 40))
    if kind == "coil":
        front = np.arange(len(owner))[:, None] < np.nonzero(owner)[0].mean()
        return np.where((np.abs(air - draw.random.uniform(3, 6)) < 0.8) & front, bright, np.float32(0))
    lowest = np.nonzero(owner.any(axis=1))[0][-1]
    rows = np.arange(len(owner))[:, None]
    below = (rows > lowest + 2) & (rows < lowest + 3 + draw.below(5))
    return np.where(below & (air > 1), bright, np.float32(0)).astype(np.float32)


def make(draw: Draw, folder: Path, seeds: Seeds) -> Case:
    """Segment a scene: limbs that are named hold their own voxels alone."""
    shown = scene(draw, draw.one_of(SCENES))
    codes = draw.one_of(("LPS", "RAS", "LAS", "RPI"))
    save(folder / "fat.nii.gz", shown.image, codes)
    (folder / "model.ckpt").write_bytes(seeds.model)
    arguments = ("segment", "--fat", "fat.nii.gz", "--region", "thigh", "--model", "model.ckpt", "--out", "out")

    def right(folder: Path, said: str) -> str | None:
        with (folder / "out" / "fat_fraction.csv").open() as file:
            rows = {row["limb"]: int(row["voxels"]) for row in csv.DictReader(file) if row["slice"] == "all"}
        mask = nib.as_closest_canonical(nib.load(folder / "out" / "mask.nii.gz"))
        found = np.asarray(mask.dataobj)[::-1, ::-1, 0].T > 0
        return wrong(shown, rows, found)

    return Case(arguments=arguments, changes=f"{shown.kind} as {codes}", verdict=Verdict.ACCEPT, right=right)


def wrong(shown: Scene, rows: dict[str, int], mask: NDArray[np.bool_]) -> str | None:
    """Say what is wrong with the voxels of limbs, or None."""
    wanted = {"right", "left"} if shown.limbs is Limbs.BOTH else {next(iter(rows))} & set(shown.sides)
    if set(rows) != wanted:
        return f"{shown.kind}: limbs {', '.join(rows)}"
    # Pixels of the seeds' network are larger than those of the image: its mask reaches over the skin.
    away, nearest = ndimage.distance_transform_edt(shown.owner == 0, return_indices=True)
    owner = np.where(away <= _OVER_SKIN, shown.owner[tuple(nearest)], 0)
    for limb, voxels in rows.items():
        index = 2 if "left" in (limb, shown.limbs.value if limb == "one" else "") else 1
        own = int(np.count_nonzero(mask & (owner == index)))
        # A line close to the skin, which the seeds' network takes for muscle, is counted in part.
        if abs(voxels - own) > (0.1 if shown.kind in ("towel", "coil") else 0.03) * max(own, 100):
            return f"{shown.kind}: {limb} has {voxels} voxels, and {own} lie in it"
    return None


def save(path: Path, display: NDArray[np.float32], codes: str) -> None:
    """Store a slice with the axes that ``codes`` names, about the scanner's middle."""
    data = display.T[::-1, ::-1, None]  # to RAS
    affine = np.diag([_PIXEL_MM, _PIXEL_MM, 8.0, 1.0])
    affine[:3, 3] = -affine[:3, :3] @ (np.array(data.shape) - 1) / 2
    image = nib.Nifti1Image(np.ascontiguousarray(data), affine)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    nib.save(image.as_reoriented(turn), path)
