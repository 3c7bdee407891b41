"""Bodies, their limbs, and how these lie in the scanner."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from musclesense.phantom.anatomy.rasters import neighbours
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.texture import Floats, lattice
from musclesense.vocabulary import Region, Side


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a subject's limbs have in common; 1 is the usual adult."""

    female: bool
    age: float  # years
    size: float  # relative limb length and bone size
    muscularity: float  # relative area of muscle
    adiposity: float  # relative thickness of the subcutaneous fat
    septum_mm: float  # half thickness of the fat between muscles

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw an adult."""
        female, age = bool(rng.random() < 0.5), float(rng.uniform(20, 80))
        size = np.clip(rng.normal(0.97 if female else 1.03, 0.045), 0.85, 1.14)
        muscularity = rng.normal(0.94 if female else 1.05, 0.12) * (1 - 0.004 * max(age - 45, 0))
        adiposity = rng.lognormal(0.25 if female else -0.25, 0.35)
        return cls(
            female=female,
            age=age,
            size=float(size),
            muscularity=float(np.clip(muscularity, 0.6, 1.35)),
            adiposity=float(np.clip(adiposity, 0.35, 2.2)),
            septum_mm=float(rng.uniform(0.15, 0.45) * (1 + 0.008 * max(age - 45, 0)) * adiposity**0.4),
        )


def child(rng: np.random.Generator, body: Body, age: float) -> Body:
    """Make an adult's body a child's: smaller, at six years with about three fifths of an adult's girths.

    Sex and relative adiposity stay. ``age`` is in years, from about 3 to 18.
    """
    size = float(np.clip(0.62 + 0.035 * (age - 6) + rng.normal(0, 0.03), 0.5, 1))
    return replace(
        body,
        age=age,
        size=size,
        muscularity=float(rng.uniform(0.8, 1.0)),
        adiposity=0.8 * size * body.adiposity,
        septum_mm=0.6 * size * body.septum_mm,
    )


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How tightly tissues fill a limb, in mm; the defaults are those of the cohorts."""

    slack: float = 2.5  # how far a muscle may grow beyond its outline to close a gap; wider gaps stay fat
    corner: float = 4.0  # size of the fat where three muscles meet
    sleeve: float = 1.2  # thickness of the fat around deep vessels and nerves
    fascia: float = 0.5  # thickness of the deep fascia
    skin: float = 1.8  # thickness of the skin
    least_fat: float = 2.0  # thickness of the thinnest subcutaneous fat


@dataclass(frozen=True, kw_only=True, eq=False)
class LimbAnatomy:
    """The anatomy of one limb, the same at every session."""

    region: Region
    side: Side
    radius_mm: tuple[float, float]  # half width of the muscle envelope (x, y) at mid-level
    length_mm: float  # distance from the distal to the proximal end of the region
    bone: float  # size of the bones relative to the template's, in its unit: thin limbs have relatively thick bones
    fat_mm: float  # mean thickness of the subcutaneous fat at mid-level
    fat_lobes: tuple[float, float, float, float]
    """What its thickness adds around the limb, as cosine and sine of the angle and of its double."""
    septum_mm: float  # half thickness of the fat between muscles
    growth_mm: Floats  # how much each muscle pushes its neighbours away at mid-level, shape (muscles,)
    growth_slope: Floats  # the same per mm towards the hip
    warp: tuple[Floats, Floats]  # two lattices that displace the template, along x and y
    septa: Floats  # lattice of the septa in subcutaneous fat, between and within muscles
    calibre: float = 1.0  # size of its vessels relative to the template's
    packing: Packing = Packing()
    levels: tuple[float, float] | None = None  # lowest and highest that are drawn; the template's where there are none


def sample_limbs(rng: np.random.Generator, body: Body, region: Region) -> tuple[LimbAnatomy, LimbAnatomy]:
    """Draw the right and the left limb of a body: mirror images with some asymmetry."""
    template = TEMPLATES[region]
    muscles = len(template.muscles)
    shape = rng.normal(1.0, 0.03, 2)
    length = template.length_mm * body.size * float(rng.normal(1.0, 0.02))
    growth, slope = rng.normal(0, 1.4, muscles), rng.normal(0, 0.008, muscles)
    # Fat of women lies more at the outer and the back side of the thigh.
    lobes = rng.normal(0, 0.07, 4) + np.array([-0.06, 0.06, 0, 0]) * (1 if body.female else -1)
    common = [lattice(rng, size=16, planes=6, sigma=1.1) for _ in range(2)]
    limbs = []
    for side in Side:
        scale = body.size * np.sqrt(body.muscularity) * rng.normal(1.0, 0.012)
        radius = np.asarray(template.radius_mm) * shape * scale
        own = [lattice(rng, size=16, planes=6, sigma=1.1) for _ in range(2)]
        limbs.append(
            LimbAnatomy(
                region=region,
                side=side,
                radius_mm=(float(radius[0]), float(radius[1])),
                length_mm=length,
                bone=float(np.clip(body.size / scale, 0.85, 1.25)),
                fat_mm=template.fat_mm * body.adiposity * float(rng.normal(1.0, 0.03)),
                fat_lobes=tuple((lobes + rng.normal(0, 0.015, 4)).tolist()),
                septum_mm=body.septum_mm,
                growth_mm=(growth + rng.normal(0, 0.4, muscles)).astype(np.float32),
                growth_slope=slope.astype(np.float32),
                warp=(0.9 * common[0] + 0.4 * own[0], 0.9 * common[1] + 0.4 * own[1]),
                septa=lattice(rng),
            )
        )
    return limbs[0], limbs[1]


