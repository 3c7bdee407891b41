"""Pictures beside each other, with captions above them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP = 4
_MIDDLE = "white"


class Captions(NamedTuple):
    """What stands above a picture: in its middle, and to the left and right in colours."""

    middle: str
    left: tuple[str, str] = ("", _MIDDLE)
    right: tuple[str, str] = ("", _MIDDLE)


def contact_sheet(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[Captions], columns: int, heading: str = ""
) -> Image.Image:
    """Lay pictures out in rows, on black.

    Args:
        pictures: RGB, all of one shape (H, W, 3).
        captions: One for each.
        columns: The most pictures in a row.
        heading: Stands above all of them, in one or more lines.
    """
    high, wide = pictures[0].shape[:2]
    size = max(11, wide // 34)
    letters, line = ImageFont.load_default(size), round(1.5 * size)
    columns = min(columns, len(pictures))
    top = line * (heading.count("\n") + 1) + _GAP if heading else 0
    down, along = line + high + _GAP, wide + _GAP
    sheet = Image.new("RGB", (columns * along - _GAP, top + -(-len(pictures) // columns) * down))
    pen = ImageDraw.Draw(sheet)

    def write(place: tuple[int, int], said: str, colour: str, anchor: Any) -> None:
        pen.text(place, said, fill=colour, font=letters, anchor=anchor)

    for number, said in enumerate(heading.splitlines()):
        write((sheet.width // 2, number * line), said, _MIDDLE, "ma")
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = number % columns * along, top + number // columns * down
        sheet.paste(Image.fromarray(picture), (x, y + line))
        write((x + wide // 2, y + line // 2), caption.middle, _MIDDLE, "mm")
        write((x, y + line // 2), *caption.left, "lm")
        write((x + wide, y + line // 2), *caption.right, "rm")
    return sheet
