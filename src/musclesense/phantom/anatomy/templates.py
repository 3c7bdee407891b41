"""The cross-sections of thigh and calf, from the tables beside this module: control points at a few levels along each.

The frame is that of a right limb seen in radiological display: x grows towards medial, y towards posterior,
and 1 is the half width of the muscle envelope (the deep fascia) at that level. A left limb is its mirror image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.phantom.tables import read_table
from musclesense.vocabulary import Region, Side

Points = tuple[tuple[float, float], ...]
FIRST_VALUE: Mapping[Region, int] = {Region.THIGH: 1, Region.CALF: 41}
LEFT_OFFSET = 100
"""Added to the value of a right compartment to give that of the left one."""


@dataclass(frozen=True, kw_only=True)
class Bone:
    """A long bone: its outer surface, and the thickness of its cortex as a part of the frame's unit."""

    outline: Points
    cortex: float


@dataclass(frozen=True, kw_only=True)
class Vessel:
    """A vessel or nerve that runs along the limb; ``radius_mm`` does not scale with the limb."""

    centre: tuple[float, float]
    radius_mm: float
    nerve: bool = False


@dataclass(frozen=True, kw_only=True)
class Keyframe:
    """What lies where in the cross-section at one level; what is absent at a level is not listed."""

    level: float  # 0 at the distal end of the region, 1 at its proximal end
    envelope: Points  # the deep fascia
    muscles: Mapping[str, Points]  # outline of each muscle; neighbours may abut or leave a gap, which becomes fat
    bones: Mapping[str, Bone]  # bones, drawn over the muscles
    vessels: Mapping[str, Vessel]  # deep vessels and nerves, each in a sleeve of fat
    radius: tuple[float, float]  # half width of the envelope (x, y) relative to that at mid-level
    fat: float  # thickness of the subcutaneous fat relative to that at mid-level
    fat_by_angle: tuple[float, float, float, float]
    """Relative thickness of the subcutaneous fat at medial, posterior, lateral and anterior."""
    solid: Mapping[str, Points] = field(default_factory=dict)
    """Outlines of tendons and other dense connective tissue, by name."""
    sheets: Mapping[str, Points] = field(default_factory=dict)
    """Thin connective sheets (aponeuroses, central tendons) as open lines, by name."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """The cross-sections of a region from its distal to its proximal end."""

    keyframes: tuple[Keyframe, ...]  # sections at levels in rising order
    muscles: tuple[str, ...]  # names of all muscles of the region, in the order of their values
    unlabelled: frozenset[str]  # muscles that the paper's whole-muscle mask leaves out
    veins: tuple[float, ...]  # superficial veins, by angle (degrees, from medial towards posterior)
    radius_mm: tuple[float, float]  # usual half width of the envelope (x, y) in an adult at mid-level
    fat_mm: float  # usual thickness of the subcutaneous fat in an adult at mid-level
    length_mm: float  # usual distance from level 0 to level 1 in an adult
    levels: tuple[float, float]  # lowest and highest level of the cohorts; keyframes may lie beyond them
    others: Mapping[str, int] = field(default_factory=dict)
    """Muscles that are there beyond these levels alone, with the value of each on the right side."""
    looseness: Mapping[str, float] = field(default_factory=dict)
    """Relative width of the fat around a muscle, 1 for those not named."""
    concentric: frozenset[str] = frozenset()
    """Muscles whose inner septa lie around the first bone instead of pointing to it."""

    @property
    def every(self) -> tuple[str, ...]:
        """Names of all muscles, those beyond the usual levels last."""
        return (*self.muscles, *self.others)


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


def every_value(region: Region, side: Side) -> tuple[int, ...]:
    """Give the value of each of `Template.every` on a side.

    >>> every_value(Region.THIGH, Side.RIGHT)[-1] == compartment_values(Region.CALF)["gastrocnemius_lateral_right"]
    True
    """
    template, first = TEMPLATES[region], FIRST_VALUE[region]
    offset = LEFT_OFFSET if side is Side.LEFT else 0
    right = (*range(first, first + len(template.muscles)), *template.others.values())
    return tuple(value + offset for value in right)


@cache
def paper_values() -> tuple[int, ...]:
    """Give the values, in any region, of the muscles of the paper's mask."""
    named = (
        (name.rpartition("_")[0], value, region)
        for region in Region
        for name, value in compartment_values(region).items()
    )
    return tuple(value for name, value, region in named if name not in TEMPLATES[region].unlabelled)


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

    def bone(table: Mapping[str, Any]) -> Bone:
        return Bone(outline=outline(table["outline"]), cortex=table["cortex"] / float(half.mean()))

    def each(kind: str, read: Callable[[Any], Any]) -> dict[str, Any]:
        return {name: read(text) for name, text in section.get(kind, {}).items()}

    made = {
        "envelope": outline(section["envelope"]),
        "radius": radius,
        "bones": each("bones", bone),
        "vessels": each("vessels", vessel),
        **{kind: each(kind, outline) for kind in ("muscles", "solid", "sheets")},
    }
    return Keyframe(**{**section, **made})


def _points(text: str) -> NDArray[np.float64]:
    """Read "x y, x y, ..." as an array (points, 2)."""
    return np.array([point.split() for point in text.split(",")], float)


TEMPLATES: Mapping[Region, Template] = {region: _read_template(region) for region in (Region.THIGH, Region.CALF)}
