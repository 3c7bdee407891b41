"""Where a limb ends: drawn to its joints, one side unlike the other, and both halves of a pelvis."""

from dataclasses import replace

import numpy as np

from musclesense.phantom.anatomy.limbs import LimbAnatomy, Pose, drawn_range_mm, shape_at
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.vocabulary import Region, Side

KNEE_TO_GROIN, HIPS = (-0.16, 1.0), (1.1, 1.42)
"""Levels of the thigh that are drawn: each limb by itself, and both as one body."""
MIDLINE = 0.8
"""Where the middle of the body lies in the section of half a pelvis, in its unit."""
UNLIKE = 0.15
"""Share of the subjects whose limbs differ: shorter, wasted or swollen on one side."""
SLACK_MM = 2.5
"""How far a muscle grows at most, at a joint, to close a gap."""


def to_the_joints(limb: LimbAnatomy) -> LimbAnatomy:
    """Let a limb be drawn to the joints, with the muscles that are there alone."""
    count = len(TEMPLATES[limb.region].every)
    growth, slope = (np.resize(own, count) for own in (limb.growth_mm, limb.growth_slope))
    levels = KNEE_TO_GROIN if limb.region is Region.THIGH else limb.levels
    return replace(limb, growth_mm=growth, growth_slope=slope, levels=levels)


def at_joint(limb: LimbAnatomy, slack_mm: float = SLACK_MM) -> LimbAnatomy:
    """Let fat and joint, not muscle, fill what lies between muscles."""
    return replace(limb, packing=replace(limb.packing, slack=min(limb.packing.slack, slack_mm)))


def sample_pelvis(rng: np.random.Generator, limbs: tuple[LimbAnatomy, LimbAnatomy]) -> list[tuple[LimbAnatomy, Pose]]:
    """Draw both halves of a pelvis, mirror images but for their muscles, and how they lie."""
    right, left = (at_joint(limb, 5.0) for limb in limbs)
    # Pelves differ less in width than thighs in girth.
    radius = (right.radius_mm[0] ** 0.5 * 61**0.5, right.radius_mm[1] ** 0.5 * 64**0.5)
    right = replace(
        right,
        radius_mm=radius,
        levels=HIPS,
        growth_mm=np.clip(1.5 + right.growth_mm, -1, 5),
        growth_slope=0 * right.growth_slope,
        fat_mm=min(right.fat_mm, 30.0),
    )
    left = replace(right, side=Side.LEFT, growth_mm=np.clip(1.5 + left.growth_mm, -1, 5))
    low, high = drawn_range_mm(right)
    level, middle, flattening = rng.uniform(low, high), rng.normal(0, 5), rng.uniform(0, 0.5)
    away = MIDLINE * shape_at(right, level)[0][0]
    return [
        (
            half,
            Pose(
                centre_mm=(float(middle + sign * away), 0.0),
                rotation=0.0,
                flattening=float(flattening),
                level_mm=float(level),
                contact_mm=float(middle),
                joined=True,
            ),
        )
        for half, sign in ((right, -1), (left, 1))
    ]


def sample_unlike(rng: np.random.Generator, limbs: tuple[LimbAnatomy, LimbAnatomy]) -> tuple[LimbAnatomy, LimbAnatomy]:
    """Waste or swell one limb of a few subjects, as after polio, in a cast, above a stump, by lymph."""
    if rng.random() >= UNLIKE:
        return limbs
    which, girth, fat = int(rng.integers(2)), float(rng.uniform(0.65, 1.1)), float(rng.lognormal(0.2, 0.5))

    def unlike(limb: LimbAnatomy) -> LimbAnatomy:
        across, down = limb.radius_mm
        bone = float(np.clip(limb.bone / girth, 0.85, 1.4))
        return replace(limb, radius_mm=(girth * across, girth * down), fat_mm=fat * limb.fat_mm, bone=bone)

    right, left = (unlike(limb) if number == which else limb for number, limb in enumerate(limbs))
    return right, left
