"""What a drawn slice may hold beside its limbs: organs of the pelvis, arms, masses, implants, fluid below the skin.

Each function changes a `Drawing` in place. Nothing of it is muscle of interest: the compartment there becomes 0.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.phantom.anatomy.ends import HIPS
from musclesense.phantom.anatomy.limbs import relative_level
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.signal import Drawing
from musclesense.phantom.slices import PlacedLimb
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Region

Mask = NDArray[np.bool_]
ARM, MASS, IMPLANT, FLUID = 0.25, 0.09, 0.035, 0.07
"""Share of the slices with each; of arms, of those of thighs."""


class Plane(NamedTuple):
    """Where the middles of voxels lie, in mm: (1, columns) towards the subject's left, (rows, 1) to posterior."""

    x: Floats
    y: Floats

    @classmethod
    def of(cls, drawing: Drawing, voxel_mm: float) -> "Plane":
        """Give the plane of a drawing, 0 in its middle."""
        rows, columns = drawing.tissue.shape[1:]
        x = ((np.arange(columns) - (columns - 1) / 2) * voxel_mm).astype(np.float32)
        y = ((np.arange(rows) - (rows - 1) / 2) * voxel_mm).astype(np.float32)
        return cls(x[None], y[:, None])

    def blob(
        self, rng: np.random.Generator, centre: tuple[float, float], radii: tuple[float, float], *, uneven: float = 0.1
    ) -> Floats:
        """Give how far out voxels lie in a rounded shape, turned any way: below 1 within it."""
        turn, phases = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 3)
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        x, y = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        u, v = (cos * x + sin * y) / np.float32(radii[0]), (cos * y - sin * x) / np.float32(radii[1])
        angle, out = np.arctan2(v, u), np.hypot(u, v)
        for wave, (phase, height) in enumerate(zip(phases, rng.uniform(0, uneven, 3), strict=True), start=2):
            out *= 1 + np.float32(height) * np.cos(wave * angle + np.float32(phase))
        return np.asarray(out, np.float32)


def put(drawing: Drawing, where: Mask, tissue: Tissue) -> None:
    """Put a tissue in place of what lies at some voxels, (rows, columns)."""
    drawing.tissue[:, where] = tissue
    drawing.compartment[:, where] = 0
    drawing.muscle_fat[:, where] = 0
    drawing.oedema[:, where] = 0


def add_all(states: Mapping[str, np.random.Generator], drawing: Drawing, limbs: list[PlacedLimb], pixel: float) -> None:
    """Add what a slice holds beside the limbs and their disease, each now and then."""
    plane, pose, anatomy = Plane.of(drawing, pixel), limbs[0].pose, limbs[0].anatomy
    if (rng := states.get("masses")) and rng.random() < MASS:
        put_mass(rng, drawing, plane, pixel)
    if pose.joined and pose.contact_mm is not None and (rng := states.get("hips")):
        level = (relative_level(anatomy, pose.level_mm) - HIPS[0]) / (HIPS[1] - HIPS[0])
        put_organs(rng, drawing, plane, pose.contact_mm, level)
    if (rng := states.get("fluid")) and rng.random() < FLUID:
        put_fluid(rng, drawing, pixel)
    if (rng := states.get("implants")) and rng.random() < IMPLANT:
        put_implant(rng, drawing, plane)
    if (rng := states.get("arms")) and anatomy.region is Region.THIGH and rng.random() < ARM:
        body = np.flatnonzero((drawing.tissue[0] != Tissue.AIR).any(axis=0))
        if body.size:
            sign = int(rng.choice([-1, 1]))
            put_arm(rng, drawing, plane, float(abs(plane.x[0, body[-1 if sign > 0 else 0]])), sign)


def put_organs(rng: np.random.Generator, drawing: Drawing, plane: Plane, midline_mm: float, height: float) -> None:
    """Draw what a pelvis holds between its muscles; ``height`` is 0 at the sitting bones and 1 above the hip joints."""
    free = (drawing.tissue == Tissue.INTERMUSCULAR_FAT).any(axis=0) | (drawing.tissue == Tissue.CONNECTIVE).any(axis=0)
    free &= np.abs(plane.x - np.float32(midline_mm)) < 75
    fillings = (Tissue.ORGAN, Tissue.FLUID, Tissue.VOID, Tissue.INTERMUSCULAR_FAT)

    def organ(x: float, y: float, radii: tuple[float, float], wall_mm: float, filling: Tissue) -> None:
        out = plane.blob(rng, (midline_mm + x, y), radii)
        put(drawing, free & (out < 1), Tissue.ORGAN)
        put(drawing, free & (out < 1 - wall_mm / min(radii)), filling)

    def size(low: float, high: float) -> tuple[float, float]:
        return float(rng.uniform(low, high)), float(rng.uniform(low, high))

    if height > 0.7:  # loops of bowel
        for _ in range(int(rng.integers(0, 6))):
            organ(rng.uniform(-50, 50), rng.uniform(-65, 30), size(9, 20), 2.5, fillings[int(rng.integers(4))])
    if height < 0.4:  # crura, bulb, vagina
        organ(0, rng.uniform(-25, 5), size(9, 20), 3, Tissue.ORGAN if rng.random() < 0.6 else Tissue.FLUID)
    else:  # prostate or uterus, then the bladder before it
        organ(rng.normal(0, 4), rng.uniform(0, 15), size(12, 28), 5, Tissue.ORGAN)
        if rng.random() < 0.9:
            full = Tissue.FLUID if rng.random() < 0.9 else Tissue.ORGAN
            organ(rng.normal(0, 5), rng.uniform(-38, -12), size(12, 46), rng.uniform(1.5, 6), full)
    organ(rng.normal(0, 3), rng.uniform(34, 52), size(8, 17), rng.uniform(2, 5), fillings[int(rng.integers(4))])
    _cleave(rng, drawing, plane, midline_mm)


