"""Slices of what is neither calf nor thigh, drawn crudely: trunk, head, arm, foot; and images that show nothing.

Shapes are ellipses with organs in them; all that makes an image of them is that of the phantom. They need not be right
for a radiologist: they teach a small network what a leg is not.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.frame import Frame
from musclesense.imaging.nifti import Geometry
from musclesense.phantom.additions import Plane, put, put_arm
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.any_contrast import take_images
from musclesense.phantom.held import NOTHING
from musclesense.phantom.scanner.readout import smooth_field
from musclesense.phantom.scanner.sequences import one_image
from musclesense.phantom.scanner.signal import Drawing
from musclesense.segmentation.place import Place
from musclesense.vocabulary import Channel

Floats = NDArray[np.float32]
Draw = Callable[[np.random.Generator, Drawing, Plane], None]
IMAGING = ("scanner", "sequences", "shading", "noise", "artefacts", "resolution", "surroundings", "muscles")


def draw_other(rng: np.random.Generator, place: Place, frame: Frame) -> Floats:
    """Draw a slice of a place, as a network is given it: (rows, columns)."""
    if place is Place.NOTHING:
        return _nothing(rng, frame)
    width, height, draw = KINDS[place](rng)
    pixel = float(rng.uniform(1.2, 3.0))
    shape = tuple(int(size * rng.uniform(1.02, 1.5) / pixel) for size in (height, width))
    drawing = Drawing(
        tissue=np.zeros((1, *shape), np.uint8),
        muscle_fat=np.full((1, *shape), rng.beta(1, 6), np.float32),
        density=np.ones((1, *shape), np.float32),
        oedema=np.zeros((1, *shape), np.float32),
        compartment=np.zeros((1, *shape), np.uint8),
    )
    plane = Plane.of(drawing, pixel)
    off = rng.normal(0, 0.03, 2) * (width, height)
    draw(rng, drawing, Plane(plane.x - np.float32(off[0]), plane.y - np.float32(off[1])))
    drawing.muscle_fat[drawing.tissue != Tissue.MUSCLE] = 0
    states = dict(zip(IMAGING, rng.spawn(len(IMAGING)), strict=True))
    images, _, pixel = take_images(states, drawing, pixel, NOTHING, one_image)
    return as_given(next(iter(images.values())), pixel, frame)


def as_given(image: Floats, pixel: float, frame: Frame) -> Floats:
    """Lay an image, rows to posterior and columns to the left, as it is laid before a network."""
    rows, columns = image.shape
    geometry = Geometry.from_affine((columns, rows, 1), np.diag([-pixel, -pixel, 5.0, 1.0]))
    return np.asarray(frame.prepare(geometry, {Channel.IMAGE: np.ascontiguousarray(image.T)}).images[0])


def _ellipse(plane: Plane, x: float, y: float, across: float, down: float, turn: float = 0.0) -> Floats:
    """Give how far out voxels lie in an ellipse, below 1 within it."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    u, v = plane.x - np.float32(x), plane.y - np.float32(y)
    return np.asarray(np.hypot((cos * u + sin * v) / np.float32(across), (cos * v - sin * u) / np.float32(down)))


def _shell(
    rng: np.random.Generator, drawing: Drawing, plane: Plane, across: float, down: float, fat_mm: float, wall_mm: float
) -> Floats:
    """Draw skin, fat and a wall of muscle; gives how far out voxels lie in what is within, in mm."""
    angle, power = np.arctan2(plane.y / down, plane.x / across), np.float32(rng.uniform(2.0, 2.8))
    out = (np.abs(plane.x / across) ** power + np.abs(plane.y / down) ** power) ** (1 / power)
    for wave in range(1, 4):
        out = out * (1 + np.float32(rng.normal(0, 0.03)) * np.cos(wave * angle + np.float32(rng.uniform(0, 6.3))))
    depth = (1 - out) * np.float32(min(across, down))
    put(drawing, depth > 0, Tissue.SKIN)
    put(drawing, depth > 1.8, Tissue.SUBCUTANEOUS_FAT)
    put(drawing, depth > 1.8 + fat_mm, Tissue.MUSCLE)
    put(drawing, depth > 1.8 + fat_mm + wall_mm, Tissue.INTERMUSCULAR_FAT)
    return np.asarray(depth - np.float32(1.8 + fat_mm + wall_mm))


