"""Both limbs in a slice: what lies at the points of each voxel, and which muscle the voxel then belongs to."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.phantom.anatomy.limbs import LimbAnatomy, Pose, reach_mm
from musclesense.phantom.anatomy.section import Tissue, draw_section
from musclesense.phantom.anatomy.templates import TEMPLATES, compartment_values, every_value, paper_values
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease.infiltration import Infiltration, infiltrate, oedema
from musclesense.phantom.scanner.signal import Drawing
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Region, Side

FINE_MM, COARSE_MM = 1.3, 2.0
"""Voxels up to the first size are too fine for an observer to go around gaps of two; up to the second, of one."""


GAP_MM = 1.9
"""Radius of the disc that closes gaps in `every_muscle`: gaps of 2 to 3 mm, as `whole_muscle` does in usual voxels."""


class PlacedLimb(NamedTuple):
    """A limb in the scanner: its anatomy, how it lies, and the state of its muscles."""

    anatomy: LimbAnatomy
    pose: Pose
    infiltration: Infiltration


def draw_slice(stack: Stack, limbs: list[PlacedLimb], offset_mm: float) -> Drawing:
    """Draw the limbs at every point of every voxel; where they touch, the first one keeps its place.

    ``offset_mm`` is the position of the slice relative to the middle of the stack, towards the hip.
    """
    shape = (stack.points, stack.rows, stack.columns)
    drawing = Drawing(
        tissue=np.zeros(shape, np.uint8),
        muscle_fat=np.zeros(shape, np.float32),
        density=np.ones(shape, np.float32),
        oedema=np.zeros(shape, np.float32),
        compartment=np.zeros(shape, np.uint8),
    )
    x = ((np.arange(stack.columns) - (stack.columns - 1) / 2) * stack.voxel_mm).astype(np.float32)
    y = ((np.arange(stack.rows) - (stack.rows - 1) / 2) * stack.voxel_mm).astype(np.float32)
    for limb in limbs:
        _draw_limb(drawing, stack, limb, offset_mm, x, y)
    return drawing


def _draw_limb(drawing: Drawing, stack: Stack, limb: PlacedLimb, offset_mm: float, x: Floats, y: Floats) -> None:
    """Draw a limb where nothing lies yet; ``x`` and ``y`` are the middles of columns and rows in mm."""
    anatomy, pose, infiltration = limb
    codes = np.array([0, *every_value(anatomy.region, anatomy.side)], np.uint8)
    middle = [centre + slope * offset_mm for centre, slope in zip(pose.centre_mm, pose.slope, strict=True)]
    reach = reach_mm(anatomy, pose.level_mm + offset_mm)
    rows, columns = (
        slice(*np.searchsorted(axis, (at - reach, at + reach))) for axis, at in zip((y, x), middle[::-1], strict=True)
    )
    near = np.hypot(*np.meshgrid(x[columns] - np.float32(middle[0]), y[rows] - np.float32(middle[1]))) < reach
    if pose.joined and pose.contact_mm is not None:
        near &= (x[columns] > pose.contact_mm) == (anatomy.side is Side.LEFT)
    for point, (right, down, along) in enumerate(voxel_points(stack.points)):
        here = (point, rows, columns)
        free = near & (drawing.tissue[here] == Tissue.AIR)
        row, column = np.nonzero(free)
        section = draw_section(
            anatomy,
            pose,
            offset_mm + along * stack.slice_mm,
            x[columns][column] + np.float32(right * stack.voxel_mm),
            y[rows][row] + np.float32(down * stack.voxel_mm),
            infiltration.atrophy_mm,
        )
        muscle = section.tissue == Tissue.MUSCLE
        drawing.tissue[here][free] = section.tissue
        drawing.muscle_fat[here][free] = infiltrate(section, infiltration) * muscle
        drawing.density[here][free] = section.density
        drawing.compartment[here][free] = codes[section.muscle]
        if infiltration.swelling.any():
            drawing.oedema[here][free] = oedema(section, infiltration) * muscle


@cache
def voxel_points(count: int) -> tuple[tuple[float, float, float], ...]:
    """Spread points over a voxel: (right, down, along the limb), each from -0.5 to 0.5, on average 0.

    In the plane they follow the additive recurrence of the plastic number, which fills a square evenly; across the
    slice each has a layer of its own.
    """
    number = np.arange(count)
    plane = np.stack([number * 0.7548776662 % 1, number * 0.5698402910 % 1], axis=-1)
    layer = (number + 0.5) / count - 0.5
    points = np.column_stack([plane - plane.mean(axis=0), layer])
    return tuple((float(right), float(down), float(along)) for right, down, along in points)


def most_common(points: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give voxels more than half full of muscle the compartment that most of their points belong to, others 0.

    Where just half of the points, (points, rows, columns), are muscle, the first one tells.
    """
    first, *others = points
    filled = 2 * np.count_nonzero(points, axis=0)
    full = (filled > len(points)) | ((filled == len(points)) & (first > 0))
    mixed = full & np.any([first != other for other in others], axis=0) if others else np.zeros_like(full)
    voxels = np.where(full, first, np.uint8(0))
    candidates = points[:, mixed]
    votes = (candidates[:, None] == candidates).sum(axis=0) * (candidates > 0)
    voxels[mixed] = np.take_along_axis(candidates, votes.argmax(axis=0)[None], axis=0)[0]
    return voxels


