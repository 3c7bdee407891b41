"""What a slice shows of limbs: one or two of them, and where they part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.body import fill
from musclesense.imaging.grid import right_to_left, slice_zooms
from musclesense.imaging.nifti import Geometry
from musclesense.vocabulary import Side

_PIXEL_MM, _LEAST_PIXELS, _MOST_PIXELS = 3.0, 40, 256
"""Limbs are looked for in pixels of this size, or finer ones where the body has fewer than so many of them across."""
_CLOSED, _OPENED = 1, 3
"""Pixels: gaps that are closed in an outline, and half the thickness of cloth and tables that is taken off it."""
_FULL = 0.8
"""Where more of the edge of an image than this is no air, the body fills the image."""
_AIR = 5
"""Percentile that is air even where a body fills most of an image."""
_FAINT, _ABOVE_NOISE = 0.15, 4.0
"""The least of a body: in parts of its usual brightness, or twice as much where so many deviations of the noise are."""
_VALLEY = 0.8
"""How thick the bridge between two limbs may be, in parts of the thinner one."""
_DARK, _DARKISH, _PLAIN = 0.3, 0.8, 0.6
"""A cushion is so dark in parts of a limb beside it, or less dark but has so much less contrast."""
_THIN, _PIECE = 0.35, 0.4
"""Less is no second limb: in parts of the other's thickness, and, for what the edge of the image cuts, of its area."""
_WIDE, _WIDISH = 1.6, 1.35
"""Width by height of what cannot be one limb, and of what can hardly be one."""
_THICK = 0.4
"""What is thinner than this part of a limb is none of it."""
_DEEP, _SHALLOW = 0.2, 0.06
"""Depth of a notch between two limbs, in parts of the height, and that of one in what can hardly be one limb."""
_SIDE = 0.3
"""A piece that the edge of the image cuts lies in this part of its width."""


@dataclass(frozen=True)
class Seen:
    """What a slice shows.

    Attributes:
        count: Limbs: two, one, or none where nothing is seen.
        cut: Where two limbs part, or a limb and a piece of the other; in voxels from the subject's right edge.
        main: The side of the cut on which the greater part lies.
        piece: Whether the lesser part is but a piece, cut off by the edge of the image.
        across: Where the greater part begins and ends, in parts of the image from the subject's right edge.
        outlined: Whether there is air around the body; where it fills the image, its width by height alone tells.
    """

    count: int
    cut: int | None = None
    main: Side = Side.RIGHT
    piece: bool = False
    across: tuple[float, float] = (0.0, 1.0)
    outlined: bool = True


