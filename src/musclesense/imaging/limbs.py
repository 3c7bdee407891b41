"""Limbs in a scan: how many it shows, which side they are, and the part of the volume in which each lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.grid import right_to_left, slice_axis, slice_count, take_slice
from musclesense.imaging.labels import BACKGROUND
from musclesense.imaging.nifti import Geometry
from musclesense.imaging.outline import Seen, look
from musclesense.vocabulary import Limbs, Side

_OFF_MM, _BORE_MM = 50.0, 250.0
"""A limb that lies so far beside the scanner's middle is that of this side; none lies further than the second."""
# Of the width of a limb: so far from the middle of the image the other would have had room.
_BESIDE = 0.4
# The cut lies in this middle part of the body's width where nothing is seen to part the limbs.
_MIDDLE = (0.3, 0.7)


@dataclass(frozen=True, eq=False)
class FoundLimbs:
    """The limbs of a scan.

    Attributes:
        limbs: What it shows.
        sure: Whether no slice speaks against it, and an outline is seen in one.
        slices: What each of its slices shows.
        why: What speaks for it, in words.
        by_place: Whether the side of a single limb is told by its place in the scanner alone.
    """

    limbs: Limbs
    sure: bool
    slices: Sequence[Seen]
    why: str
    by_place: bool = False

    @property
    def clear(self) -> bool:
        """Whether it is sure, and beyond doubt in one slice."""
        return self.sure and any(seen.count and seen.clear for seen in self.slices)


def find_limbs(image: NDArray[Any], bodies: NDArray[np.bool_], geometry: Geometry) -> FoundLimbs:
    """Find the limbs that a scan shows, by most of its slices.

    Args:
        image: Magnitude, of ``geometry.shape``.
        bodies: ``body_mask`` of its slices, of the same shape.
        geometry: Where the voxels lie.
    """
    slices = [
        look(take_slice(image, geometry, number), take_slice(bodies, geometry, number), geometry)
        for number in range(slice_count(geometry))
    ]
    return sum_up(slices, geometry)


def sum_up(slices: Sequence[Seen], geometry: Geometry) -> FoundLimbs:
    """Let most of the slices of a scan decide what it shows."""
    two, one = (sum(seen.count == count for seen in slices) for count in (2, 1))
    outlined = any(seen.count and seen.outlined for seen in slices)
    if two >= one:
        return FoundLimbs(Limbs.BOTH, not one and outlined, slices, f"seen in {two} of {len(slices)} slices")
    limbs, why, by_place = _side(slices, geometry)
    said = f"since {one} of {len(slices)} slices show one limb, {why}"
    return FoundLimbs(limbs, not two and outlined, slices, said, by_place)


def part_limbs(
    found: FoundLimbs, limbs: Limbs, bodies: NDArray[np.bool_], geometry: Geometry
) -> dict[Side | Limbs, NDArray[np.bool_]]:
    """Give the part of the volume in which each limb lies, of ``geometry.shape``.

    Where what was found is what is known, a piece of the other limb at the edge of the image belongs to none, nor what
    lies apart from limbs, as a towel.

    Args:
        found: From `find_limbs`.
        limbs: What is known of the scan: what was found, or what a user says.
        bodies: ``body_mask`` of its slices.
        geometry: Where the voxels lie.
    """
    halves: dict[Side | Limbs, NDArray[np.bool_]] = {
        limb: np.ones(geometry.shape, dtype=bool) for limb in limbs.sides or (limbs,)
    }
    for number, seen in enumerate(found.slices):
        here = {limb: take_slice(half, geometry, number) for limb, half in halves.items()}
        if limbs is Limbs.BOTH or (seen.piece and limbs is found.limbs):
            parted = split_limbs(take_slice(bodies, geometry, number), geometry, seen)
            for limb, half in here.items():
                half[:] = parted[Side(limb) if limbs is Limbs.BOTH else seen.main]
        if limbs is found.limbs and seen.near is not None:
            for half in here.values():
                half &= seen.near
    return halves