def _bone(drawing: Drawing, out: Floats, cortex: float) -> None:
    put(drawing, out < 1, Tissue.CORTEX)
    put(drawing, out < 1 - cortex, Tissue.MARROW)


def _spine(rng: np.random.Generator, drawing: Drawing, plane: Plane, y: float, size: float) -> None:
    """Draw a vertebra with its canal, and the muscles beside it."""
    for side in (-1, 1):
        for x, radius in ((1.1, 1.0), (2.1, 0.8)):
            there = _ellipse(plane, side * x * size, y + 1.5 * size, radius * size, 0.8 * size) < 1
            put(drawing, there, Tissue.MUSCLE)
        if rng.random() < 0.6:  # psoas
            put(drawing, _ellipse(plane, side * 1.6 * size, y, 0.9 * size, 0.9 * size) < 1, Tissue.MUSCLE)
    _bone(drawing, _ellipse(plane, 0, y + 1.6 * size, 0.25 * size, 0.9 * size), 0.4)
    _bone(drawing, _ellipse(plane, 0, y, 1.2 * size, 0.9 * size), 0.12)
    put(drawing, _ellipse(plane, 0, y + 1.1 * size, 0.4 * size, 0.35 * size) < 1, Tissue.FLUID)


def _abdomen(rng: np.random.Generator) -> tuple[float, float, Draw]:
    across, fat = float(rng.uniform(110, 190)), float(rng.lognormal(2.6, 0.6))
    down = across * float(rng.uniform(0.6, 0.85))

    def draw(rng: np.random.Generator, drawing: Drawing, plane: Plane) -> None:
        kind = rng.random()
        within = _shell(rng, drawing, plane, across, down, min(fat, 0.35 * down), rng.uniform(6, 22))
        chest, pelvis = kind < 0.3, kind > 0.85
        inside = within > 0
        organs = (Tissue.ORGAN, Tissue.FLUID, Tissue.VOID, Tissue.ORGAN, Tissue.BLOOD)
        if chest:
            for side in (-1, 1):
                lung = _ellipse(plane, side * 0.42 * across, 0, 0.36 * across, 0.6 * down)
                put(drawing, inside & (lung < 1), Tissue.VOID)
            heart = _ellipse(plane, 0.1 * across, -0.2 * down, 0.32 * across, 0.35 * down, 0.6)
            put(drawing, inside & (heart < 1), Tissue.MUSCLE)
            put(drawing, inside & (heart < rng.uniform(0.4, 0.8)), Tissue.BLOOD)
            for _ in range(10):
                turn = rng.uniform(0, 6.3)
                rib = _ellipse(plane, 0.85 * across * np.cos(turn), 0.82 * down * np.sin(turn), 9, 5, turn + 1.57)
                _bone(drawing, rib, 0.3)
        else:
            for _ in range(int(rng.integers(3, 14))):
                x, y = rng.uniform(-0.6, 0.6) * across, rng.uniform(-0.6, 0.3) * down
                size = rng.uniform(12, 40, 2)
                out = plane.blob(rng, (float(x), float(y)), (float(size[0]), float(size[1])), uneven=0.2)
                put(drawing, inside & (out < 1), Tissue.ORGAN)
                put(drawing, inside & (out < 0.8), organs[int(rng.integers(5))])
            if rng.random() < 0.5:  # liver and spleen
                put(
                    drawing,
                    inside & (_ellipse(plane, -0.45 * across, -0.1 * down, 0.5 * across, 0.6 * down) < 1),
                    Tissue.ORGAN,
                )
                put(
                    drawing,
                    inside & (_ellipse(plane, 0.65 * across, 0.2 * down, 0.2 * across, 0.35 * down) < 1),
                    Tissue.ORGAN,
                )
            for side in (-1, 1):
                kidney = _ellipse(plane, side * 0.45 * across, 0.35 * down, 26, 30)
                if rng.random() < 0.6:
                    put(drawing, inside & (kidney < 1), Tissue.ORGAN)
                if pelvis:
                    wing = _ellipse(
                        plane, side * 0.6 * across, 0.3 * down, 9, 0.45 * down, side * rng.uniform(0.4, 0.9)
                    )
                    put(drawing, (within > -20) & (wing < 3) & (wing > 1), Tissue.MUSCLE)
                    _bone(drawing, wing, 0.25)
        _spine(rng, drawing, plane, 0.45 * down, rng.uniform(15, 24))
        if rng.random() < 0.4:
            for sign in (-1, 1):
                put_arm(rng, drawing, plane, across, sign)

    return 2.4 * across, 2 * down, draw


