"""Cross-sections of limbs: which tissue lies at which point."""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from musclesense.phantom.anatomy.layout import CANDIDATES, CrossSection, lay_out
from musclesense.phantom.anatomy.limbs import LimbAnatomy, Pose, relative_level
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.texture import Floats, sample
from musclesense.vocabulary import Side


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
    FLUID = 11
    ORGAN = 12
    MASS = 13
    VOID = 14
    PILED_UP = 15


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """A cross-section of one limb, all arrays of the shape of the points it was drawn at."""

    tissue: NDArray[np.uint8]  # ``Tissue`` of each point
    muscle: NDArray[np.uint8]
    """1-based index of the muscle among the template's, 0 elsewhere. Thin sheets and septa within a muscle belong to
    it, though their tissue is not muscle."""
    depth_mm: Floats  # distance to the border of the muscle, 0 elsewhere
    density: Floats  # density relative to that usual for the tissue
    u_mm: Floats  # coordinate in the limb, fixed to the tissue: towards medial
    v_mm: Floats  # the same towards posterior
    level_mm: float  # where along the limb it lies


def draw_section(
    limb: LimbAnatomy, pose: Pose, offset_mm: float, x_mm: Floats, y_mm: Floats, atrophy_mm: Floats
) -> Section:
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
    shape, level = x_mm.shape, pose.level_mm + offset_mm
    cross = lay_out(limb, level)
    x, y, pressed = _limb_frame(limb, pose, level, offset_mm, cross, x_mm.ravel(), y_mm.ravel())
    envelope = cross.halo.read(*cross.halo.locate(x, y))[0]
    tissue, muscle = np.zeros(x.shape, np.uint8), np.zeros(x.shape, np.uint8)
    depth = np.zeros(x.shape, np.float32)

    outside = np.flatnonzero((envelope > 0) & (envelope < cross.fat_mm * 2.5 + 4 * limb.packing.skin))
    tissue[outside] = _draw_subcutis(limb, cross, level, envelope[outside], x[outside], y[outside], pressed[outside])
    deep = np.flatnonzero(envelope <= 0)
    tissue[deep], muscle[deep], depth[deep] = _draw_deep(
        limb, cross, level, envelope[deep], x[deep], y[deep], atrophy_mm
    )
    u_mm, v_mm = x * np.float32(limb.radius_mm[0]), y * np.float32(limb.radius_mm[1])
    density = np.ones(x.shape, np.float32)
    body = np.flatnonzero(tissue)
    density[body] += np.float32(0.04) * sample(limb.septa, level + 30, 1.1 * u_mm[body], 1.1 * v_mm[body])
    return Section(
        tissue=tissue.reshape(shape),
        muscle=muscle.reshape(shape),
        depth_mm=depth.reshape(shape),
        density=density.reshape(shape),
        u_mm=u_mm.reshape(shape),
        v_mm=v_mm.reshape(shape),
        level_mm=level,
    )


def _limb_frame(
    limb: LimbAnatomy, pose: Pose, level: float, offset_mm: float, cross: CrossSection, x_mm: Floats, y_mm: Floats
) -> tuple[Floats, Floats, Floats]:
    """Bring points of the image into the frame of the limb; the third array tells how much they are pressed there."""
    mirror = -1.0 if limb.side is Side.LEFT else 1.0
    centre_x = pose.centre_mm[0] + pose.slope[0] * offset_mm
    x = np.float32(mirror) * (x_mm - np.float32(centre_x))
    y = y_mm - np.float32(pose.centre_mm[1] + pose.slope[1] * offset_mm)
    pressed = np.ones(x.shape, np.float32)

    # The table moves posterior tissue forward and sideways, more where the limb is heavier.
    reach = np.float32(cross.radius_mm[1] + cross.fat_mm * cross.fat_by_angle[1])
    force = np.float32(pose.flattening * (0.5 + 0.5 * relative_level(limb, level)))
    depth = np.maximum(y / reach - np.float32(0.3), 0)
    y = y + force * reach * np.float32(1.3) * np.square(depth)
    x = x / (1 + force * depth * (np.float32(0.5) + depth))
    pressed += np.float32(2.6) * force * depth

    # The other limb is a wall that softly stops what would reach beyond it.
    if pose.contact_mm is not None and not pose.joined:
        wall = np.float32(max(mirror * (pose.contact_mm - centre_x), 1.0))
        near = np.flatnonzero(x > wall / 2)
        part = np.minimum(2 * x[near] / wall - 1, np.float32(0.999))
        x[near] += wall / 2 * np.float32(0.012) * part**3 / (1 - part)
        pressed[near] += np.float32(0.012) * (3 * part**2 / (1 - part) + part**3 / (1 - part) ** 2)

    cos, sin = np.float32(np.cos(pose.rotation)), np.float32(np.sin(pose.rotation))
    return (
        (cos * x - sin * y) / np.float32(cross.radius_mm[0]),
        (sin * x + cos * y) / np.float32(cross.radius_mm[1]),
        pressed,
    )


