"""The keyframes of a region as distance fields, and the fields between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

from musclesense.phantom.anatomy.templates import TEMPLATES, Keyframe, Points
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Region

DEEP_HALF, DEEP_NODES = 1.35, 104
"""Half width, in the template's unit, and nodes along a side of the grid within the fascia."""
HALO_HALF, HALO_NODES = 2.9, 80
"""The same for the grid that reaches beyond the skin."""
MARGIN, FAR = 0.45, 2.0
"""How far around an outline its distance is known, and what stands for it beyond."""


@dataclass(frozen=True, eq=False)
class Raster:
    """Fields on the cells of a square grid, as coefficients of bilinear patches, shape (cells, fields, 4)."""

    half: float
    nodes: int
    patches: Floats

    @classmethod
    def of(cls, fields: Floats, half: float) -> Self:
        """Make it of the values at the nodes, shape (fields, nodes, nodes)."""
        return cls(half, fields.shape[-1], patches(fields))

    def locate(self, x: Floats, y: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Give the cell of each point and the weights of its coefficients, shape (points, 4)."""
        scale, last = np.float32((self.nodes - 1) / (2 * self.half)), np.float32(self.nodes - 1.001)
        u = np.clip((x + np.float32(self.half)) * scale, 0, last)
        v = np.clip((y + np.float32(self.half)) * scale, 0, last)
        i, j = u.astype(np.intp), v.astype(np.intp)
        a, b = (u - i).astype(np.float32), (v - j).astype(np.float32)
        return j * (self.nodes - 1) + i, np.stack([np.ones_like(a), a, b, a * b], axis=-1)

    def read(self, cell: NDArray[np.intp], weights: Floats) -> Floats:
        """Give the fields at located points, shape (fields, points)."""
        return np.asarray(np.einsum("pfk,pk->fp", self.patches[cell], weights))


def patches(fields: Floats) -> Floats:
    """Turn values at nodes, shape (fields, nodes, nodes), into coefficients of cells, shape (cells, fields, 4)."""
    here, right = fields[:, :-1, :-1], fields[:, :-1, 1:]
    down, across = fields[:, 1:, :-1], fields[:, 1:, 1:]
    stacked = np.stack([here, right - here, down - here, across - right - down + here], axis=-1)
    return np.ascontiguousarray(stacked.reshape(len(fields), -1, 4).swapaxes(0, 1), dtype=np.float32)


def grid(half: float, nodes: int) -> tuple[Floats, Floats]:
    """Give x and y of the nodes of a grid."""
    axis = np.linspace(-half, half, nodes, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    return x, y


def neighbours(region: Region, level: float) -> tuple[int, int, float]:
    """Give the keyframes below and above a level, 0 to 1, and the weight of the one above."""
    levels = [keyframe.level for keyframe in TEMPLATES[region].keyframes]
    above = min(int(np.searchsorted(levels, level)), len(levels) - 1)
    below = max(above - 1, 0)
    if level <= levels[below] or above == below:
        return below, below, 0.0
    if level == TEMPLATES[region].levels[0]:  # what lies beyond it is for others
        return above, above, 0.0
    return below, above, min((level - levels[below]) / (levels[above] - levels[below]), 1.0)


def envelope_between(region: Region, level: float, x: Floats, y: Floats) -> Floats:
    """Give the signed distance to the fascia at points, in the template's unit."""
    below, above, weight = neighbours(region, level)
    step = 2 * HALO_HALF / (HALO_NODES - 1)
    at = np.stack([(y + HALO_HALF) / step, (x + HALO_HALF) / step])
    field = (1 - weight) * _halo(region, below) + weight * _halo(region, above)
    return np.asarray(ndimage.map_coordinates(field, at, order=1, mode="nearest"))


def fields_between(region: Region, level: float, x: Floats, y: Floats) -> Iterator[tuple[str, Floats]]:
    """Give the name and the signed distance, in the template's unit, of each outline that is there at a level.

    Centres move and centred distances change linearly from keyframe to keyframe, so that a muscle that drifts
    does not thin out on its way; one that the other keyframe lacks shrinks to nothing towards it.
    """
    below, above, weight = neighbours(region, level)
    step = np.float32(2 * DEEP_HALF / (DEEP_NODES - 1))
    low, high = _outlines(region, below), _outlines(region, above)
    column, row = (x + np.float32(DEEP_HALF)) / step, (y + np.float32(DEEP_HALF)) / step
    for name in dict.fromkeys([*low, *high]):
        if name not in high or weight == 0:
            parts = [(low[name], 1.0, weight)] if name in low else []
        elif name not in low:
            parts = [(high[name], 1.0, 1 - weight)]
        else:
            parts = [(low[name], 1 - weight, 0.0), (high[name], weight, 0.0)]
        if not parts:
            continue
        centre = sum(share * outline.centre for outline, share, _ in parts)
        # Only points near the outline are worth reading.
        reach = np.max([outline.reach for outline, _, _ in parts], axis=0) + MARGIN
        lowest, highest = ((centre + sign * reach + DEEP_HALF) / step for sign in (-1, 1))
        columns, rows = (slice(max(int(a), 0), max(int(b) + 1, 0)) for a, b in zip(lowest, highest, strict=True))
        near, field = np.zeros_like(row[rows, columns]), np.full(x.shape, FAR, np.float32)
        for outline, share, lost in parts:
            shift = np.asarray((outline.centre - centre) / step, np.float32)
            at = np.stack([row[rows, columns] + shift[1], column[rows, columns] + shift[0]])
            read = ndimage.map_coordinates(outline.field, at, order=1, mode="nearest")
            near += np.float32(share) * (read + np.float32(lost * outline.thickness))
        field[rows, columns] = near
        yield name, field


class _Outline(NamedTuple):
    """An outline of a keyframe."""

    field: Floats  # signed distance at the nodes, (``DEEP_NODES``, ``DEEP_NODES``)
    centre: NDArray[np.float64]  # mean of its curve
    reach: NDArray[np.float64]  # how far it reaches from there along x and y
    thickness: float  # how deep its deepest point lies


@cache
def _outlines(region: Region, number: int) -> dict[str, _Outline]:
    keyframe: Keyframe = TEMPLATES[region].keyframes[number]
    x, y = grid(DEEP_HALF, DEEP_NODES)
    bones = {name: bone.outline for name, bone in keyframe.bones.items()}
    outlines = {}
    for name, points in {**keyframe.muscles, **bones, **keyframe.solid}.items():
        curve = draw_curve(points)
        # A little blur rounds the ridges of the distance, where the curves of two edges meet.
        field = ndimage.gaussian_filter(_signed_distance(curve, x, y), 0.65).astype(np.float32)
        centre = np.mean(curve, axis=0)
        reach = np.abs(np.array(curve) - centre).max(axis=0)
        outlines[name] = _Outline(field, centre, reach, float(max(-field.min(), 0.01)))
    return outlines


@cache
def _halo(region: Region, number: int) -> Floats:
    curve = draw_curve(TEMPLATES[region].keyframes[number].envelope)
    field = _signed_distance(curve, *grid(HALO_HALF, HALO_NODES))
    return np.asarray(ndimage.gaussian_filter(field, 0.5), dtype=np.float32)


def draw_curve(points: Points) -> Points:
    """Draw a smooth closed curve through control points."""
    closed = np.array([*points, points[0]])
    along = np.concatenate([[0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(closed, axis=0), axis=1)))])
    at = np.linspace(0, along[-1], 4 * len(points), endpoint=False)
    return tuple((float(x), float(y)) for x, y in CubicSpline(along, closed, bc_type="periodic")(at))


def resample(line: Points, count: int) -> NDArray[np.float64]:
    """Give points at equal steps along an open line, shape (count, 2)."""
    points = np.array(line)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, along[-1], count)
    return np.stack([np.interp(at, along, column) for column in points.T], axis=-1)


def _signed_distance(outline: Points, x: Floats, y: Floats) -> Floats:
    """Distance of points to a closed polygon, negative inside."""
    nearest, inside = np.full(x.shape, np.inf, np.float32), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(outline, outline[1:] + outline[:1], strict=True):
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return np.where(inside, -nearest, nearest)
