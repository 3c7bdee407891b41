"""A limb at one level laid out on rasters: everything about it that does not depend on where it is looked at."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.phantom.anatomy.limbs import LimbAnatomy, relative_level, shape_at
from musclesense.phantom.anatomy.rasters import (
    DEEP_HALF,
    DEEP_NODES,
    HALO_HALF,
    HALO_NODES,
    Raster,
    envelope_between,
    fields_between,
    grid,
    neighbours,
    patches,
    resample,
)
from musclesense.phantom.anatomy.templates import TEMPLATES, Keyframe
from musclesense.phantom.texture import Floats, sample

LEVEL_STEP_MM = 2.5  # sections are laid out at multiples of it; at about 1.5 MB each, 32 of them are kept
CANDIDATES = 3  # muscles that a point chooses among
WARP = 0.042  # strength of the random displacement of the template, in its unit
WARP_NODES_PER_UNIT = 4.0
SHEET_POINTS = 9
SHEET_MM = 0.45  # half thickness of aponeuroses

Ends = tuple[tuple[Keyframe, float], tuple[Keyframe, float]]
"""The keyframes below and above a level, each with its weight."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossSection:
    """The template of a limb at one level."""

    radius_mm: tuple[float, float]  # half width of the envelope (x, y)
    fat_mm: float  # mean thickness of the subcutaneous fat
    fat_by_angle: tuple[float, float, float, float]  # relative thickness at medial, posterior, lateral and anterior
    halo: Raster  # distance to the fascia in mm
    deep: Raster  # distances in mm to the muscles that are candidates in a cell, to bone, marrow and dense tissue
    owners: NDArray[np.intp]  # index of the candidates of each cell, shape (cells, ``CANDIDATES``)
    vessels: list[tuple[Floats, float, bool]]  # centre, radius in mm, and whether it is a nerve
    sheets: list[tuple[Floats, float]]  # thin sheets as open lines, with their half thickness in mm
    hub: Floats  # centre of the first bone, around which fascicles are laid


def lay_out(limb: LimbAnatomy, level: float) -> CrossSection:
    """Lay out a limb at the multiple of ``LEVEL_STEP_MM`` nearest to a level; recent ones are kept."""
    return _lay_out(limb, LEVEL_STEP_MM * round(level / LEVEL_STEP_MM))


@lru_cache(maxsize=32)
def _lay_out(limb: LimbAnatomy, level: float) -> CrossSection:
    template, relative = TEMPLATES[limb.region], relative_level(limb, level)
    radius_mm, fat_mm, fat_by_angle = shape_at(limb, level)
    halo = envelope_between(limb.region, relative, *_warp(limb, level, *grid(HALO_HALF, HALO_NODES)))
    below, above, weight = neighbours(limb.region, relative)
    ends = ((template.keyframes[below], 1 - weight), (template.keyframes[above], weight))
    unit_mm = np.float32(np.mean(radius_mm))
    deep, owners = _deep_fields(limb, level, relative, unit_mm, ends)
    vessels, sheets = _vessels_between(limb, ends), _sheets_between(ends)
    lines = [centre for centre, *_ in vessels] + [line for line, _ in sheets]
    placed = np.split(_unwarp(limb, level, np.concatenate(lines)), np.cumsum([len(line) for line in lines])[:-1])
    hub = _mixed([(np.mean(next(iter(frame.bones.values())).outline, axis=0), part) for frame, part in ends])
    return CrossSection(
        radius_mm=radius_mm,
        fat_mm=fat_mm,
        fat_by_angle=fat_by_angle,
        halo=Raster.of(unit_mm * halo[None], HALO_HALF),
        deep=Raster(DEEP_HALF, DEEP_NODES, deep),
        owners=owners,
        vessels=[(centre[0], size, nerve) for centre, (_, size, nerve) in zip(placed, vessels, strict=False)],
        sheets=[(line, half) for line, (_, half) in zip(placed[len(vessels) :], sheets, strict=True)],
        hub=_unwarp(limb, level, hub[None])[0].astype(np.float32),
    )


