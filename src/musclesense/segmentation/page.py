"""The page to judge a mask by: every slice, its figures and flags, and what a reader says of it."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from musclesense.imaging.grid import slice_count
from musclesense.imaging.label_files import colour
from musclesense.segmentation.pictures import COLOURS, slice_pictures
from musclesense.storage.pages import page_template

if TYPE_CHECKING:
    from musclesense.segmentation.measured import MeasuredMask

_JPEG_QUALITY = 80


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
    for number, picture in enumerate(slice_pictures(found, range(slice_count(found.geometry)))):
        rows = [row for row in found.rows if row["slice"] == number]
        flags = dict.fromkeys(flag for row in rows for flag in row["flags"].split())
        yield ShownSlice(number, _jpeg(picture), [row for row in rows if row["voxels"]], " ".join(flags))


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return stored.getvalue()


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