def _cleave(rng: np.random.Generator, drawing: Drawing, plane: Plane, midline_mm: float) -> None:
    """Part the buttocks: skin against skin, air between them where they gape."""
    body = (drawing.tissue != Tissue.AIR).any(axis=0)
    back = plane.y.max() if not body.any() else plane.y[np.flatnonzero(body.any(axis=1)).max(), 0]
    deep, gape = rng.uniform(5, 35), rng.uniform(-2, 12)
    inside = (plane.y - (back - np.float32(deep))) / np.float32(deep)
    half = np.where(inside > 0, np.float32(gape) * np.clip(inside, 0, None), np.float32(-100))
    away = np.abs(plane.x - np.float32(midline_mm + rng.normal(0, 3)))
    outer = np.isin(drawing.tissue[0], (Tissue.SUBCUTANEOUS_FAT, Tissue.CONNECTIVE, Tissue.SKIN))
    put(drawing, outer & (away < half + np.float32(1.8)), Tissue.SKIN)
    put(drawing, outer & (away < half), Tissue.AIR)


def put_arm(rng: np.random.Generator, drawing: Drawing, plane: Plane, edge_mm: float, sign: int) -> None:
    """Lay a forearm, or a hand, beside what reaches ``edge_mm`` on one side; a part may lie beyond the frame."""
    free = (drawing.tissue == Tissue.AIR).all(axis=0)
    hand = rng.random() < 0.4
    radii = (float(rng.uniform(10, 18)), float(rng.uniform(30, 45))) if hand else tuple(rng.uniform(22, 48, 2))
    x, y = sign * (edge_mm + rng.uniform(-0.3, 1.0) * radii[0]), float(rng.uniform(-60, 50))
    out, small = plane.blob(rng, (x, y), (radii[0], radii[1]), uneven=0.04), min(radii)
    bones, (across, down) = (int(rng.integers(3, 6)), (0.1, 0.75)) if hand else (int(rng.integers(1, 3)), (0.35, 0.35))
    for tissue, depth in ((Tissue.SKIN, 0.0), (Tissue.SUBCUTANEOUS_FAT, 1.6), (Tissue.MUSCLE, rng.uniform(2.5, 9))):
        put(drawing, free & (out < 1 - depth / small), tissue)
    for number in range(bones):
        along = (number - (bones - 1) / 2) / max(bones - 1, 1) * 2
        size = float(rng.uniform(3.5, 5) if hand else rng.uniform(6, 11))
        centre = (x + across * radii[0] * along, y + down * radii[1] * along)
        bone = plane.blob(rng, centre, (size, size))
        put(drawing, free & (bone < 1) & (out < 1), Tissue.CORTEX)
        put(drawing, free & (bone < rng.uniform(0.4, 0.8)) & (out < 1), Tissue.MARROW)


def put_mass(rng: np.random.Generator, drawing: Drawing, plane: Plane, voxel_mm: float) -> None:
    """Let a mass grow in or beside muscle: solid, a cyst, a lipoma, one that decays within. It pushes tissue away."""
    rows, columns = np.nonzero(drawing.compartment[0])
    if not rows.size:
        return
    at = int(rng.integers(rows.size))
    centre = float(plane.x[0, columns[at]]), float(plane.y[rows[at], 0])
    radius = float(5 * 8 ** rng.random())
    radii = (radius, radius * float(rng.uniform(0.6, 1.5)))
    _push(drawing, (rows[at], columns[at]), rng.uniform(0.3, 1.0) * radius / voxel_mm)
    body = (drawing.tissue != Tissue.AIR).any(axis=0)
    bone = np.isin(drawing.tissue[0], (Tissue.CORTEX, Tissue.MARROW))
    out = plane.blob(rng, centre, radii, uneven=0.18)
    kinds = (Tissue.MASS, Tissue.FLUID, Tissue.SUBCUTANEOUS_FAT)
    kind = kinds[int(rng.choice(3, p=(0.65, 0.2, 0.15)))]
    there = body & ~bone
    swollen = there & (out < 1 + 12 / radius)
    if rng.random() < 0.4 and kind is Tissue.MASS:
        drawing.oedema[:, swollen] = np.maximum(drawing.oedema[:, swollen], np.float32(rng.uniform(0.3, 1)))
        drawing.oedema[drawing.tissue != Tissue.MUSCLE] = 0
    put(drawing, there & (out < 1), Tissue.FASCIA if rng.random() < 0.5 else kind)
    inside = there & (out < 1 - 1.2 / radius)
    put(drawing, inside, kind)
    drawing.density[:, inside] *= (
        1 + np.float32(rng.uniform(0, 0.35)) * _clouds(rng, inside.shape, radius / voxel_mm)[inside]
    )
    if kind is not Tissue.FLUID:
        within = np.abs(plane.blob(rng, centre, (radii[1] * 0.6, radii[0] * 0.6), uneven=0.3))
        other = (Tissue.FLUID, Tissue.CONNECTIVE, Tissue.ORGAN)[int(rng.integers(3))]
        if rng.random() < 0.5:
            put(drawing, there & (out < 0.85) & (within < rng.uniform(0.4, 1.0)), other)