def _deep_fields(
    limb: LimbAnatomy, level: float, relative: float, unit_mm: np.float32, ends: Ends
) -> tuple[Floats, NDArray[np.intp]]:
    """Give `CrossSection.deep` as patches, and `CrossSection.owners`."""
    template, (low, high) = TEMPLATES[limb.region], (frame for frame, _ in ends)
    x, y = _warp(limb, level, *grid(DEEP_HALF, DEEP_NODES))
    muscles, owners = [], []
    far = np.full(x.shape, 100, np.float32)
    bone, marrow, dense = far, far, far
    for name, field in fields_between(limb.region, relative, x, y):
        distance = unit_mm * field
        if name in template.every:
            index = template.every.index(name)
            owners.append(index)
            muscles.append(distance - (limb.growth_mm[index] + limb.growth_slope[index] * np.float32(level)))
        elif name in low.bones or name in high.bones:
            cortex = _mixed([(frame.bones[name].cortex, part) for frame, part in ends if name in frame.bones])
            distance = distance - np.float32((limb.bone - 1) * 0.2 * unit_mm)
            bone, marrow = np.minimum(bone, distance), np.minimum(marrow, distance + np.float32(cortex) * unit_mm)
        else:
            dense = np.minimum(dense, distance)
    while len(muscles) <= CANDIDATES:  # few are left at a joint
        muscles.append(far)
        owners.append(0)
    candidates, chosen = _nearest(np.stack(muscles), np.array(owners))
    return np.concatenate([candidates, patches(np.stack([bone, marrow, dense]))], axis=1), chosen


def _vessels_between(limb: LimbAnatomy, ends: Ends) -> list[tuple[NDArray[np.float64], float, bool]]:
    """Give the centre (1, 2) in the template, the radius in mm and whether it is a nerve, of each vessel."""
    vessels = []
    for own, there in _between(ends, "vessels"):
        if there > 0.05:
            nerve = own[0][0].nerve
            size = _mixed([(vessel.radius_mm, part) for vessel, part in own]) * min(1.0, 2 * there)
            centre = _mixed([(np.array([vessel.centre]), part) for vessel, part in own])
            vessels.append((centre, float(size) * (1.0 if nerve else limb.calibre), nerve))
    return vessels


def _sheets_between(ends: Ends) -> list[tuple[NDArray[np.float64], float]]:
    """Give the line in the template and the half thickness in mm of each thin sheet."""
    return [
        (_mixed([(resample(line, SHEET_POINTS), part) for line, part in own]), SHEET_MM * min(1.0, 1.6 * there))
        for own, there in _between(ends, "sheets")
        if there > 0.2
    ]


def _between(ends: Ends, kind: str) -> Iterator[tuple[list[tuple[Any, float]], float]]:
    """Give each thing of a kind as the keyframes have it, with their weights and the sum of these."""
    things = [(getattr(frame, kind), part) for frame, part in ends]
    for name in dict.fromkeys(name for named, _ in things for name in named):
        own = [(named[name], part) for named, part in things if name in named and part > 0]
        yield own, sum(part for _, part in own)


def _mixed(ends: list[tuple[Any, float]]) -> Any:
    """Mix what two keyframes say, each by its weight; one alone counts wholly."""
    whole = sum(weight for _, weight in ends)
    if whole == 0:
        return ends[0][0]
    return sum(value * weight for value, weight in ends) / whole


def _nearest(distances: Floats, owners: NDArray[np.intp]) -> tuple[Floats, NDArray[np.intp]]:
    """Keep the muscles nearest to each cell: patches (cells, candidates, 4) and their indices (cells, candidates)."""
    nodes = distances.shape[-1]
    middle = np.ascontiguousarray(np.moveaxis(distances[:, :-1, :-1] + distances[:, 1:, 1:], 0, -1))
    order = np.argpartition(middle.reshape(-1, len(distances)), CANDIDATES, axis=-1)[:, :CANDIDATES]
    corner = (np.arange(nodes - 1)[:, None] * nodes + np.arange(nodes - 1)).reshape(-1, 1)
    flat, at = distances.ravel(), order * nodes**2 + corner
    here, right, down, across = (flat[at + step] for step in (0, 1, nodes, nodes + 1))
    return np.stack([here, right - here, down - here, across - right - down + here], axis=-1), owners[order]


def _warp(limb: LimbAnatomy, level: float, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Displace points of the limb's frame into that of the template."""
    u, v = x * np.float32(WARP_NODES_PER_UNIT), y * np.float32(WARP_NODES_PER_UNIT)
    strength = np.float32(WARP)
    return x + strength * sample(limb.warp[0], level / 2, u, v), y + strength * sample(limb.warp[1], level / 2, u, v)


def _unwarp(limb: LimbAnatomy, level: float, points: NDArray[np.float64]) -> Floats:
    """Undo ``_warp``, nearly: points (n, 2) of the template in the limb's frame."""
    x, y = np.asarray(points, np.float32).T
    warped = _warp(limb, level, x, y)
    return np.stack([2 * x - warped[0], 2 * y - warped[1]], axis=-1)