def whole_muscle(compartments: NDArray[np.uint8], region: Region, voxel_mm: float) -> NDArray[np.uint8]:
    """Give the mask that the paper's readers draw: 1 in every muscle but the unlabelled ones, and between muscles.

    Nobody draws around septa a voxel or two wide, so these are filled, unless voxels are so coarse that a gap is fat.
    ``compartments`` is (slices, rows, columns) or (rows, columns).
    """
    template, values = TEMPLATES[region], compartment_values(region)
    left_out = [value for name, value in values.items() if name.rpartition("_")[0] in template.unlabelled]
    unlabelled = np.isin(compartments, left_out)
    labelled = (compartments > 0) & ~unlabelled
    for section in labelled.reshape(-1, *labelled.shape[-2:]):
        if voxel_mm <= FINE_MM and section.any():
            section |= _closed(section, 1.5)
        elif voxel_mm <= COARSE_MM:
            section |= _without_lines(section)
    return (labelled & ~unlabelled).astype(np.uint8)


def every_muscle(compartments: NDArray[np.uint8], voxel_mm: float) -> NDArray[np.uint8]:
    """Give every muscle of a slice: 1 in those of the paper's mask, 2 in the others, and narrow gaps filled.

    Gaps are as wide, in mm, in voxels of any size; each is filled by the muscle beside it. ``compartments`` is (rows,
    columns).
    """
    kinds = np.where(np.isin(compartments, paper_values()), 1, 2 * (compartments > 0)).astype(np.uint8)
    if not kinds.any():
        return kinds
    filled = _closed(kinds > 0, GAP_MM / voxel_mm) if voxel_mm <= GAP_MM else _without_lines(kinds > 0)
    gaps = filled & (kinds == 0)
    nearest = ndimage.distance_transform_edt(kinds == 0, return_distances=False, return_indices=True)
    kinds[gaps] = kinds[tuple(nearest)][gaps]
    return kinds


def _without_lines(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill gaps one pixel wide along rows or columns."""
    for pair in ((1, 2), (2, 1)):
        mask = mask | ndimage.binary_closing(mask, np.ones(pair))
    return mask


def _closed(mask: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Fill gaps (morphological closing by a disc of this radius in pixels, from centre to centre)."""
    near: NDArray[np.bool_] = np.less_equal(ndimage.distance_transform_edt(~mask), radius)
    if near.all():
        return near
    closed: NDArray[np.bool_] = np.greater(ndimage.distance_transform_edt(near), radius)
    return closed


def half_size_mm(limbs: list[PlacedLimb]) -> tuple[float, float]:
    """Give half the width and height of all that lies in the scanner."""
    widths = [abs(pose.centre_mm[0]) + anatomy.radius_mm[0] + anatomy.fat_mm for anatomy, pose, _ in limbs]
    return max(widths), max(anatomy.radius_mm[1] + anatomy.fat_mm for anatomy, _, _ in limbs)