def _head(rng: np.random.Generator) -> tuple[float, float, Draw]:
    across = float(rng.uniform(60, 85))
    down = across * float(rng.uniform(1.05, 1.35))

    def draw(rng: np.random.Generator, drawing: Drawing, plane: Plane) -> None:
        within = _shell(rng, drawing, plane, across, down, rng.uniform(2, 7), rng.uniform(0.5, 5))
        put(drawing, within > 0, Tissue.CORTEX)
        put(drawing, within > 2, Tissue.MARROW)
        put(drawing, within > 5, Tissue.CORTEX)
        put(drawing, within > 7, Tissue.FLUID)
        folds = smooth_field(rng, drawing.tissue.shape[1:], (14, 14))
        brain = within > 9 + 4 * (folds > np.quantile(folds, 0.7))
        put(drawing, brain, Tissue.ORGAN)
        put(drawing, brain & (within > 14 + 10 * (folds - folds.mean())), Tissue.NERVE)
        if rng.random() < 0.7:
            for side in (-1, 1):
                out = _ellipse(plane, side * 10, rng.uniform(-20, 20), 6, rng.uniform(12, 30), -side * 0.3)
                put(drawing, brain & (out < 1), Tissue.FLUID)
        put(drawing, (np.abs(plane.x) < 1) & (within > 7) & (np.abs(plane.y) > 0.5 * down), Tissue.FLUID)
        if rng.random() < 0.35:  # the face: eyes, sinuses, jaw
            front = plane.y < -0.15 * down + 0 * plane.x
            put(drawing, front & (within > 0), Tissue.INTERMUSCULAR_FAT)
            for side in (-1, 1):
                put(drawing, _ellipse(plane, side * 0.4 * across, -0.6 * down, 12, 12) < 1, Tissue.FLUID)
                put(drawing, _ellipse(plane, side * 0.25 * across, -0.35 * down, 13, 16) < 1, Tissue.VOID)
                put(drawing, _ellipse(plane, side * 0.7 * across, -0.2 * down, 10, 22) < 1, Tissue.MUSCLE)
                _bone(drawing, _ellipse(plane, side * 0.55 * across, -0.3 * down, 5, 20), 0.4)

    return 2 * across, 2 * down, draw


def _arm(rng: np.random.Generator) -> tuple[float, float, Draw]:
    upper = rng.random() < 0.5
    across = float(rng.uniform(28, 48) if upper else rng.uniform(22, 42))
    down = across * float(rng.uniform(0.7, 1.2))
    fat = float(min(rng.lognormal(1.4, 0.6), 0.45 * down))

    def draw(rng: np.random.Generator, drawing: Drawing, plane: Plane) -> None:
        _shell(rng, drawing, plane, across, down, fat, 1e3)
        muscle = drawing.tissue[0] == Tissue.MUSCLE
        turn = rng.uniform(0, 6.3)
        cos, sin = np.cos(turn), np.sin(turn)
        across_mm, along_mm = cos * plane.x + sin * plane.y, cos * plane.y - sin * plane.x
        septum = np.abs(along_mm - 0.004 * across_mm**2) < rng.uniform(0.8, 2)
        put(drawing, muscle & septum, Tissue.INTERMUSCULAR_FAT)
        if upper:
            _bone(drawing, plane.blob(rng, (float(rng.normal(0, 4)), float(rng.normal(0, 4))), (10, 10)), 0.35)
        else:
            apart = rng.uniform(0.3, 0.55) * across
            for side, size in ((-1, rng.uniform(5, 9)), (1, rng.uniform(5, 9))):
                _bone(drawing, _ellipse(plane, side * apart * cos, side * apart * sin, size, size), 0.4)
            if rng.random() < 0.3:  # the wrist: many bones, little muscle
                put(drawing, muscle, Tissue.INTERMUSCULAR_FAT)
                for number in range(4):
                    x = (number - 1.5) * 0.45 * across
                    _bone(drawing, _ellipse(plane, x, rng.normal(0, 4), 0.22 * across, 0.3 * down), 0.2)

    return 2 * across, 2 * down, draw


