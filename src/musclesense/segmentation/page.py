"""The page to judge a mask by: every slice, its figures and flags, and what a reader says of it."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from musclesense.imaging.contours import contour
from musclesense.imaging.grid import Placement, slice_count
from musclesense.imaging.label_files import colour
from musclesense.segmentation.quality import COLOURS, TALLEST, around, frame_edges, upright, upright_zooms
from musclesense.storage.pages import page_template

if TYPE_CHECKING:
    from musclesense.segmentation.measured import MeasuredMask

_WIDTH, _LEAST_HEIGHT = 512, 24
_JPEG_QUALITY = 80
_BRIGHTEST_PERCENT = 99.5
_FRAME_COLOUR = (150, 150, 150)
_Span = tuple[float, float]


@dataclass(frozen=True, eq=False)
class ShownSlice:
    """A slice on the page: its number, its picture as JPEG, its rows of the table and all that is flagged in it."""

    number: int
    picture: bytes
    rows: Sequence[dict[str, Any]]
    flags: str


def quality_page(found: "MeasuredMask", mask_sha256: str) -> str:
    """Give the page of a mask: one HTML text that needs no other file and no network.

    It names no file and no patient. What a reader says of its slices is saved by the browser as a table, which names
    the mask by its SHA-256.
    """
    several = found.labels.n_classes > 1
    legend = [(name, _hex(colour(number))) for number, name in enumerate(found.labels.names)] if several else []
    return str(
        page_template("musclesense.segmentation", "page.html").render(
            slices=_slices(found),
            count=slice_count(found.geometry),
            image=found.scan.reference,
            totals=[row for row in found.rows if row["slice"] == "all"],
            legend=legend or [(f"{limb} limb", COLOURS[limb]) for limb in found.halves],
            measuring=found.measuring,
            framed=found.place is not None,
            mask=mask_sha256,
        )
    )


def _slices(found: "MeasuredMask") -> Iterator[ShownSlice]:
    for number, picture in enumerate(_pictures(found)):
        rows = [row for row in found.rows if row["slice"] == number]
        flags = dict.fromkeys(flag for row in rows for flag in row["flags"].split())
        yield ShownSlice(number, picture, [row for row in rows if row["voxels"]], " ".join(flags))


def _pictures(found: "MeasuredMask") -> Iterator[bytes]:
    """Draw one slice after the other."""
    geometry, scan = found.geometry, found.scan
    images, classes = upright(scan.channels[scan.reference], geometry), upright(found.classes, geometry)
    halves = {limb: upright(half, geometry) for limb, half in found.halves.items()}
    zooms, several = upright_zooms(geometry), found.labels.n_classes > 1
    shown = around(np.logical_or.reduce(upright(scan.bodies, geometry)), zooms)
    for number in range(slice_count(geometry)):
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
) -> bytes:
    """Draw outlines on the square root of an image, in which muscle is not dark beside fat."""
    grey = np.sqrt(np.maximum(image.astype(np.float32), 0))
    grey *= 255 / max(float(np.percentile(grey, _BRIGHTEST_PERCENT)), 1e-12)
    rows, columns = (slice(round(first + 0.5), round(last + 0.5)) for first, last in shown)
    part = Image.fromarray(np.clip(grey[rows, columns], 0, 255).astype(np.uint8))
    tall = part.height * zooms[0] / (part.width * zooms[1])
    size = (_WIDTH, max(_LEAST_HEIGHT, round(_WIDTH * min(tall, TALLEST))))
    pixels = np.repeat(np.asarray(part.resize(size, Image.Resampling.BILINEAR))[:, :, None], 3, axis=2)
    large = np.asarray(Image.fromarray(labels[rows, columns]).resize(size, Image.Resampling.NEAREST))
    outline = contour(large, 1)
    pixels[outline] = np.array([(0, 0, 0), *colours], np.uint8)[large[outline]]
    picture = Image.fromarray(pixels)
    if frame is not None:
        steps = (size[1] / part.height, size[0] / part.width)
        (top, bottom), (left, right) = (
            [(edge + 0.5 - span.start) * step for edge in edges]
            for edges, span, step in zip(frame_edges(frame), (rows, columns), steps, strict=True)
        )
        ImageDraw.Draw(picture).rectangle((left, top, right, bottom), outline=_FRAME_COLOUR)
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return stored.getvalue()


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