def _draw_subcutis(
    limb: LimbAnatomy, cross: CrossSection, level: float, envelope: Floats, x: Floats, y: Floats, pressed: Floats
) -> NDArray[np.uint8]:
    """Draw subcutaneous fat with its septa and veins, skin and air at points outside the envelope."""
    angle = np.arctan2(y, x)
    medial, posterior, lateral, anterior = cross.fat_by_angle
    mean = (medial + posterior + lateral + anterior) / 4
    cos, sin = np.cos(angle), np.sin(angle)
    lobes = np.array(limb.fat_lobes, np.float32)
    # Cosines of the double angle carry what medial and lateral have in common against the front and the back.
    relative = (
        np.float32(mean) + cos * ((medial - lateral) / 2 + lobes[0]) + sin * ((posterior - anterior) / 2 + lobes[1])
    )
    double = np.float32((medial + lateral - posterior - anterior) / 4) + lobes[2]
    relative += double * (2 * cos * cos - 1) + lobes[3] * 2 * cos * sin
    thickness = np.maximum(np.float32(cross.fat_mm) * relative, np.float32(limb.packing.least_fat)).astype(np.float32)
    skin = np.float32(limb.packing.skin) * np.minimum(pressed, 2.5)
    tissue = np.full(x.shape, Tissue.SUBCUTANEOUS_FAT, np.uint8)
    tissue[envelope > thickness] = Tissue.SKIN
    tissue[envelope > thickness + skin] = Tissue.AIR

    fat = np.flatnonzero((envelope > 1.0) & (tissue == Tissue.SUBCUTANEOUS_FAT))
    angle, envelope, share = angle[fat], envelope[fat], envelope[fat] / thickness[fat]
    # Septa run from the fascia to the skin and along both: stretch the lattice around the limb.
    around = angle * np.float32(128 / (2 * np.pi))
    field = sample(limb.septa, level, around, envelope * np.float32(1.4))
    lines = np.abs(field) < 0.12 + 0.07 * sample(limb.septa, level + 90, around * 2, envelope)
    wave = np.float32(0.55) + np.float32(0.12) * sample(limb.septa, level / 2 + 60, np.abs(around) / 2, share)
    lines |= (np.abs(share - wave) * thickness[fat] < 0.35) & (thickness[fat] > 7)
    tissue[fat[lines]] = Tissue.CONNECTIVE
    for degrees in TEMPLATES[limb.region].veins:
        distance = np.hypot(
            (angle - np.float32(np.deg2rad(degrees))) * np.float32(cross.radius_mm[0]), (share - 0.4) * thickness[fat]
        )
        tissue[fat[distance < 1.8 * limb.calibre]] = Tissue.BLOOD
    return tissue


