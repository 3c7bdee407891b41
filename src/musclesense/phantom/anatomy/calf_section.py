"""Sections of the calf in millimetres of a usual adult, knee and foot pointing straight up, about an axis within."""

from collections.abc import Mapping

from musclesense.phantom.anatomy.keyframes import Bone, Keyframe, Points, Vessel

RADIUS_MM = (49.0, 50.0)


def keyframe_in_mm(
    *,
    level: float,
    envelope: Points,
    muscles: Mapping[str, Points],
    bones: Mapping[str, tuple[float, Points]],
    vessels: Mapping[str, tuple[float, float, float]],
    fat: float,
    fat_by_angle: tuple[float, float, float, float],
    solid: Mapping[str, Points],
    sheets: Mapping[str, Points],
) -> Keyframe:
    """Bring a section in millimetres into the frame whose unit is half the width of the envelope.

    Args:
        level: 0 above the ankle, 1 at the head of the fibula.
        envelope: The deep fascia.
        muscles: Outline of each muscle.
        bones: Thickness of the cortex and outline of each bone.
        vessels: Position (x, y) and radius of each vessel or nerve.
        fat: Thickness of the subcutaneous fat relative to that at mid-level.
        fat_by_angle: The same at medial, posterior, lateral and anterior.
        solid: Outlines of tendons.
        sheets: Aponeuroses and membranes as open lines.
    """
    left, right = min(x for x, _ in envelope), max(x for x, _ in envelope)
    front, back = min(y for _, y in envelope), max(y for _, y in envelope)
    centre, half = ((left + right) / 2, (front + back) / 2), ((right - left) / 2, (back - front) / 2)

    def unit(points: Points) -> Points:
        return tuple(((x - centre[0]) / half[0], (y - centre[1]) / half[1]) for x, y in points)

    return Keyframe(
        level=level,
        envelope=unit(envelope),
        muscles={name: unit(points) for name, points in muscles.items()},
        bones={
            name: Bone(outline=unit(points), cortex=2 * cortex / (half[0] + half[1]))
            for name, (cortex, points) in bones.items()
        },
        vessels={
            name: Vessel(centre=unit(((x, y),))[0], radius_mm=radius, nerve=name.endswith("nerve"))
            for name, (x, y, radius) in vessels.items()
        },
        radius=(half[0] / RADIUS_MM[0], half[1] / RADIUS_MM[1]),
        fat=fat,
        fat_by_angle=fat_by_angle,
        solid={name: unit(points) for name, points in solid.items()},
        sheets={name: unit(points) for name, points in sheets.items()},
    )
