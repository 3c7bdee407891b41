"""Slices of a scan with the outline of a mask, in the orientation in which radiologists look."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw

from musclesense.imaging.contours import contour
from musclesense.imaging.grid import Placement
from musclesense.imaging.label_files import colour
from musclesense.imaging.nifti import Geometry
from musclesense.vocabulary import Limbs, Side

if TYPE_CHECKING:
    from musclesense.segmentation.measured import MeasuredMask

WIDTH, _LEAST_HEIGHT = 500, 24
MARGIN_MM = 8.0
_TALLEST = 2.0
"""Of a narrow, tall body the picture is pressed: it must not grow without an end."""
_BRIGHTEST_PERCENT = 99.5
COLOURS = {Side.RIGHT: "#ffb000", Side.LEFT: "#4cc9f0", Limbs.ONE: "#ffb000"}
_FRAME_COLOUR = (150, 150, 150)
_Span = tuple[float, float]


def slice_pictures(found: "MeasuredMask", numbers: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
    """Draw slices with the outline of the mask: in the colours of the limbs, or of labels where there are several.

    The part around the body is shown, the subject's right on the left. The outline is that of the voxels in the files.
    A grey line marks the edge of the networks' frame where the picture reaches beyond it.

    Returns:
        RGB pictures, all of one shape (H, `WIDTH`, 3).
    """
    geometry, scan = found.geometry, found.scan
    images, classes = upright(scan.channels[scan.reference], geometry), upright(found.classes, geometry)
    halves = {limb: upright(half, geometry) for limb, half in found.halves.items()}
    zooms, several = upright_zooms(geometry), found.labels.n_classes > 1
    shown = around(np.logical_or.reduce(upright(scan.bodies, geometry)), zooms)
    for number in numbers:
        if several:
            colours = [colour(label) for label in range(found.labels.n_classes)]
            labels = classes[number]
        else:
            colours = [_rgb(COLOURS[limb]) for limb in halves]
            labels = np.zeros(classes[number].shape, np.uint8)
            for index, half in enumerate(halves.values(), start=1):
                labels[half[number] & (classes[number] > 0)] = index
        yield _picture(images[number], labels, colours, found.placement(number), shown, zooms)


def _picture(
    image: NDArray[Any],
    labels: NDArray[np.uint8],
    colours: Sequence[tuple[int, int, int]],
    frame: Placement | None,
    shown: tuple[_Span, _Span],
    zooms: tuple[float, float],
) -> NDArray[np.uint8]:
    """Draw outlines on the square root of an image, in which muscle is not dark beside fat."""
    rows, columns = (slice(round(first + 0.5), round(last + 0.5)) for first, last in shown)
    grey = np.sqrt(np.maximum(image[rows, columns].astype(np.float32), 0))
    grey *= 255 / max(float(np.percentile(grey, _BRIGHTEST_PERCENT)), 1e-12)
    part = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    tall = part.height * zooms[0] / (part.width * zooms[1])
    size = (WIDTH, max(_LEAST_HEIGHT, round(WIDTH * min(tall, _TALLEST))))
    pixels = np.repeat(np.asarray(part.resize(size, Image.Resampling.BILINEAR))[:, :, None], 3, axis=2)
    large = np.asarray(Image.fromarray(labels[rows, columns]).resize(size, Image.Resampling.NEAREST))
    outline = contour(large, 1)
    pixels[outline] = np.array([(0, 0, 0), *colours], np.uint8)[large[outline]]
    if frame is None:
        return pixels
    picture = Image.fromarray(pixels)
    steps = (size[1] / part.height, size[0] / part.width)
    (top, bottom), (left, right) = (
        [(edge + 0.5 - span.start) * step for edge in edges]
        for edges, span, step in zip(_frame_edges(frame), (rows, columns), steps, strict=True)
    )
    ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=_FRAME_COLOUR)
    return np.asarray(picture)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


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


def upright_step(geometry: Geometry) -> float:
    """Tell how far up the next slice lies, in mm; below 0: it lies below.

    >>> upright_step(Geometry.from_affine((4, 3, 2), np.diag([-1.0, 1.0, -5.0, 1.0])))
    -5.0
    """
    axis = geometry.orientation[:, 0].tolist().index(2)
    return float(geometry.zooms[axis] * geometry.orientation[axis, 1])


def around(body: NDArray[np.bool_], zooms: tuple[float, float]) -> tuple[_Span, _Span]:
    """Give the edges of what is shown along rows and columns: the body with a margin, or everything without one."""
    edges = []
    for axis, zoom in enumerate(zooms):
        inside = np.flatnonzero(body.any(axis=1 - axis))
        first, last = (inside[0], inside[-1]) if inside.size else (0, body.shape[axis] - 1)
        margin = MARGIN_MM / zoom
        edges.append((max(first - margin, 0) - 0.5, min(last + margin, body.shape[axis] - 1) + 0.5))
    return edges[0], edges[1]


def _frame_edges(placement: Placement) -> list[list[float]]:
    """Give where the grid begins and ends along upright rows and columns."""
    lengths = placement.native_shape[::-1] if placement.transposed else placement.native_shape
    edges = []
    for size, start, step, length in zip(placement.grid_shape, placement.start, placement.step, lengths, strict=True):
        native = start + step * np.array([-0.5, size - 0.5])
        edges.append((native if step > 0 else length - 1 - native).tolist())
    return edges
