"""Bodies, limbs and their cross-sections: which tissue lies at which point."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import CubicSpline

from musclesense.cohort.table import Limbs, Region
from musclesense.phantom.templates import TEMPLATES, Points
from musclesense.phantom.texture import Floats, lattice, ridges, sample

RASTER = 192
EXTENT = 2.2  # the rasters cover [-EXTENT, EXTENT] of the template's frame, skin included
WARP_NODES_PER_UNIT = 4.0
SLACK_MM = 2.5  # how far a muscle may grow beyond its outline to close a gap; wider gaps stay fat
SKIN_MM = 2.0
FASCIA_MM = 0.6


class Tissue(IntEnum):
    """What a point is made of."""

    AIR = 0
    SKIN = 1
    SUBCUTANEOUS_FAT = 2
    CONNECTIVE = 3
    FASCIA = 4
    INTERMUSCULAR_FAT = 5
    MUSCLE = 6
    CORTEX = 7
    MARROW = 8
    BLOOD = 9
    NERVE = 10


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a subject's limbs have in common; 1 is the usual adult.

    Attributes:
        size: Relative limb size.
        adiposity: Relative thickness of the subcutaneous fat.
        septum_mm: Half thickness of the fat between muscles.
    """

    size: float
    adiposity: float
    septum_mm: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Self:
        """Draw an adult."""
        return cls(
            size=float(np.clip(rng.normal(1.0, 0.07), 0.85, 1.12)),
            adiposity=float(np.clip(rng.lognormal(0.0, 0.4), 0.4, 1.8)),
            septum_mm=float(rng.uniform(0.2, 0.65)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Limb:
    """The anatomy of one limb, the same at every session.

    Attributes:
        region: Thigh or calf.
        side: Left or right of the subject.
        radius_mm: Half width of the muscle envelope (x, y) at mid-level.
        fat_mm: Mean thickness of the subcutaneous fat.
        septum_mm: Half thickness of the fat between muscles.
        growth_mm: How much each muscle pushes its neighbours away at mid-level, shape (muscles,).
        growth_slope: The same per mm towards the hip.
        warp: Two lattices that displace the template, along x and y.
        septa: Lattice of the thin septa in subcutaneous fat.
    """

    region: Region
    side: Limbs
    radius_mm: tuple[float, float]
    fat_mm: float
    septum_mm: float
    growth_mm: Floats
    growth_slope: Floats
    warp: tuple[Floats, Floats]
    septa: Floats


def sample_limbs(rng: np.random.Generator, body: Body, region: Region) -> tuple[Limb, Limb]:
    """Draw the right and the left limb of a body: mirror images with some asymmetry."""
    template = TEMPLATES[region]
    muscles = len(template.muscles)
    shape = rng.normal(1.0, 0.04, 2)
    growth, slope = rng.normal(0, 1.6, muscles), rng.normal(0, 0.04, muscles)
    common = [lattice(rng, size=16, planes=6, sigma=1.1) for _ in range(2)]
    limbs = []
    for side in (Limbs.RIGHT, Limbs.LEFT):
        radius = np.asarray(template.radius_mm) * body.size * shape * rng.normal(1.0, 0.012)
        own = [lattice(rng, size=16, planes=6, sigma=1.1) for _ in range(2)]
        limbs.append(
            Limb(
                region=region,
                side=side,
                radius_mm=(float(radius[0]), float(radius[1])),
                fat_mm=template.fat_mm * body.adiposity * float(rng.normal(1.0, 0.03)),
                septum_mm=body.septum_mm,
                growth_mm=(growth + rng.normal(0, 0.5, muscles)).astype(np.float32),
                growth_slope=slope.astype(np.float32),
                warp=(0.9 * common[0] + 0.4 * own[0], 0.9 * common[1] + 0.4 * own[1]),
                septa=lattice(rng),
            )
        )
    return limbs[0], limbs[1]


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a limb lies in the scanner at one session.

    Attributes:
        centre_mm: Centre of the limb in the image, (x towards the subject's left, y towards posterior).
        rotation: Turn about the limb's axis in radians, positive towards medial.
        flattening: How much the table presses the posterior side flat, 0 to 1.
        level_mm: Offset of the slices from mid-level towards the hip.
    """

    centre_mm: tuple[float, float]
    rotation: float
    flattening: float
    level_mm: float


def sample_poses(rng: np.random.Generator, limbs: tuple[Limb, Limb]) -> tuple[Pose, Pose]:
    """Draw how the right and the left limb lie beside each other on the table."""
    level, gap = (
        rng.normal(0, 3.0),
        rng.uniform(2.0, 14.0) if limbs[0].region is Region.THIGH else rng.uniform(30.0, 110.0),
    )
    middle, height = rng.normal(0, 3.0), rng.normal(0, 2.0)
    poses = []
    for limb, sign in zip(limbs, (-1, 1), strict=True):
        half_width = limb.radius_mm[0] + 1.2 * limb.fat_mm
        poses.append(
            Pose(
                centre_mm=(float(middle + sign * (half_width + gap / 2)), float(height - 2 + rng.normal(0, 2.0))),
                rotation=float(rng.normal(-0.12, 0.12)),
                flattening=float(rng.uniform(0.1, 0.9)),
                level_mm=float(level + rng.normal(0, 1.0)),
            )
        )
    return poses[0], poses[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """A cross-section of one limb, all arrays of the shape of the points it was drawn at.

    Attributes:
        tissue: ``Tissue`` of each point.
        muscle: 1-based index of the muscle among the template's, 0 elsewhere.
        depth_mm: Distance to the border of the muscle, 0 elsewhere.
        density: Density relative to that usual for the tissue.
        u_mm: Coordinate in the limb, fixed to the tissue: towards medial.
        v_mm: The same towards posterior.
        level_mm: Where along the limb it lies.
    """

    tissue: NDArray[np.uint8]
    muscle: NDArray[np.uint8]
    depth_mm: Floats
    density: Floats
    u_mm: Floats
    v_mm: Floats
    level_mm: float


def draw_section(limb: Limb, pose: Pose, offset_mm: float, x_mm: Floats, y_mm: Floats, atrophy_mm: Floats) -> Section:
    """Draw the cross-section of a limb at points of the image.

    The muscles of the template are warped and share the envelope among them: every point goes to the muscle
    whose outline it lies deepest in, and points near the border between two muscles are fat.

    Args:
        limb: The anatomy.
        pose: How the limb lies.
        offset_mm: Position of the slice relative to the middle one, towards the hip.
        x_mm: Points of the image, towards the subject's left.
        y_mm: Points of the image, towards posterior.
        atrophy_mm: How far the border of each muscle has withdrawn, shape (muscles,).
    """
    template = TEMPLATES[limb.region]
    level = pose.level_mm + offset_mm
    x, y = _limb_frame(limb, pose, level, x_mm, y_mm)
    unit_mm = np.float32(np.mean(limb.radius_mm) * (1 + template.taper * level))
    envelope = unit_mm * _read(_raster(limb.region)[..., :1], x, y)[..., 0]
    tissue, muscle = np.zeros(x.shape, np.uint8), np.zeros(x.shape, np.uint8)
    depth = np.zeros(x.shape, np.float32)
    _draw_subcutis(tissue, limb, level, envelope, x, y)
    deep = envelope <= 0
    tissue[deep], muscle[deep], depth[deep] = _deep(limb, level, envelope[deep], x[deep], y[deep], atrophy_mm)
    u_mm, v_mm = x * np.float32(limb.radius_mm[0]), y * np.float32(limb.radius_mm[1])
    grain = np.float32(0.04) * sample(limb.septa, level + 30, 1.1 * u_mm, 1.1 * v_mm)
    return Section(
        tissue=tissue, muscle=muscle, depth_mm=depth, density=1 + grain, u_mm=u_mm, v_mm=v_mm, level_mm=level
    )


def _deep(
    limb: Limb, level: float, envelope: Floats, x: Floats, y: Floats, atrophy_mm: Floats
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Floats]:
    """Draw tissue, muscle and depth in the muscle at points within the envelope, arrays (points,)."""
    template = TEMPLATES[limb.region]
    unit_mm = np.float32(np.mean(limb.radius_mm) * (1 + template.taper * level))
    fields = unit_mm * _read(_raster(limb.region)[..., 1:], x, y)
    outlines, bones = np.split(fields, [len(template.muscles)], axis=-1)
    distances = outlines - (limb.growth_mm + limb.growth_slope * np.float32(level))
    owner = distances.argmin(axis=-1)
    nearest, second = np.moveaxis(np.partition(distances, 1, axis=-1)[..., :2], -1, 0)
    depth = np.minimum((second - nearest) / 2, np.minimum(SLACK_MM - nearest, -envelope - FASCIA_MM - 0.2))
    # Septa vary along their course; here and there two muscles touch.
    course = sample(limb.septa, level, 28 * x, 28 * y)
    depth -= limb.septum_mm * np.maximum(1 + 0.9 * course, -0.5) + atrophy_mm[owner]

    tissue = np.full(x.shape, Tissue.INTERMUSCULAR_FAT, np.uint8)
    tissue[depth > 0] = Tissue.MUSCLE
    for vessel in template.vessels:
        distance = unit_mm * np.hypot(x - vessel.centre[0], y - vessel.centre[1])
        tissue[distance < vessel.radius_mm + 1.2] = Tissue.INTERMUSCULAR_FAT
        tissue[distance < vessel.radius_mm] = Tissue.NERVE if vessel.nerve else Tissue.BLOOD
    tissue[envelope > -FASCIA_MM] = Tissue.FASCIA
    for bone, distance in zip(template.bones.values(), np.moveaxis(bones, -1, 0), strict=True):
        tissue[distance < 0] = Tissue.CORTEX
        tissue[distance < -bone.cortex * unit_mm] = Tissue.MARROW
    inside = tissue == Tissue.MUSCLE
    return tissue, np.where(inside, owner + 1, 0).astype(np.uint8), np.where(inside, depth, 0).astype(np.float32)


def reach_mm(limb: Limb) -> float:
    """Give a distance from the limb's centre beyond which there is only air."""
    return 1.3 * max(limb.radius_mm) + 1.5 * limb.fat_mm + 5


def _limb_frame(limb: Limb, pose: Pose, level: float, x_mm: Floats, y_mm: Floats) -> tuple[Floats, Floats]:
    """Bring points of the image into the frame of the template."""
    scale = 1 + TEMPLATES[limb.region].taper * level
    mirror = -1.0 if limb.side is Limbs.LEFT else 1.0
    x, y = mirror * (x_mm - pose.centre_mm[0]), y_mm - pose.centre_mm[1]
    # The table moves the most posterior tissue forward and hardly any other.
    pressed = np.maximum(y / limb.radius_mm[1] - 0.55, 0)
    y = y + np.float32(0.45 * pose.flattening * limb.radius_mm[1]) * pressed**2
    cos, sin = np.cos(pose.rotation), np.sin(pose.rotation)
    x, y = (cos * x - sin * y) / (limb.radius_mm[0] * scale), (sin * x + cos * y) / (limb.radius_mm[1] * scale)
    u, v = x * WARP_NODES_PER_UNIT, y * WARP_NODES_PER_UNIT
    return (
        np.asarray(x + 0.035 * sample(limb.warp[0], level / 2, u, v), dtype=np.float32),
        np.asarray(y + 0.035 * sample(limb.warp[1], level / 2, u, v), dtype=np.float32),
    )


def _draw_subcutis(tissue: NDArray[np.uint8], limb: Limb, level: float, envelope: Floats, x: Floats, y: Floats) -> None:
    """Draw subcutaneous fat with its septa and veins, skin and air outside the envelope."""
    template = TEMPLATES[limb.region]
    angle = np.arctan2(y, x)
    medial, posterior, lateral, anterior = template.fat_by_angle
    mean = sum(template.fat_by_angle) / 4
    relative = mean + (medial - lateral) / 2 * np.cos(angle) + (posterior - anterior) / 2 * np.sin(angle)
    thickness = np.maximum(limb.fat_mm * relative, 2.0)
    tissue[envelope > 0] = Tissue.SUBCUTANEOUS_FAT
    # Septa run along the skin: stretch the lattice around the limb.
    lines = ridges(sample(limb.septa, level, angle * 128 / (2 * np.pi), envelope * 1.6), 0.07)
    tissue[(envelope > 1.0) & (lines > 0.5)] = Tissue.CONNECTIVE
    for degrees in template.veins:
        distance = np.hypot((angle - np.deg2rad(degrees)) * limb.radius_mm[0], envelope - 0.45 * thickness)
        tissue[distance < 1.8] = Tissue.BLOOD
    tissue[envelope > thickness] = Tissue.SKIN
    tissue[envelope > thickness + SKIN_MM] = Tissue.AIR


@cache
def _raster(region: Region) -> Floats:
    """Signed distances (inside < 0) of envelope, muscles and bones: (RASTER, RASTER, outlines)."""
    template = TEMPLATES[region]
    axis = np.linspace(-EXTENT, EXTENT, RASTER)
    x, y = np.meshgrid(axis, axis)
    outlines = [template.envelope, *template.muscles.values(), *(bone.outline for bone in template.bones.values())]
    # A little blur rounds the ridges of the distance, where the curves of two edges meet.
    fields = [ndimage.gaussian_filter(_signed_distance(_curve(outline), x, y), 1.0) for outline in outlines]
    return np.stack(fields, axis=-1).astype(np.float32)


def _curve(points: Points) -> Points:
    """Draw a smooth closed curve through control points."""
    closed = np.array([*points, points[0]])
    along = np.concatenate([[0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(closed, axis=0), axis=1)))])
    at = np.linspace(0, along[-1], 4 * len(points), endpoint=False)
    return tuple((float(x), float(y)) for x, y in CubicSpline(along, closed, bc_type="periodic")(at))


def _signed_distance(outline: Points, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of points to a closed polygon, negative inside."""
    nearest, inside = np.full(x.shape, np.inf), np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(outline, outline[1:] + outline[:1], strict=True):
        along = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay)))
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * (bx - ax) / (by - ay))
    return np.where(inside, -nearest, nearest)


def _read(raster: Floats, x: Floats, y: Floats) -> Any:
    """Read a raster at points of the template's frame, bilinear: shape (*points, outlines)."""
    step = 2 * EXTENT / (RASTER - 1)
    u, v = np.clip((x + EXTENT) / step, 0, RASTER - 1.001), np.clip((y + EXTENT) / step, 0, RASTER - 1.001)
    i, j = u.astype(np.intp), v.astype(np.intp)
    a, b = (u - i)[..., None].astype(np.float32), (v - j)[..., None].astype(np.float32)
    flat, at = raster.reshape(-1, raster.shape[-1]), j * RASTER + i
    top = (1 - a) * flat[at] + a * flat[at + 1]
    return (1 - b) * top + b * ((1 - a) * flat[at + RASTER] + a * flat[at + RASTER + 1])
