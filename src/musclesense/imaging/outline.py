"""What a slice shows of limbs: one or two of them, and where they part."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.body import fill
from musclesense.imaging.grid import right_to_left, runs_back, slice_zooms
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
_SURELY_ABOVE, _BARELY = 8.0, 0.1
"""So many deviations are no noise, and this part of the brightest fat is none."""
_VALLEY = 0.8
"""How thick the bridge between two limbs may be, in parts of the thinner one."""
_DARK, _DARKISH, _PLAIN = 0.3, 0.8, 0.6
"""A cushion is so dark in parts of a limb beside it, or less dark but has so much less contrast."""
_THIN, _PIECE = 0.35, 0.4
"""Less is no second limb: in parts of the other's thickness, and, for what the edge of the image cuts, of its area."""
_WIDE, _WIDISH = 1.6, 1.35
"""Width by height of what cannot be one limb, and of what can hardly be one."""
_ALIKE = 0.7
"""Of two limbs, the thickness of the thinner one in parts of the other's at least, if there is no doubt; and detail."""
_OTHERS = 0.3
"""Beside one limb, so much of its area that is no noise may be another."""
_NEAR, _DIRECTIONS = 1.0, 32
"""Pixels: how far about its hull something is counted to a limb; and in so many directions the hull is known."""
_THICK = 0.4
"""What is thinner than this part of a limb is none of it."""
_DEEP, _SHALLOW = 0.2, 0.06
"""Depth of a notch between two limbs, in parts of the height, and that of one in what can hardly be one limb."""
_SLIVER = 2
"""Pixels: so much higher than its waist is a sliver of another limb at the edge."""
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
        clear: Whether the count is beyond doubt: outlined, no piece, and nothing else that could be a limb.
        near: What lies in a limb or next to it, of the shape of the slice, where that is beyond doubt.
    """

    count: int
    cut: int | None = None
    main: Side = Side.RIGHT
    piece: bool = False
    across: tuple[float, float] = (0.0, 1.0)
    outlined: bool = True
    clear: bool = True
    near: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)


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
    display = tuple(slice(None, None, 1 if onward else -1) for onward in (runs_back(geometry), to_left))
    image, body = image[display], body[display]
    pixel = min(_PIXEL_MM, float(np.ptp(np.flatnonzero(body.any(axis=0))) + 1) * zooms[1] / _LEAST_PIXELS)
    most = [-(-length // _MOST_PIXELS) for length in image.shape]
    steps = (max(1, round(pixel / zooms[0]), most[0]), max(1, round(pixel / zooms[1]), most[1]))
    coarse = _blocks(image, steps)
    if _is_full(coarse):
        wide = image.shape[1] * zooms[1] >= _WIDE * image.shape[0] * zooms[0]
        return Seen(2 if wide else 1, outlined=False, clear=False)
    small = _blocks(body, steps) >= 0.5
    outline, faint = _outline(coarse, small)
    if not outline.any():
        return Seen(0)
    seen = _judge(coarse, outline, (zooms[0] * steps[0], zooms[1] * steps[1]))
    others = seen.count == 1 and (faint & ~outline).sum() > _OTHERS * outline.sum()
    if seen.clear and not others:
        near = _near(outline | faint | small, seen.cut)
        near = near.repeat(steps[0], axis=0).repeat(steps[1], axis=1)[: len(image), : image.shape[1]]
        seen = replace(seen, near=near[display].T if axis == 0 else near[display])
    cut = None if seen.cut is None else _refined(seen.cut, body, steps[1])
    return replace(seen, cut=cut, clear=seen.clear and not others)


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


def _outline(coarse: NDArray[np.float32], body: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find limbs as wholes: dim muscle beside bright fat too, without what is thin; and what is faint, too."""
    if not body.any():
        return body, body
    outside = coarse[~body] if not body.all() else coarse.ravel()
    air = np.percentile(coarse, _AIR)
    calm = outside[outside <= np.median(outside)]
    noise = 1.4826 * np.median(np.abs(calm - np.median(calm)))
    usual = float(np.median(coarse[body]) - air)
    least = np.clip(_ABOVE_NOISE * noise, _FAINT * usual, 2 * _FAINT * usual)
    # Where most of a body is dark muscle, that is below the noise.
    surely = min(_SURELY_ABOVE * noise, _BARELY * float(np.percentile(coarse[body] - air, 90)))
    bright = body | (coarse > air + max(least, surely))
    width, beside = _OPENED + 1, body.shape[1] // 2
    closed = ndimage.binary_closing(np.pad(bright, width), iterations=_CLOSED)[width:-width, width:-width]
    # In its mirror a limb that a side of the image cuts is closed, and its dark muscle is filled.
    filled = fill(np.pad(closed, ((0, 0), (beside, beside)), mode="symmetric"))[:, beside : beside + body.shape[1]]
    # What was closed between limbs is opened again: air comes in.
    outside = ndimage.binary_propagation(~filled, mask=~filled | (closed & ~bright))
    return _thick_parts(~outside), _thick_parts(coarse > air + max(surely / 2, _FAINT**2 * usual))


