"""The templates of thigh and calf, read from the tables beside this module, and the values of their muscles."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.phantom.anatomy.keyframes import Bone, Keyframe, Points, Template, Vessel
from musclesense.phantom.tables import read_table
from musclesense.vocabulary import Region, Side

FIRST_VALUE: Mapping[Region, int] = {Region.THIGH: 1, Region.CALF: 41}
LEFT_OFFSET = 100
"""Added to the value of a right compartment to give that of the left one."""


def compartment_values(region: Region) -> dict[str, int]:
    """Give the value of each muscle on each side in ``compartments.nii.gz``, unique over both regions.

    >>> compartment_values(Region.CALF)["soleus_left"]
    147
    """
    return {
        f"{name}_{side}": value + (LEFT_OFFSET if side is Side.LEFT else 0)
        for side in Side
        for value, name in enumerate(TEMPLATES[region].muscles, start=FIRST_VALUE[region])
    }


def _read_template(region: Region) -> Template:
    table = read_table(f"anatomy/{region}.yaml")
    made = {
        "keyframes": tuple(_keyframe(section, table["radius_mm"]) for section in table["keyframes"].values()),
        "unlabelled": frozenset(table["unlabelled"]),
        "concentric": frozenset(table["concentric"]),
    }
    return Template(**{**table, **made})


def _keyframe(section: Mapping[str, Any], radius_mm: tuple[float, float]) -> Keyframe:
    """Make a keyframe of a section, which is in millimetres where it has no ``radius``."""
    centre, half, radius = np.zeros(2), np.ones(2), section.get("radius")
    if radius is None:  # the frame's unit is half the width of the envelope
        envelope = _points(section["envelope"])
        low, high = envelope.min(axis=0), envelope.max(axis=0)
        centre, half = (low + high) / 2, (high - low) / 2
        radius = tuple((half / radius_mm).tolist())

    def outline(text: str) -> Points:
        return tuple((x, y) for x, y in ((_points(text) - centre) / half).tolist())

    def vessel(text: str) -> Vessel:
        x, y, radius_mm, *nerve = text.split()
        return Vessel(centre=outline(f"{x} {y}")[0], radius_mm=float(radius_mm), nerve=nerve == ["nerve"])

    def outlines(kind: str) -> dict[str, Points]:
        return {name: outline(text) for name, text in section.get(kind, {}).items()}

    def bone(table: Mapping[str, Any]) -> Bone:
        return Bone(outline=outline(table["outline"]), cortex=table["cortex"] / float(half.mean()))

    return Keyframe(
        level=section["level"],
        envelope=outline(section["envelope"]),
        muscles=outlines("muscles"),
        bones={name: bone(table) for name, table in section["bones"].items()},
        vessels={name: vessel(text) for name, text in section["vessels"].items()},
        radius=radius,
        fat=section["fat"],
        fat_by_angle=section["fat_by_angle"],
        solid=outlines("solid"),
        sheets=outlines("sheets"),
    )


def _points(text: str) -> NDArray[np.float64]:
    """Read "x y, x y, ..." as an array (points, 2)."""
    return np.array([point.split() for point in text.split(",")], float)


TEMPLATES: Mapping[Region, Template] = {region: _read_template(region) for region in (Region.THIGH, Region.CALF)}