def _foot(rng: np.random.Generator) -> tuple[float, float, Draw]:
    half, long, both = float(rng.uniform(28, 45)), float(rng.uniform(45, 125)), rng.random() < 0.5
    apart = float(rng.uniform(1.1, 2.2) * half) if both else 0.0

    def draw(rng: np.random.Generator, drawing: Drawing, plane: Plane) -> None:
        for side in (-1, 1) if both else (int(rng.choice([-1, 1])),):
            own = Plane(side * plane.x - np.float32(apart), plane.y + np.float32(rng.normal(0, 8)))
            turn = rng.normal(0.1, 0.2)
            cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
            x, y = own.x * cos + own.y * sin, own.y * cos - own.x * sin
            waist = half * (1 - 0.35 * np.clip((y / long + 0.1), 0, 1))
            out = np.hypot(np.abs(x) / waist, y / long)
            put(drawing, out < 1, Tissue.SKIN)
            put(drawing, out < 1 - 2 / half, Tissue.SUBCUTANEOUS_FAT)
            put(drawing, (out < 0.8) & (y > -0.9 * long), Tissue.MUSCLE)
            rows = int(rng.integers(2, 6))
            for row in range(rows):
                at = long * (0.7 - 1.5 * row / rows)
                bones = 1 if row == 0 else int(rng.integers(1, 6))
                for bone in range(bones):
                    place = (bone - (bones - 1) / 2) * 1.3 * half / bones
                    size = 0.6 * half / bones + 3
                    shape = np.hypot((x - np.float32(place)) / size, (y - np.float32(at)) / (0.75 * long / rows))
                    _bone(drawing, shape, 0.15)

    return 2 * (half + apart) * 1.1, 2 * long * 1.05, draw


KINDS: Mapping[Place, Callable[[np.random.Generator], tuple[float, float, Draw]]] = {
    Place.ABDOMEN: _abdomen,
    Place.HEAD: _head,
    Place.ARM: _arm,
    Place.FOOT: _foot,
}


def _nothing(rng: np.random.Generator, frame: Frame) -> Floats:
    """Draw noise, bottles, a ramp, phase images, or limbs as a scout shows them."""
    pixel = float(rng.uniform(1.2, 3.0))
    shape = (int(rng.uniform(120, 260) / pixel), int(rng.uniform(120, 460) / pixel))
    y, x = ((np.arange(size, dtype=np.float32) - size / 2) * np.float32(pixel) for size in shape)
    y, x = y[:, None], x[None]
    kind, image = int(rng.integers(6)), np.zeros(shape, np.float32)
    if kind == 0:
        image = rng.gamma(rng.uniform(0.5, 4), 1, shape).astype(np.float32)
    elif kind in (1, 2):  # bottles and discs, plain or with a plain core
        for _ in range(int(rng.integers(1, 5))):
            radius = rng.uniform(12, 70)
            at = rng.uniform(-0.35, 0.35, 2) * (shape[1] * pixel, shape[0] * pixel)
            out = np.hypot(x - at[0], y - at[1]) / radius
            image[out < 1] = rng.uniform(0.3, 1)
            if rng.random() < 0.5:
                image[out < rng.uniform(0.3, 0.95)] = rng.uniform(0.1, 1)
    elif kind == 3:  # a phase image
        field = smooth_field(rng, shape, (4, 6)) * rng.uniform(2, 30) + rng.uniform(0, 6.3)
        noise = rng.uniform(0, 2 * np.pi, shape)
        body = np.hypot(x / rng.uniform(40, 150), y / rng.uniform(40, 90)) < 1
        image = np.where(body, field, noise) % np.float32(2 * np.pi)
    elif kind == 4:  # long limbs, along rows or columns
        along, wide = (x, y) if rng.random() < 0.5 else (y, x)
        for middle in rng.uniform(-90, 90, int(rng.integers(1, 3))):
            width = rng.uniform(25, 80) * (1 + 0.3 * np.sin(along / rng.uniform(50, 150) + rng.uniform(0, 6)))
            out = np.abs(wide - np.float32(middle)) / width
            image[np.broadcast_to(out < 1, shape)] = 1.0
            image[np.broadcast_to(out < 0.8, shape)] = rng.uniform(0.2, 0.8)
            image[np.broadcast_to(out < 0.3, shape)] = rng.uniform(0.1, 1)
    else:
        image = smooth_field(rng, shape, (3, 3)) + np.float32(rng.uniform(0, 1))
    image = ndimage.gaussian_filter(np.asarray(image, np.float32), rng.uniform(0.2, 1.2))
    image += rng.normal(0, rng.uniform(0, 0.15), shape).astype(np.float32)
    return as_given(np.abs(image), pixel, frame)
