"""The picture to judge a mask by: its outline on every slice, in the orientation in which radiologists look."""

from typing import TYPE_CHECKING, Any, Literal

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from musclesense.imaging.grid import Placement, slice_count
from musclesense.imaging.nifti import Geometry
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.vocabulary import Limbs, Side

if TYPE_CHECKING:
    from musclesense.segmentation.measured import MeasuredMask
    from musclesense.segmentation.result import Segmentation

_MOST_SLICES = 18
_SLICES_A_ROW = 3
MARGIN_MM = 8.0
TALLEST = 2.0
COLOURS = {Side.RIGHT: "#ffb000", Side.LEFT: "#4cc9f0", Limbs.ONE: "#ffb000"}
_COLOUR_NAMES = {Side.RIGHT: "amber", Side.LEFT: "blue", Limbs.ONE: "amber"}
# The subject's right is on the left.
_TITLES: dict[Side | Limbs, Literal["left", "right"]] = {Side.RIGHT: "left", Side.LEFT: "right", Limbs.ONE: "left"}


def draw_quality_control(found: "MeasuredMask | Segmentation") -> Figure:
    """Draw slices with the outlines of the mask and, where it is known, its mean fat fraction in each limb.

    Voxels are shown as they are in the files, turned and flipped but not resampled, so that the picture shows the mask
    that was written. A dashed line marks the edge of the networks' frame where the picture reaches beyond it.
    """
    scan, geometry, halves, name = found.scan, found.geometry, found.halves, found.scan.reference
    count = slice_count(geometry)
    numbers = np.unique(np.linspace(0, count - 1, min(count, _MOST_SLICES)).round().astype(int)).tolist()
    placements = [found.placement(number) for number in numbers]
    images = upright(scan.channels[name], geometry)
    fraction = None if scan.fat_fraction is None else upright(scan.fat_fraction, geometry)
    masks = {limb: upright(np.where(half, found.classes, 0), geometry) for limb, half in halves.items()}
    zooms = upright_zooms(geometry)
    rows_shown, columns_shown = around(upright(scan.bodies, geometry)[numbers].any(axis=0), zooms)
    # Of a narrow, tall body a part of the width stays empty: the picture must not grow without an end.
    tall = min(float(np.ptp(rows_shown) * zooms[0] / (np.ptp(columns_shown) * zooms[1])), TALLEST)

    rows = -(-len(numbers) // _SLICES_A_ROW)
    columns = min(len(numbers), _SLICES_A_ROW)
    figure = Figure(figsize=(5 * columns, rows * (5 * tall + 0.3) + 0.8), dpi=100, layout="constrained")
    figure.set_facecolor("black")
    figure.suptitle(_heading(name, len(numbers), count, tuple(halves)), color="white", fontsize=11)
    # Ticks take longer than all else, shown or not.
    subplots = figure.subplots(rows, columns, squeeze=False, subplot_kw={"xticks": [], "yticks": []}).flat
    for axes, number, placement in zip(subplots, numbers, placements, strict=False):
        # Square roots, since muscle is dark beside fat.
        axes.imshow(np.sqrt(np.maximum(images[number], 0)), cmap="gray", aspect=zooms[0] / zooms[1])
        if placement is not None:
            axes.add_patch(_frame(placement))
        for limb, mask in masks.items():
            for index in np.unique(mask[number][mask[number] > 0]):
                _outline(axes, mask[number] == index, COLOURS[limb])
            percent = None if fraction is None else mean_fat_fraction(fraction[number], mask[number] > 0)
            said = limb.value[0].upper() + ("" if percent is None else f"  {percent:.1f} %")
            axes.set_title(said, loc=_TITLES[limb], color=COLOURS[limb], fontsize=10)
        axes.set_title(f"slice {number}", color="white", fontsize=9)
        axes.set_xlim(columns_shown)
        axes.set_ylim(rows_shown[::-1])
    for axes in figure.axes:
        axes.set_axis_off()
    return figure


def _outline(axes: Axes, mask: NDArray[np.bool_], colour: str) -> None:
    """Draw around a mask that holds something; what lies far from it is left out, which is faster."""
    (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    rows, columns = (
        np.arange(max(first - 1, 0), min(last + 2, length))
        for first, last, length in zip((top, left), (bottom, right), mask.shape, strict=True)
    )
    axes.contour(columns, rows, mask[np.ix_(rows, columns)], levels=[0.5], colors=colour, linewidths=0.9)


def upright(volume: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Turn a volume to slices in storage order, rows anterior to posterior, columns right to left."""
    orientation = geometry.orientation
    slices = "S" if "S" in nib.orientations.ornt2axcodes(orientation) else "I"
    wanted = nib.orientations.axcodes2ornt(("L", "P", slices))
    turned = nib.orientations.apply_orientation(volume, nib.orientations.ornt_transform(orientation, wanted))
    slices_first: NDArray[Any] = np.transpose(turned, (2, 1, 0))
    return slices_first


def upright_zooms(geometry: Geometry) -> tuple[float, float]:
    """Give the size in mm of an upright pixel along rows and columns."""
    along = geometry.orientation[:, 0].astype(int).tolist()
    return geometry.zooms[along.index(1)], geometry.zooms[along.index(0)]


def around(body: NDArray[np.bool_], zooms: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Give the edges of what is shown along rows and columns: the body with a margin, or everything without one."""
    edges = []
    for axis, zoom in enumerate(zooms):
        inside = np.flatnonzero(body.any(axis=1 - axis))
        first, last = (inside[0], inside[-1]) if inside.size else (0, body.shape[axis] - 1)
        margin = MARGIN_MM / zoom
        edges.append((max(first - margin, 0) - 0.5, min(last + margin, body.shape[axis] - 1) + 0.5))
    return edges[0], edges[1]


def _frame(placement: Placement) -> Rectangle:
    """Draw the edge of the grid in upright pixels."""
    (top, bottom), (left, right) = frame_edges(placement)
    return Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="#999999", linestyle="--")


def frame_edges(placement: Placement) -> list[list[float]]:
    """Give where the grid begins and ends along upright rows and columns."""
    lengths = placement.native_shape[::-1] if placement.transposed else placement.native_shape
    edges = []
    for size, start, step, length in zip(placement.grid_shape, placement.start, placement.step, lengths, strict=True):
        native = start + step * np.array([-0.5, size - 0.5])
        edges.append((native if step > 0 else length - 1 - native).tolist())
    return edges


def _heading(name: str, shown: int, count: int, limbs: tuple[Side | Limbs, ...]) -> str:
    slices = f"{shown} of {count} slices" if shown < count else f"{count} slice" + "s" * (count > 1)
    outlines = " and ".join(f"{limb} ({_COLOUR_NAMES[limb]})" for limb in limbs)
    return (
        f"{name} image, {slices}: mask of the {outlines} limb and its mean fat fraction\n"
        "The subject's right is on the left; dashed: nothing is segmented beyond"
    )
