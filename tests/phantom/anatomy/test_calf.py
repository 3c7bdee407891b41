"""The calf's keyframes: sound outlines, known names, and proportions that change along the limb as they should."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.phantom.anatomy.limbs import Body, LimbAnatomy, Pose, drawn_range_mm, sample_limbs
from musclesense.phantom.anatomy.rasters import draw_curve
from musclesense.phantom.anatomy.section import draw_section
from musclesense.phantom.anatomy.templates import TEMPLATES, Keyframe, Points
from musclesense.vocabulary import Region

Mask = NDArray[np.bool_]
CALF = TEMPLATES[Region.CALF]
STEP_MM = 0.5
AXIS_MM = np.arange(-60, 60, STEP_MM)
SHANK = [keyframe for keyframe in CALF.keyframes if 0 <= keyframe.level <= 1]
KEYFRAMES = pytest.mark.parametrize("keyframe", CALF.keyframes, ids=lambda keyframe: f"level {keyframe.level}")


def outlines(keyframe: Keyframe) -> dict[str, Points]:
    """Everything within the fascia that has an outline."""
    bones = {name: bone.outline for name, bone in keyframe.bones.items()}
    return {**keyframe.muscles, **bones, **keyframe.solid}


def in_mm(keyframe: Keyframe, points: Points) -> NDArray[np.float64]:
    return np.asarray(np.array(points) * CALF.radius_mm * np.array(keyframe.radius))


def fill(keyframe: Keyframe, points: Points) -> Mask:
    """Points of a grid in mm that lie within the smooth curve through control points."""
    x, y = np.meshgrid(AXIS_MM, AXIS_MM)
    curve = in_mm(keyframe, draw_curve(points))
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(curve, np.roll(curve, -1, axis=0), strict=True):
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return inside


def area_cm2(mask: Mask) -> float:
    return float(mask.sum()) * STEP_MM**2 / 100


def muscle_cm2(keyframe: Keyframe) -> float:
    return area_cm2(np.any([fill(keyframe, points) for points in keyframe.muscles.values()], axis=0))


def crosses_itself(curve: NDArray[np.float64]) -> bool:
    """Whether two edges of a closed polygon meet anywhere but at a shared end."""
    start, end = curve, np.roll(curve, -1, axis=0)

    def side(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1])) - np.asarray(
            (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
        )

    a, b, c, d = start[:, None], end[:, None], start[None], end[None]
    meets = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return bool(meets.any())


def at(level: float) -> Keyframe:
    return next(keyframe for keyframe in CALF.keyframes if keyframe.level == level)


def a_calf() -> LimbAnatomy:
    rng = np.random.default_rng(4)
    return sample_limbs(rng, Body.sample(rng), Region.CALF)[0]


def muscle_drawn(limb: LimbAnatomy, first: float, last: float, count: int) -> list[int]:
    """Points of muscle in sections at so many levels from the first to the last, in mm."""
    pose = Pose(centre_mm=(0.0, 0.0), rotation=0.0, flattening=0.0, level_mm=0.0)
    axis = np.arange(-90, 90, 2, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    whole = np.zeros(len(CALF.muscles), np.float32)
    levels = np.linspace(first, last, count).tolist()
    return [int((draw_section(limb, pose, level, x, y, whole).muscle > 0).sum()) for level in levels]


def test_an_outline_that_crosses_itself_is_noticed() -> None:
    assert crosses_itself(np.array([(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]))
    assert not crosses_itself(np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]))


def test_keyframes_rise_from_ankle_to_knee_through_the_middle() -> None:
    levels = [keyframe.level for keyframe in CALF.keyframes]
    assert all(low < high for low, high in pairwise(levels))
    shank = [keyframe.level for keyframe in SHANK]
    assert shank[0] == 0 and shank[-1] == 1 and 0.5 in shank and len(shank) >= 5
    assert levels[0] < 0 and levels[-1] > 1, "joints lie beyond"
    assert at(0.5).radius == (1.0, 1.0) and at(0.5).fat == 1.0


def test_muscles_keep_their_order_and_their_names() -> None:
    assert CALF.muscles == (
        "tibialis_anterior",
        "long_extensors",
        "peronei",
        "tibialis_posterior",
        "long_flexors_medial",
        "long_flexors_lateral",
        "soleus",
        "gastrocnemius_medial",
        "gastrocnemius_lateral",
        "popliteus",
    )
    assert not CALF.unlabelled
    assert CALF.concentric <= set(CALF.muscles)
    assert {name for keyframe in CALF.keyframes for name in keyframe.muscles} == set(CALF.muscles)
    assert set(at(0.5).muscles) == set(CALF.muscles[:9])


@KEYFRAMES
def test_outlines_are_simple_and_within_the_fascia(keyframe: Keyframe) -> None:
    fascia = fill(keyframe, keyframe.envelope)
    assert not crosses_itself(np.array(draw_curve(keyframe.envelope)))
    for name, points in outlines(keyframe).items():
        assert not crosses_itself(np.array(draw_curve(points))), name
        mask = fill(keyframe, points)
        assert mask.any(), name
        assert (mask & ~fascia).sum() <= 0.03 * mask.sum(), name


@KEYFRAMES
def test_muscles_hardly_overlap_bones_or_each_other(keyframe: Keyframe) -> None:
    bones = np.any([fill(keyframe, bone.outline) for bone in keyframe.bones.values()], axis=0)
    muscles = {name: fill(keyframe, points) for name, points in keyframe.muscles.items()}
    for name, mask in muscles.items():
        others = np.any([other for key, other in muscles.items() if key != name], axis=0)
        assert (mask & bones).sum() <= 0.02 * mask.sum(), name
        assert (mask & others).sum() <= 0.06 * mask.sum(), name


@KEYFRAMES
def test_vessels_lie_within_the_fascia_and_outside_bone(keyframe: Keyframe) -> None:
    fascia = fill(keyframe, keyframe.envelope)
    bones = np.any([fill(keyframe, bone.outline) for bone in keyframe.bones.values()], axis=0)
    x, y = np.meshgrid(AXIS_MM, AXIS_MM)
    for name, vessel in keyframe.vessels.items():
        cx, cy = in_mm(keyframe, (vessel.centre,))[0]
        disc = np.hypot(x - cx, y - cy) < vessel.radius_mm
        assert not (disc & ~fascia).any(), name
        assert not (disc & bones).any(), name
        assert vessel.nerve == name.endswith("nerve")


@KEYFRAMES
def test_sheets_lie_within_the_fascia(keyframe: Keyframe) -> None:
    fascia = fill(keyframe, keyframe.envelope)
    for name, line in keyframe.sheets.items():
        i, j = np.round((in_mm(keyframe, line) - AXIS_MM[0]) / STEP_MM).astype(int).T
        assert fascia[j, i].all(), name


def test_muscle_is_largest_in_the_proximal_half_and_small_at_the_ankle() -> None:
    areas = {keyframe.level: muscle_cm2(keyframe) for keyframe in SHANK}
    levels = sorted(areas)
    largest = max(areas, key=lambda level: areas[level])
    assert 0.6 <= largest <= 0.75
    assert 45 < areas[largest] < 75
    assert areas[0.0] < 0.15 * areas[largest]
    assert areas[1.0] < 0.65 * areas[largest]
    below = [areas[level] for level in levels if level <= largest]
    above = [areas[level] for level in levels if level >= largest]
    assert below == sorted(below) and above == sorted(above, reverse=True)


def test_heads_of_the_gastrocnemius_end_in_the_achilles_tendon_the_lateral_one_first() -> None:
    lowest = {
        name: min(keyframe.level for keyframe in CALF.keyframes if name in keyframe.muscles)
        for name in ("gastrocnemius_medial", "gastrocnemius_lateral", "soleus", "popliteus")
    }
    assert lowest["soleus"] < lowest["gastrocnemius_medial"] < lowest["gastrocnemius_lateral"] < lowest["popliteus"]
    assert all(
        ("achilles_tendon" in keyframe.solid) == (keyframe.level < lowest["gastrocnemius_medial"])
        for keyframe in CALF.keyframes
    )
    middle = at(0.5)
    medial, lateral = (
        area_cm2(fill(middle, middle.muscles[f"gastrocnemius_{side}"])) for side in ("medial", "lateral")
    )
    assert medial > lateral


def test_the_tibia_lies_under_the_skin_at_its_anteromedial_face_and_the_fibula_nowhere_in_the_middle() -> None:
    middle = at(0.5)
    fascia = in_mm(middle, draw_curve(middle.envelope))

    def gaps_mm(bone: str) -> NDArray[np.float64]:
        outline = in_mm(middle, draw_curve(middle.bones[bone].outline))
        return np.asarray(np.linalg.norm(outline[:, None] - fascia[None], axis=-1).min(axis=1))

    outline = in_mm(middle, draw_curve(middle.bones["tibia"].outline))
    face = (outline[:, 0] > 3) & (outline[:, 1] < -27)
    assert face.sum() > 10
    assert gaps_mm("tibia")[face].max() < 2.8
    assert gaps_mm("fibula").min() > 8


def test_the_tibia_widens_and_its_cortex_thins_towards_the_knee() -> None:
    tibia = [area_cm2(fill(keyframe, keyframe.bones["tibia"].outline)) for keyframe in SHANK]
    assert tibia[-1] > 2.5 * min(tibia)
    assert 4 < min(tibia) < 10
    knee, middle = (at(level).bones["tibia"].cortex for level in (1.0, 0.5))
    assert knee < middle / 2
    for keyframe in SHANK:
        shin, calf = (fill(keyframe, keyframe.bones[name].outline).sum() for name in ("tibia", "fibula"))
        assert shin > 3 * calf


def test_the_leg_is_thinnest_above_the_ankle() -> None:
    girths = [np.prod(keyframe.radius) for keyframe in SHANK]
    assert int(np.argmin(girths)) == 0
    assert 0.25 < girths[0] < 0.5
    assert 1.0 < max(girths) < 1.3


def test_muscle_swells_and_tapers_without_jumps_between_keyframes() -> None:
    limb = a_calf()
    areas = np.array(muscle_drawn(limb, -limb.length_mm / 2, limb.length_mm / 2, 21))
    assert 0.5 < areas.argmax() / 20 < 0.8
    # A step is a twentieth of the limb's length, 15 mm in a usual adult.
    assert np.abs(np.diff(areas)).max() < 0.22 * areas.max()


def test_a_joint_has_little_muscle_and_the_bones_that_meet_there() -> None:
    largest = max(muscle_cm2(keyframe) for keyframe in SHANK)
    ankle, knee = CALF.keyframes[0], CALF.keyframes[-1]
    assert set(ankle.bones) == {"talus", "tibia", "fibula"}, "the tibia as medial malleolus"
    assert set(knee.bones) == {"femur", "patella"}
    assert muscle_cm2(ankle) < 0.05 * largest
    assert set(knee.muscles) == {"gastrocnemius_medial", "gastrocnemius_lateral"}
    assert muscle_cm2(knee) < 0.25 * largest
    for keyframe in (ankle, knee):
        bone = area_cm2(np.any([fill(keyframe, bone.outline) for bone in keyframe.bones.values()], axis=0))
        assert bone > 0.25 * area_cm2(fill(keyframe, keyframe.envelope))


def test_muscle_tapers_into_the_joints() -> None:
    limb = a_calf()
    for far, near in zip(drawn_range_mm(limb), (-limb.length_mm / 2, limb.length_mm / 2), strict=True):
        areas = muscle_drawn(limb, near, far, 5)
        assert areas == sorted(areas, reverse=True)
        assert 0 < areas[-1] < 0.5 * areas[0]