def _draw_deep(
    limb: LimbAnatomy, cross: CrossSection, level: float, envelope: Floats, x: Floats, y: Floats, atrophy_mm: Floats
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], Floats]:
    """Draw tissue, muscle and depth in the muscle at points within the envelope, arrays (points,)."""
    template, packing = TEMPLATES[limb.region], limb.packing
    cell, weights = cross.deep.locate(x, y)
    fields = cross.deep.read(cell, weights)
    distances, (bone, marrow, dense) = fields[:CANDIDATES], fields[CANDIDATES:]
    owner = cross.owners[cell, distances.argmin(axis=0)]
    one, two, three = distances
    low, high = np.minimum(one, two), np.maximum(one, two)
    nearest, second, third = np.minimum(low, three), np.maximum(low, np.minimum(high, three)), np.maximum(high, three)
    gap = (second - nearest) / 2
    depth = np.minimum(np.minimum(gap, packing.slack - nearest), -envelope - np.float32(packing.fascia + 0.2))
    # Septa vary along their course, here and there two muscles touch; where three meet, fat fills the corner.
    loose = np.array([template.looseness.get(name, 1.0) for name in template.every], np.float32)[owner]
    course = sample(limb.septa, level, 28 * x, 28 * y)
    corner = np.maximum(
        np.float32(packing.corner) * np.minimum(loose, 1.25)
        - np.maximum(gap, np.minimum((third - nearest) / 2, -envelope)),
        0,
    )
    depth -= np.float32(limb.septum_mm) * loose * np.maximum(1 + np.float32(0.9) * course, -0.5)
    depth -= np.float32(0.3) * corner
    depth -= atrophy_mm[owner]
    rim = np.flatnonzero(np.abs(depth) < 1.5)
    depth[rim] -= np.float32(0.3) * sample(limb.septa, level + 10, 110 * x[rim], 110 * y[rim])

    tissue = np.full(x.shape, Tissue.INTERMUSCULAR_FAT, np.uint8)
    tissue[depth > 0] = Tissue.MUSCLE
    tissue[dense < 0] = Tissue.FASCIA
    rx, ry = np.float32(cross.radius_mm[0]), np.float32(cross.radius_mm[1])
    for centre, radius, nerve in cross.vessels:
        near = np.flatnonzero(
            np.maximum(np.abs(x - centre[0]) * rx, np.abs(y - centre[1]) * ry) < radius + packing.sleeve + 0.3
        )
        distance = np.hypot((x[near] - centre[0]) * rx, (y[near] - centre[1]) * ry)
        distance *= 1 + np.float32(0.12) * sample(limb.septa, level, 70 * x[near], 70 * y[near])
        tissue[near[distance < radius + packing.sleeve]] = Tissue.INTERMUSCULAR_FAT
        tissue[near[distance < radius]] = Tissue.NERVE if nerve else Tissue.BLOOD
    # The fascia lata is thickest at the outer side.
    tissue[envelope > -np.float32(packing.fascia) * (1 + np.maximum(-x, 0))] = Tissue.FASCIA
    tissue[bone < 0] = Tissue.CORTEX
    tissue[marrow < 0] = Tissue.MARROW
    inside = np.flatnonzero(tissue == Tissue.MUSCLE)
    muscle, depths = np.zeros(x.shape, np.uint8), np.zeros(x.shape, np.float32)
    muscle[inside], depths[inside] = owner[inside] + 1, depth[inside]
    tissue[inside] = _draw_sheets(limb, cross, level, x[inside], y[inside], depth[inside], owner[inside])
    return tissue, muscle, depths


def _draw_sheets(
    limb: LimbAnatomy, cross: CrossSection, level: float, x: Floats, y: Floats, depth: Floats, owner: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Draw aponeuroses, thin septa between fascicles and small vessels at points within muscles."""
    template = TEMPLATES[limb.region]
    tissue = np.full(x.shape, Tissue.MUSCLE, np.uint8)
    rx, ry = np.float32(cross.radius_mm[0]), np.float32(cross.radius_mm[1])
    x_mm, y_mm = x * rx, y * ry
    for line, half in cross.sheets:
        points = line * np.array([rx, ry])
        (left, top), (right, bottom) = points.min(axis=0) - half, points.max(axis=0) + half
        near = np.flatnonzero((x_mm > left) & (x_mm < right) & (y_mm > top) & (y_mm < bottom))
        for (ax, ay), (bx, by) in pairwise(points):
            u, v = x_mm[near] - ax, y_mm[near] - ay
            along = np.clip((u * (bx - ax) + v * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2), 0, 1)
            distance = np.hypot(u - along * (bx - ax), v - along * (by - ay))
            tissue[near[distance < half]] = Tissue.FASCIA
    # Septa lie around the bone in some muscles and point to it in the others.
    concentric = np.array([name in template.concentric for name in template.every])[owner]
    u, v = x_mm - cross.hub[0] * rx, y_mm - cross.hub[1] * ry
    # Without its sign the angle has no seam.
    radial, around = np.hypot(u, v), np.abs(np.arctan2(v, u)) * np.float32(35)
    shift = np.float32(13.0) * owner.astype(np.float32)
    fast, slow = np.where(concentric, radial, around), np.where(concentric, around, radial)
    for along, across, width, rarity in ((0.22, 0.75, 0.11, 0.35), (0.5, 1.6, 0.16, 0.8)):
        fine, coarse = np.float32(across) * fast + shift, np.float32(along) * slow + shift
        field = sample(limb.septa, level / 4, fine, coarse)
        there = sample(limb.septa, level / 3 + 40, fine / 2, coarse)
        tissue[(np.abs(field) < width * (np.minimum(there, 1.4) - np.float32(rarity))) & (depth > 0.8)] = (
            Tissue.CONNECTIVE
        )
    return tissue