def _clouds(rng: np.random.Generator, shape: tuple[int, ...], size: float) -> Floats:
    """Draw a field of standard deviation 1, coarse or fine against a mass of so many pixels."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), size * rng.uniform(0.05, 0.3) + 0.5)
    return np.asarray(np.clip(field / (field.std() + 1e-6), -2, 2), np.float32)


def _push(drawing: Drawing, centre: tuple[int, int], radius: float) -> None:
    """Push what lies around a voxel outwards, by as much as a disc of ``radius`` pixels takes."""
    shape = drawing.tissue.shape[1:]
    row, column = (np.arange(size, dtype=np.float32) - at for size, at in zip(shape, centre, strict=True))
    square = row[:, None] ** 2 + column**2
    nearer = np.sqrt(np.maximum(square - np.float32(radius**2), 0) / np.maximum(square, 1))
    rows = np.rint(centre[0] + row[:, None] * nearer).astype(np.intp)
    columns = np.rint(centre[1] + column * nearer).astype(np.intp)
    for array in (drawing.tissue, drawing.muscle_fat, drawing.density, drawing.oedema, drawing.compartment):
        array[:] = array[:, rows, columns]


def put_implant(rng: np.random.Generator, drawing: Drawing, plane: Plane) -> None:
    """Let metal empty its surroundings: nail, plate, screw or joint. Signal piles up at a part of its rim."""
    rows, columns = np.nonzero(np.isin(drawing.tissue[0], (Tissue.MARROW, Tissue.CORTEX)))
    if not rows.size:
        return
    at = int(rng.integers(rows.size))
    centre = float(plane.x[0, columns[at]]), float(plane.y[rows[at], 0])
    radii = tuple(6 * 6 ** rng.random(2))
    out = plane.blob(rng, centre, (radii[0], radii[1]), uneven=0.25)
    body = (drawing.tissue != Tissue.AIR).any(axis=0)
    angle = np.arctan2(plane.y - np.float32(centre[1]), plane.x - np.float32(centre[0]))
    # Two or four lobes of piled-up signal, as the field of a cylinder has.
    lobes = np.cos(float(rng.choice([2, 4])) * angle + np.float32(rng.uniform(0, 6.3))) > rng.uniform(0, 0.7)
    rim = body & lobes & (out >= 1) & (out < 1 + rng.uniform(1, 5) / min(radii))
    put(drawing, rim, Tissue.PILED_UP)
    put(drawing, body & (out < 1), Tissue.VOID)


def put_fluid(rng: np.random.Generator, drawing: Drawing, voxel_mm: float) -> None:
    """Let fluid lie along fascias, between muscles, or in the septa below the skin, in a part of the limbs."""
    tissue = drawing.tissue
    nodes = rng.standard_normal((3, 5))
    shape = tissue.shape[1:]
    high = ndimage.zoom(nodes, (shape[0] / 3, shape[1] / 5), order=1, mode="nearest", grid_mode=True)
    there = np.zeros(shape, bool)
    there[: high.shape[0], : high.shape[1]] = high[: shape[0], : shape[1]] > np.quantile(high, rng.uniform(0.0, 0.7))
    fascia, septa, between = rng.random(3) < (0.8, 0.5, 0.3)
    if fascia:
        near = ndimage.distance_transform_edt((tissue != Tissue.FASCIA).all(axis=0)) * voxel_mm
        wide = there & (near < rng.uniform(0.5, 4))
        fat = np.isin(tissue, (Tissue.FASCIA, Tissue.SUBCUTANEOUS_FAT, Tissue.INTERMUSCULAR_FAT))
        tissue[fat & wide] = Tissue.FLUID
    if septa:
        tissue[(tissue == Tissue.CONNECTIVE) & (drawing.compartment == 0) & there] = Tissue.FLUID
    if between or not (fascia or septa):
        drawing.oedema[(drawing.tissue == Tissue.MUSCLE) & there] += np.float32(rng.uniform(0.1, 0.7))