def look(image: NDArray[Any], body: NDArray[np.bool_], geometry: Geometry) -> Seen:
    """Look for limbs in a native slice and its ``body_mask``.

    Each limb is a thick place of the body: the distance from its edge has a peak there, and a valley between two.
    Things that are not thick, as a table or a cloth, and those that are dark beside a limb, as a cushion, are none.
    """
    if not body.any():
        return Seen(0)
    axis, to_left = right_to_left(geometry)
    zooms = slice_zooms(geometry)
    if axis == 0:
        image, body, zooms = image.T, body.T, zooms[::-1]
    if not to_left:
        image, body = image[:, ::-1], body[:, ::-1]
    pixel = min(_PIXEL_MM, float(np.ptp(np.flatnonzero(body.any(axis=0))) + 1) * zooms[1] / _LEAST_PIXELS)
    most = [-(-length // _MOST_PIXELS) for length in image.shape]
    steps = (max(1, round(pixel / zooms[0]), most[0]), max(1, round(pixel / zooms[1]), most[1]))
    coarse = _blocks(image, steps)
    if _is_full(coarse):
        wide = image.shape[1] * zooms[1] >= _WIDE * image.shape[0] * zooms[0]
        return Seen(2 if wide else 1, outlined=False)
    outline = _outline(coarse, _blocks(body, steps) >= 0.5)
    if not outline.any():
        return Seen(0)
    seen = _judge(coarse, outline, (zooms[0] * steps[0], zooms[1] * steps[1]))
    return seen if seen.cut is None else replace(seen, cut=_refined(seen.cut, body, steps[1]))


def _blocks(image: NDArray[Any], steps: tuple[int, int]) -> NDArray[np.float32]:
    """Take means of blocks; what is left over at the ends makes smaller ones."""
    sums, sizes = image.astype(np.float32), np.ones((1, 1), np.float32)
    for axis, step in enumerate(steps):
        starts = np.arange(0, image.shape[axis], step)
        sums = np.add.reduceat(sums, starts, axis=axis)
        lengths = np.diff([*starts, image.shape[axis]]).astype(np.float32)
        sizes = sizes * (lengths[:, None] if axis == 0 else lengths)
    means: NDArray[np.float32] = sums / sizes
    return means


def _outline(coarse: NDArray[np.float32], body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find limbs as wholes: dim muscle beside bright fat too, without what is thin."""
    if not body.any():
        return body
    outside = coarse[~body] if not body.all() else coarse.ravel()
    air = np.percentile(coarse, _AIR)
    calm = outside[outside <= np.median(outside)]
    noise = 1.4826 * np.median(np.abs(calm - np.median(calm)))
    usual = float(np.median(coarse[body]) - air)
    bright = body | (coarse > air + np.clip(_ABOVE_NOISE * noise, _FAINT * usual, 2 * _FAINT * usual))
    width, beside = _OPENED + 1, body.shape[1] // 2
    closed = ndimage.binary_closing(np.pad(bright, width), iterations=_CLOSED)[width:-width, width:-width]
    # In its mirror a limb that a side of the image cuts is closed, and its dark muscle is filled.
    filled = fill(np.pad(closed, ((0, 0), (beside, beside)), mode="symmetric"))[:, beside : beside + body.shape[1]]
    opened = ndimage.binary_opening(np.pad(filled, width, mode="edge"), iterations=_OPENED)
    whole: NDArray[np.bool_] = opened[width:-width, width:-width]
    return whole


def _is_full(coarse: NDArray[np.float32]) -> bool:
    """Whether the body fills the image, such that no outline is seen."""
    edge = np.concatenate([coarse[0], coarse[-1], coarse[1:-1, 0], coarse[1:-1, -1]])
    dark, bright = np.percentile(coarse, (1, 98))
    return bool(np.mean(edge > dark + _FAINT * (bright - dark)) > _FULL)


class _Peak(NamedTuple):
    """A thick place: half its thickness in mm, and where it is."""

    radius: float
    at: tuple[int, int]


def _judge(coarse: NDArray[np.float32], outline: NDArray[np.bool_], zooms: tuple[float, float]) -> Seen:
    """Say what an outline shows; the cut counts coarse pixels."""
    depth = _depth(outline, zooms)
    first = _peak(depth, outline)
    second = max(_other_peaks(depth, first, zooms), default=None)
    if second is not None and (thing := _unlike(coarse, outline, zooms, (first, second))):
        nearer = _away(thing, outline.shape, zooms) < _away(second if thing is first else first, outline.shape, zooms)
        return _judge(coarse, outline & ~nearer, zooms)
    shown = _thick(depth, [first, second] if second else [first], zooms)
    height = outline.sum(axis=0)
    if second is not None:
        low, high = sorted((first.at[1], second.at[1]))
        between = height[low : high + 1]
        thinnest = low + np.flatnonzero(between == between.min())
        return _weigh(shown, int(thinnest[len(thinnest) // 2]), second.radius >= _THIN * first.radius)
    columns, rows = (np.flatnonzero(shown.any(axis=axis)) for axis in (0, 1))
    shape = len(columns) * zooms[1] / ((np.ptp(rows) + 1) * zooms[0])
    cut, notch = _notch(shown)
    if notch >= _DEEP or (notch >= _SHALLOW and shape >= _WIDISH) or (notch >= 2 * _SHALLOW and _near_edge(cut, shown)):
        return _weigh(shown, cut, True)
    return Seen(2 if shape >= _WIDE else 1, across=_ends(columns, outline.shape[1]))


def _depth(outline: NDArray[np.bool_], zooms: tuple[float, float]) -> NDArray[np.float64]:
    """Give the distance to the edge of an outline, in mm; what the sides of the image cut goes on beyond them."""
    beside = outline.shape[1] // 2
    padded = np.pad(np.pad(outline, ((0, 0), (beside, beside)), mode="edge"), ((1, 1), (1, 1)))
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(padded, sampling=zooms)
    return depth[1:-1, beside + 1 : -beside - 1]


def _thick(depth: NDArray[np.float64], peaks: Sequence[_Peak], zooms: tuple[float, float]) -> NDArray[np.bool_]:
    """Give limbs around thick places without what hangs on them and is thinner, as a table."""
    half = _THICK * min(peak.radius for peak in peaks)
    cores, _ = ndimage.label(depth >= half)
    core = np.isin(cores, [cores[peak.at] for peak in peaks])
    near: NDArray[np.bool_] = ndimage.distance_transform_edt(~core, sampling=zooms) < half
    return near & (depth > 0)


def _peak(depth: NDArray[np.float64], where: NDArray[np.bool_]) -> _Peak:
    row, column = np.unravel_index(np.where(where, depth, 0).argmax(), depth.shape)
    return _Peak(float(depth[row, column]), (int(row), int(column)))


def _other_peaks(depth: NDArray[np.float64], first: _Peak, zooms: tuple[float, float]) -> Iterator[_Peak]:
    """Find the thick places beside the thickest, each with a valley between."""
    for level in np.linspace(0, _VALLEY, 17) * first.radius:
        places, count = ndimage.label(depth > level)
        for place in {*range(1, count + 1)} - {int(places[first.at])}:
            peak = _peak(depth, places == place)
            down, across = (abs(a - b) * zoom for a, b, zoom in zip(peak.at, first.at, zooms, strict=True))
            if level <= _VALLEY * peak.radius and across > down:
                yield peak


def _unlike(
    coarse: NDArray[np.float32], outline: NDArray[np.bool_], zooms: tuple[float, float], peaks: Sequence[_Peak]
) -> _Peak | None:
    """Find which of two thick places is none of a limb: much darker, or darker and plain where the other is not."""
    bright, contrast = [], []
    for peak in peaks:
        inside = outline & (_away(peak, outline.shape, zooms) <= 0.9)
        low, high = np.percentile(coarse[inside] - np.percentile(coarse, _AIR), (5, 95))
        bright.append(high)
        contrast.append((high - low) / max(high, 1e-6))
    dark = int(np.argmin(bright))
    part = bright[dark] / max(bright[1 - dark], 1e-6)
    plain = contrast[dark] < _PLAIN * contrast[1 - dark]
    return peaks[dark] if part < _DARK or (plain and part < _DARKISH) else None


def _away(peak: _Peak, shape: tuple[int, ...], zooms: tuple[float, float]) -> NDArray[np.float64]:
    """Give the distance of each pixel from a thick place, in parts of its radius."""
    down, across = ((np.arange(size) - at) * zoom for size, at, zoom in zip(shape, peak.at, zooms, strict=True))
    away: NDArray[np.float64] = np.hypot(down[:, None], across) / peak.radius
    return away


def _notch(shown: NDArray[np.bool_]) -> tuple[int, float]:
    """Give where the front or the back of an outline is deepest between two humps, and how deep, of its height."""
    columns = np.flatnonzero(shown.any(axis=0))
    inside = shown[:, columns[0] : columns[-1] + 1]
    found = []
    for side in (inside, inside[::-1]):
        top = len(side) - side.argmax(axis=0)
        humps = np.minimum(np.maximum.accumulate(top), np.maximum.accumulate(top[::-1])[::-1])
        deepest = np.flatnonzero(humps - top == (humps - top).max())
        found.append((float((humps - top).max()), int(deepest[len(deepest) // 2])))
    depth, at = max(found)
    return int(columns[0]) + at, depth / (np.ptp(np.flatnonzero(shown.any(axis=1))) + 1)


def _near_edge(cut: int, shown: NDArray[np.bool_]) -> bool:
    """Whether a cut takes a piece off a limb where a side of the image cuts it."""
    place = cut / shown.shape[1]
    return bool((place < _SIDE and shown[:, 0].any()) or (place > 1 - _SIDE and shown[:, -1].any()))


def _weigh(shown: NDArray[np.bool_], cut: int, thick: bool) -> Seen:
    """Compare what lies on both sides of a cut."""
    parts = {Side.RIGHT: shown[:, :cut], Side.LEFT: shown[:, cut:]}
    main, lesser = sorted(parts, key=lambda side: int(parts[side].sum()), reverse=True)
    at_edge = bool(shown[:, 0 if lesser is Side.RIGHT else -1].any())
    small = parts[lesser].sum() < _PIECE * parts[main].sum()
    columns = np.flatnonzero(parts[main].any(axis=0)) + (0 if main is Side.RIGHT else cut)
    count = 2 if (not small if at_edge else thick) else 1
    return Seen(count, cut, main, piece=at_edge and count == 1, across=_ends(columns, shown.shape[1]))


def _ends(columns: NDArray[np.intp], length: int) -> tuple[float, float]:
    return float(columns[0] / length), float((columns[-1] + 1) / length)


def _refined(cut: int, body: NDArray[np.bool_], step: int) -> int:
    """Move a cut of coarse pixels to the middle of the gap that it lies in, or to the thinnest place near by."""
    middle = int((cut + 0.5) * step)
    profile = body.sum(axis=0)
    if middle < len(profile) and not profile[middle]:
        inside = np.flatnonzero(profile)
        before, after = inside[inside < middle], inside[inside > middle]
        if before.size and after.size:
            return int(before[-1] + after[0] + 1) // 2
    near = np.arange(max(middle - 2 * step, 0), min(middle + 2 * step + 1, len(profile)))
    thinnest = near[profile[near] == profile[near].min()]
    return int(thinnest[len(thinnest) // 2])