def drop_strays(classes: NDArray[np.uint8], found: FoundLimbs, geometry: Geometry) -> None:
    """Take out of a mask what hangs together, in a slice, and touches nothing that is in or next to a limb.

    Args:
        classes: Class indices of ``geometry.shape``, which are changed.
        found: From `find_limbs`; a slice in which it is not beyond doubt stays as it is.
        geometry: Where the voxels lie.
    """
    for number, seen in enumerate(found.slices):
        own = take_slice(classes, geometry, number)
        if seen.near is not None and own[~seen.near].any():
            pieces, _ = ndimage.label(own)
            own[~np.isin(pieces, pieces[seen.near])] = BACKGROUND


def split_limbs(body: NDArray[np.bool_], geometry: Geometry, seen: Seen) -> dict[Side, NDArray[np.bool_]]:
    """Part a native slice: in the middle of the gap, where the limbs touch, or else in the middle of the body.

    Args:
        body: ``body_mask`` of a native slice.
        geometry: Of its volume: it knows the subject's right.
        seen: What the slice shows.

    Returns:
        For each limb the half of the slice in which it lies, of the shape of ``body``.
    """
    axis, to_left = right_to_left(geometry)
    profile = body.sum(axis=1 - axis)
    from_right = np.arange(len(profile))
    if not to_left:
        profile, from_right = profile[::-1], from_right[::-1]
    cut = _middle_cut(profile) if seen.cut is None else seen.cut
    on_right = np.broadcast_to(np.expand_dims(from_right < cut, 1 - axis), body.shape)
    return {Side.RIGHT: on_right, Side.LEFT: ~on_right}


def _middle_cut(profile: NDArray[np.integer[Any]]) -> int:
    inside = np.flatnonzero(profile)
    if not inside.size:
        return len(profile) // 2
    place = (np.arange(len(profile)) - inside[0]) / max(1, inside[-1] - inside[0])
    middle = np.flatnonzero((place >= _MIDDLE[0]) & (place <= _MIDDLE[1]))
    # Crossing costs twice as much at the ends of the middle part: where nothing parts the limbs, as in the pelvis, they
    # are cut in the middle. A gap costs nothing wherever it lies.
    crossed = profile[middle] * (1 + ((place[middle] - 0.5) / (_MIDDLE[1] - 0.5)) ** 2)
    thinnest = middle[crossed == crossed.min()] if middle.size else inside
    return int(thinnest[len(thinnest) // 2])


def _side(slices: Sequence[Seen], geometry: Geometry) -> tuple[Limbs, str, bool]:
    """Tell the side of one limb, by what, and whether by its place in the scanner alone.

    Before that count a piece of the other limb, and the room beside it.
    """
    ones = [seen for seen in slices if seen.count == 1]
    pieces = [seen.main for seen in ones if seen.piece]
    if 3 * len(pieces) >= len(ones):
        return Limbs(max(Side, key=pieces.count)), "and a piece of the other, which is not counted", False
    start, end = np.median([seen.across for seen in ones], axis=0)
    middle, width = (start + end) / 2, end - start
    if abs(middle - 0.5) >= _BESIDE * width:
        return Limbs.RIGHT if middle < 0.5 else Limbs.LEFT, "with room for the other beside it", False
    right_mm = _right_mm(geometry, middle)
    # Counted from a corner of the image, they are no coordinates of a scanner; a cut along one axis leaves two zeros.
    if np.count_nonzero(geometry.affine[:3, 3]) > 1 and _OFF_MM <= abs(right_mm) <= _BORE_MM:
        side = Limbs.RIGHT if right_mm > 0 else Limbs.LEFT
        return side, f"{abs(right_mm):.0f} mm beside the scanner's middle", True
    return Limbs.ONE, "of a side that is not known", False


def _right_mm(geometry: Geometry, place: float) -> float:
    """Give how far to the right of the scanner's middle a place lies, in parts of the image from its right edge."""
    in_slice, to_left = right_to_left(geometry)
    axis = [axis for axis in range(3) if axis != slice_axis(geometry)][in_slice]
    voxel = (np.array(geometry.shape) - 1) / 2
    voxel[axis] = (place if to_left else 1 - place) * geometry.shape[axis] - 0.5
    return float(geometry.affine[0, :3] @ voxel + geometry.affine[0, 3])
