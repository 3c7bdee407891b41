"""The picture to judge a mask by: its outline on slices of the scan, with the fat fraction of each limb."""

from typing import TYPE_CHECKING

import numpy as np
from PIL.Image import Image

from musclesense.imaging.contact_sheet import Captions, contact_sheet
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.metrics.fat_fraction import mean_fat_fraction
from musclesense.segmentation.pictures import COLOURS, slice_pictures
from musclesense.vocabulary import Limbs, Side

if TYPE_CHECKING:
    from musclesense.segmentation.measured import MeasuredMask

_MOST_SLICES = 18
_SLICES_A_ROW = 3
_COLOUR_NAMES = {Side.RIGHT: "amber", Side.LEFT: "blue", Limbs.ONE: "amber"}


def draw_quality_control(found: "MeasuredMask") -> Image:
    """Draw slices with the outlines of the mask and, where it is known, its mean fat fraction in each limb."""
    count = slice_count(found.geometry)
    numbers = np.unique(np.linspace(0, count - 1, min(count, _MOST_SLICES)).round().astype(int)).tolist()
    said = [captions(found, number) for number in numbers]
    return contact_sheet([*slice_pictures(found, numbers)], said, _SLICES_A_ROW, heading(found, len(numbers)))


def captions(found: "MeasuredMask", number: int) -> Captions:
    """Name slice and fat fractions; the subject's right is on the left."""
    sides = {"left": ("", "white"), "right": ("", "white")}
    for limb in found.halves:
        percent = _fat_fraction_percent(found, number, limb)
        said = limb.value[0].upper() + ("" if percent is None else f"  {percent:.1f} %")
        sides["right" if limb is Side.LEFT else "left"] = (said, COLOURS[limb])
    return Captions(f"slice {number}", **sides)


def _fat_fraction_percent(found: "MeasuredMask", number: int, limb: Side | Limbs) -> float | None:
    """Give the mean of a limb's mask in a slice, None where it is not known."""
    fraction = found.scan.fat_fraction
    if fraction is None:
        return None
    percent, classes, half = (
        take_slice(volume, found.geometry, number) for volume in (fraction, found.classes, found.halves[limb])
    )
    return mean_fat_fraction(percent, half & (classes > 0))


def heading(found: "MeasuredMask", shown: int) -> str:
    """Say what is seen in the picture."""
    count = slice_count(found.geometry)
    slices = f"{shown} of {count} slices" if shown < count else f"{count} slice" + "s" * (count > 1)
    outlines = " and ".join(f"{limb} ({_COLOUR_NAMES[limb]})" for limb in found.halves)
    return (
        f"{found.scan.reference} image, {slices}: mask of the {outlines} limb and its mean fat fraction\n"
        "The subject's right is on the left; grey line: nothing is segmented beyond"
    )
