"""What a cross-section of a limb is described by: control points at a few levels along it.

The frame is that of a right limb seen in radiological display: x grows towards medial, y towards posterior,
and 1 is the half width of the muscle envelope (the deep fascia) at that level. A left limb is its mirror image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Points = tuple[tuple[float, float], ...]


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
    """What lies where in the cross-section at one level; what is absent at a level is not listed.

    Attributes:
        level: 0 at the distal end of the region, 1 at its proximal end.
        envelope: The deep fascia.
        muscles: Outline of each muscle; neighbours may abut or leave a gap, which becomes fat.
        bones: Bones, drawn over the muscles.
        vessels: Deep vessels and nerves, each in a sleeve of fat.
        radius: Half width of the envelope (x, y) relative to that at mid-level.
        fat: Thickness of the subcutaneous fat relative to that at mid-level.
        fat_by_angle: Relative thickness of the subcutaneous fat at medial, posterior, lateral and anterior.
        solid: Outlines of tendons and other dense connective tissue, by name.
        sheets: Thin connective sheets (aponeuroses, central tendons) as open lines, by name.
    """

    level: float
    envelope: Points
    muscles: Mapping[str, Points]
    bones: Mapping[str, Bone]
    vessels: Mapping[str, Vessel]
    radius: tuple[float, float]
    fat: float
    fat_by_angle: tuple[float, float, float, float]
    solid: Mapping[str, Points] = field(default_factory=dict)
    sheets: Mapping[str, Points] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Template:
    """The cross-sections of a region from its distal to its proximal end.

    Attributes:
        keyframes: Sections at levels in rising order.
        muscles: Names of all muscles of the region, in the order of their values.
        unlabelled: Muscles that the paper's whole-muscle mask leaves out.
        veins: Superficial veins, by angle (degrees, from medial towards posterior).
        radius_mm: Usual half width of the envelope (x, y) in an adult at mid-level.
        fat_mm: Usual thickness of the subcutaneous fat in an adult at mid-level.
        length_mm: Usual distance from level 0 to level 1 in an adult.
        looseness: Relative width of the fat around a muscle, 1 for those not named.
        concentric: Muscles whose inner septa lie around the first bone instead of pointing to it.
    """

    keyframes: tuple[Keyframe, ...]
    muscles: tuple[str, ...]
    unlabelled: frozenset[str]
    veins: tuple[float, ...]
    radius_mm: tuple[float, float]
    fat_mm: float
    length_mm: float
    looseness: Mapping[str, float] = field(default_factory=dict)
    concentric: frozenset[str] = frozenset()