def drawn_range_mm(limb: LimbAnatomy) -> tuple[float, float]:
    """Give the lowest and the highest level that can be drawn, joints included where the template has them."""
    low, high = _end_levels(limb)
    return (low - 0.5) * limb.length_mm, (high - 0.5) * limb.length_mm


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a limb lies in the scanner at one session."""

    centre_mm: tuple[float, float]
    """Centre of the limb in the image at ``level_mm``, (x towards the subject's left, y towards posterior)."""
    rotation: float  # turn about the limb's axis in radians, positive where its anterior side turns towards lateral
    flattening: float  # how much the table presses the posterior side flat, 0 to 1
    level_mm: float  # offset of the slices from mid-level towards the hip
    slope: tuple[float, float] = (0.0, 0.0)  # drift of the centre (x, y) per mm towards the hip
    contact_mm: float | None = None  # where the other limb begins, in the image's x; none if it is far
    joined: bool = False  # whether both are one body there, as at the hips, and do not press against each other


def sample_poses(
    rng: np.random.Generator, limbs: tuple[LimbAnatomy, LimbAnatomy], level_mm: float = 0.0
) -> tuple[Pose, Pose]:
    """Draw how the right and the left limb lie beside each other on the table.

    The middle slice was meant to lie at ``level_mm``; the technician misses it by a few mm.
    """
    thigh = limbs[0].region is Region.THIGH
    level, gap = level_mm + rng.normal(0, 3.0), rng.gamma(2.0, 9.0) - 6 if thigh else rng.uniform(20.0, 110.0)
    middle, height = rng.normal(0, 3.0), rng.normal(0, 2.0)
    flattening, away = rng.uniform(0.0, 0.9), rng.normal(0.01, 0.03)
    turn = rng.normal(0.15, 0.15)  # who lies on the back lets the feet fall outwards
    poses = []
    for limb, sign in zip(limbs, (-1, 1), strict=True):
        radius, fat_mm, fat = shape_at(limb, level)
        half_width = radius[0] + fat_mm * fat[0]
        poses.append(
            Pose(
                centre_mm=(float(middle + sign * (half_width + gap / 2)), float(height - 2 + rng.normal(0, 2.0))),
                rotation=float(turn + rng.normal(0, 0.1)),
                flattening=float(np.clip(flattening + rng.normal(0, 0.08), 0, 1)),
                level_mm=float(level + rng.normal(0, 1.0)),
                slope=(float(sign * (away + rng.normal(0, 0.01))), float(rng.normal(-0.02, 0.02))),
                contact_mm=float(middle),
            )
        )
    return poses[0], poses[1]


def reach_mm(limb: LimbAnatomy, level: float) -> float:
    """Give a distance from the limb's centre beyond which there is only air."""
    radius, fat_mm, fat = shape_at(limb, level)
    return 1.3 * max(radius) + 1.3 * fat_mm * max(fat) + 5


def shape_at(limb: LimbAnatomy, level: float) -> tuple[tuple[float, float], float, tuple[float, float, float, float]]:
    """Give half width of the envelope, mean thickness of the subcutaneous fat and its relative values by angle."""
    template = TEMPLATES[limb.region]
    below, above, weight = neighbours(limb.region, relative_level(limb, level))
    low, high = template.keyframes[below], template.keyframes[above]

    def between(a: float, b: float) -> float:
        return (1 - weight) * a + weight * b

    (ax, ay), (bx, by) = low.radius, high.radius
    radius = limb.radius_mm[0] * between(ax, bx), limb.radius_mm[1] * between(ay, by)
    medial, posterior, lateral, anterior = map(between, low.fat_by_angle, high.fat_by_angle)
    return radius, limb.fat_mm * between(low.fat, high.fat), (medial, posterior, lateral, anterior)


def relative_level(limb: LimbAnatomy, level: float) -> float:
    """Turn a level in mm from the middle into the template's, 0 to 1 between the joints."""
    low, high = _end_levels(limb)
    return min(max(0.5 + level / limb.length_mm, low), high)


def _end_levels(limb: LimbAnatomy) -> tuple[float, float]:
    return limb.levels or TEMPLATES[limb.region].levels