def _thick_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Give a mask without what is thin; what the sides of the image cut goes on beyond them."""
    padded = np.pad(mask, ((_OPENED + 1,), (2 * _OPENED + 1,)), mode="edge")
    opened: NDArray[np.bool_] = ndimage.binary_opening(padded, iterations=_OPENED)
    return opened[_OPENED + 1 : -_OPENED - 1, 2 * _OPENED + 1 : -2 * _OPENED - 1]


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
    ends = (0, depth.shape[1] - 1)
    others = (peak for peak in _other_peaks(depth, first, zooms) if _could_be_limb(peak, first) or peak.at[1] in ends)
    second = max(others, default=None)
    if second is not None and (thing := _unlike(coarse, outline, zooms, (first, second))):
        nearer = _away(thing, outline.shape, zooms) < _away(second if thing is first else first, outline.shape, zooms)
        left = _judge(coarse, outline & ~nearer, zooms)
        return replace(left, clear=left.clear and not _could_be_limb(second, first))
    shown = _thick(depth, [first, second] if second else [first], zooms)
    height = outline.sum(axis=0)
    if second is not None:
        low, high = sorted((first.at[1], second.at[1]))
        between = height[low : high + 1]
        thinnest = low + np.flatnonzero(between == between.min())
        seen = _weigh(shown, int(thinnest[len(thinnest) // 2]), _could_be_limb(second, first))
        return replace(seen, clear=not seen.piece and second.radius >= _ALIKE * first.radius)
    columns, rows = (np.flatnonzero(shown.any(axis=axis)) for axis in (0, 1))
    if slivers := [*_slivers(height, columns)]:
        return replace(_weigh(outline, slivers[0], True), clear=False)
    shape = len(columns) * zooms[1] / ((np.ptp(rows) + 1) * zooms[0])
    cut, notch = _notch(shown)
    if notch >= _DEEP or (notch >= _SHALLOW and shape >= _WIDISH) or (notch >= 2 * _SHALLOW and _near_edge(cut, shown)):
        return replace(_weigh(shown, cut, True), clear=False)
    return Seen(2 if shape >= _WIDE else 1, across=_ends(columns, outline.shape[1]), clear=bool(shape < _WIDISH))


def _could_be_limb(second: _Peak, first: _Peak) -> bool:
    """Whether a thick place is thick enough to be a limb beside the thickest."""
    return second.radius >= _THIN * first.radius


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
    # Far from a coil a limb is dark, too, but of the other's size and detail.
    alike = min(contrast) >= _ALIKE * max(contrast) and peaks[1].radius >= _ALIKE * peaks[0].radius
    return peaks[dark] if (part < _DARK and not alike) or (plain and part < _DARKISH) else None


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


def _slivers(height: NDArray[np.integer[Any]], columns: NDArray[np.intp]) -> Iterator[int]:
    """Find where a limb that ends in these columns parts from what a side of the image cuts and is too thin for one."""
    first, last = int(columns[0]), int(columns[-1])
    for beyond, end, step in ((height[: first + 1][::-1], first, -1), (height[last:], last, 1)):
        waist = int(beyond.argmin())
        if beyond[-1] >= beyond[waist] + _SLIVER:
            yield end + step * waist


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


def _near(outline: NDArray[np.bool_], cut: int | None) -> NDArray[np.bool_]:
    """Give what lies within or next to the hull of a limb on either side of a cut, by its ends in many directions."""
    rows, columns = np.indices(outline.shape)
    near = np.zeros_like(outline)
    for own in (columns < (cut or 0), columns >= (cut or 0)):
        if (limb := outline & own).any():
            here = own.copy()
            for angle in np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False):
                along = np.cos(angle) * rows + np.sin(angle) * columns
                here &= along <= along[limb].max() + _NEAR
            near |= here
    return near


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
