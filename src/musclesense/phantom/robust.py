"""Slices for networks that must meet any scanner: levels, poses and disease widened, contrast and artefacts random.

Domain randomisation (Tobin et al., IROS 2017, doi:10.1109/IROS.2017.8202133; of MRI: Billot et al., Medical Image
Analysis 2023;86:102789): a network that has seen images more varied than any scanner makes takes a real scan for one
more of them. Unlike the latter's, these images come from drawn anatomy and disease, not from patients' label maps.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.table import Limbs, Region
from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry
from musclesense.phantom.anatomy import Body, Limb, Tissue, level_range_mm, reach_mm, sample_limbs, sample_poses
from musclesense.phantom.artefacts import blurred, ghosted, noisy, ringing, shading, wrapped
from musclesense.phantom.disease import CONTROL, PATTERNS, Pattern, sample_infiltration
from musclesense.phantom.presets import Stack
from musclesense.phantom.signal import Drawing
from musclesense.phantom.slices import Part, draw_slice, most_common, whole_muscle
from musclesense.phantom.templates import TEMPLATES
from musclesense.phantom.texture import Floats

INGREDIENTS = ("disease", "levels", "pose", "contrast", "shading", "resolution", "noise", "artefacts")
"""What can be left out, to measure what it gives.

Without ``disease`` muscle is healthy; without ``levels`` slices lie at mid-level; without ``pose`` both limbs lie whole
and straight in the frame; without ``contrast`` the image is the fat image of a Dixon separation, each tissue as bright
as usual; without ``shading``, ``noise`` or ``artefacts`` (ringing, ghosts, wrap) there is none; without ``resolution``
pixels and blur are those of a good scan.
"""

BRIGHTNESS = 400.0
"""Stored value of fat tissue."""


class Contrast(StrEnum):
    """Images in which fat is bright."""

    FAT = "fat"
    T1 = "t1"
    PROTON_DENSITY = "pd"


@dataclass(frozen=True, eq=False)
class RobustSlice:
    """A slice with its truth, in radiological display order: arrays (rows, columns).

    Attributes:
        image: Float32, 0 and above; fat is bright.
        mask: Whole muscle, as in the paper, 0 or 1.
        compartments: Values of `templates.compartment_values`.
        geometry: Of a volume that holds this slice alone, its axes to the left and to posterior.
        region: Thigh or calf.
        limbs: Which limbs were laid in the frame.
    """

    image: Floats
    mask: NDArray[np.uint8]
    compartments: NDArray[np.uint8]
    geometry: Geometry
    region: Region
    limbs: Limbs

    @staticmethod
    def stored(display: NDArray[Any]) -> NDArray[Any]:
        """Give a slice in the order in which `geometry` stores it, as `imaging.grid.take_slice` would."""
        return np.ascontiguousarray(display.T)


def draw(
    rng: np.random.Generator, *, regions: Collection[Region] = tuple(Region), without: Collection[str] = ()
) -> RobustSlice:
    """Draw a subject, lay it in some scanner and take one slice.

    Args:
        rng: Random state; the same gives the same slice.
        regions: Regions to draw from.
        without: Some of `INGREDIENTS` to leave out.

    Raises:
        InputError: An ingredient is unknown.
    """
    unknown = [name for name in without if name not in INGREDIENTS]
    if unknown:
        raise InputError(f"ingredient {unknown[0]!r} is unknown; leave out some of {', '.join(INGREDIENTS)}")
    # A stream for each, so that leaving one out leaves the others as they are.
    streams = dict(zip(("anatomy", "frame", *INGREDIENTS), rng.spawn(2 + len(INGREDIENTS)), strict=True))
    anatomy, wanted = streams["anatomy"], {name: name not in without for name in INGREDIENTS}
    region = sorted(regions)[int(anatomy.integers(len(regions)))]
    body = Body.sample(anatomy)
    limbs = sample_limbs(anatomy, body, region)
    pattern, severity = _disease(streams["disease"], region) if wanted["disease"] else (CONTROL, 0.0)
    infiltrations = sample_infiltration(anatomy, pattern, severity, region, body.age)
    level = _level(streams["levels"], limbs) if wanted["levels"] else 0.0
    poses = sample_poses(anatomy, limbs, level)
    parts, shown = list(zip(limbs, poses, infiltrations, strict=True)), Limbs.BOTH
    if wanted["pose"]:
        parts, shown = _turned(streams["pose"], parts)
    stack = _frame(streams["frame"], parts, fine=not wanted["resolution"])
    parts = _laid(parts, stack, _aside(streams["pose"]) if wanted["pose"] else (0.0, 0.0))
    drawing = draw_slice(stack, parts, 0.0)
    image = _expose(streams["contrast"], drawing, usual=not wanted["contrast"])
    compartments = most_common(drawing.compartment)
    pixel = stack.voxel_mm
    blur = _blur(streams["resolution"]) if wanted["resolution"] else (0.5, 0.5)
    image = blurred(image, (blur[0] / pixel, blur[1] / pixel))
    if wanted["artefacts"]:
        image, compartments = _with_artefacts(streams["artefacts"], image, compartments)
    if wanted["shading"]:
        image = _shaded(streams["shading"], image)
    if wanted["noise"]:
        sigma = np.percentile(image, 95) * streams["noise"].uniform(0.003, 0.05)
        image = noisy(streams["noise"], image, float(sigma))
    if wanted["contrast"]:
        image = _other_greys(streams["contrast"], image)
    rows, columns = image.shape
    return RobustSlice(
        image=np.float32(BRIGHTNESS) * image,
        mask=whole_muscle(compartments, limbs[0], pixel),
        compartments=compartments,
        geometry=Geometry.from_affine((columns, rows, 1), np.diag([-pixel, -pixel, stack.slice_mm, 1.0])),
        region=region,
        limbs=shown,
    )


def _disease(rng: np.random.Generator, region: Region) -> tuple[Pattern, float]:
    """Draw a disease and how far it has come: a third healthy, a third known, a third that takes any muscle."""
    kind = int(rng.integers(3))
    if kind == 0:
        return CONTROL, float(rng.uniform(0.0, 0.5))
    if kind == 1:
        pattern = PATTERNS[list(PATTERNS)[int(rng.integers(len(PATTERNS)))]]
    else:
        muscles = TEMPLATES[region].muscles
        # Most muscles are taken wholly or hardly at all.
        involvement = dict(zip(muscles, rng.beta(0.6, 0.6, len(muscles)).tolist(), strict=True))
        pattern = Pattern(involvement=involvement, others=0.3, asymmetry=0.3, wasting_mm=float(rng.uniform(0.5, 4.0)))
    patchiness, streakiness = rng.uniform(0.3, 2.0, 2).tolist()
    return replace(pattern, patchiness=patchiness, streakiness=streakiness), float(rng.uniform(0.1, 1.0))


def _level(rng: np.random.Generator, limbs: tuple[Limb, Limb]) -> float:
    """Draw where along the limbs the slice lies."""
    low, high = np.array([level_range_mm(limb) for limb in limbs]).T
    return float(rng.uniform(low.max(), high.min()))


def _turned(rng: np.random.Generator, parts: list[Part]) -> tuple[list[Part], Limbs]:
    """Turn the limbs further than at a usual session; now and then one of them is scanned alone."""
    turned = [
        (limb, replace(pose, rotation=pose.rotation + float(rng.normal(0, 0.15))), infiltration)
        for limb, pose, infiltration in parts
    ]
    if rng.random() < 0.7:
        return turned, Limbs.BOTH
    limb, pose, infiltration = turned[int(rng.integers(2))]
    # Nothing presses against a limb that lies alone.
    return [(limb, replace(pose, contact_mm=None), infiltration)], limb.side


def _aside(rng: np.random.Generator) -> tuple[float, float]:
    """Draw how far the limbs lie from the middle of the frame, as parts of its width and height."""
    spread = 0.02 if rng.random() < 0.8 else 0.12
    across, down = (spread * rng.normal(0, 1, 2)).tolist()
    return across, down


def _frame(rng: np.random.Generator, parts: list[Part], *, fine: bool) -> Stack:
    """Draw a field of view around the limbs, from tight to wide, in pixels fine or coarse."""
    width = max(x for _, x in _extents(parts)) - min(x for x, _ in _extents(parts))
    height = max(right - left for left, right in _extents(parts))
    pixel = 1.0 if fine else float(rng.uniform(0.9, 1.3))
    return Stack(
        rows=int(height * rng.uniform(1.0, 1.6) / pixel),
        columns=int(width * rng.uniform(1.0, 1.35) / pixel),
        voxel_mm=pixel,
        slices=1,
        points=1,  # one point a pixel keeps drawing fast; the blur that follows softens its edges
    )


def _laid(parts: list[Part], stack: Stack, aside: tuple[float, float]) -> list[Part]:
    """Bring the limbs to the middle of the frame, or to one side so that a part of them lies outside."""
    across = float(np.mean(_extents(parts))) + aside[0] * stack.voxel_mm * stack.columns
    down = float(np.mean([pose.centre_mm[1] for _, pose, _ in parts])) + aside[1] * stack.voxel_mm * stack.rows
    return [
        (
            limb,
            replace(
                pose,
                centre_mm=(pose.centre_mm[0] - across, pose.centre_mm[1] - down),
                contact_mm=None if pose.contact_mm is None else pose.contact_mm - across,
            ),
            infiltration,
        )
        for limb, pose, infiltration in parts
    ]


def _extents(parts: list[Part]) -> list[tuple[float, float]]:
    """Give where each limb begins and ends from right to left, in mm; its reach is beyond all of it."""
    reaches = [0.8 * reach_mm(limb, pose.level_mm) for limb, pose, _ in parts]
    return [
        (pose.centre_mm[0] - reach, pose.centre_mm[0] + reach)
        for (_, pose, _), reach in zip(parts, reaches, strict=True)
    ]


# Signal of water and of fat in images of the density of either, relative to that of healthy muscle and of fat tissue.
_TISSUES = {
    Tissue.AIR: (0.0, 0.0),
    Tissue.SKIN: (0.5, 0.10),
    Tissue.SUBCUTANEOUS_FAT: (0.1, 1.0),
    Tissue.CONNECTIVE: (0.25, 0.7),
    Tissue.FASCIA: (0.3, 0.35),
    Tissue.INTERMUSCULAR_FAT: (0.12, 0.92),
    Tissue.MUSCLE: (1.0, 1.0),
    Tissue.CORTEX: (0.03, 0.02),
    Tissue.MARROW: (0.08, 1.0),
    Tissue.BLOOD: (1.0, 0.03),
    Tissue.NERVE: (0.5, 0.35),
}
_WATER, _FAT = np.array([_TISSUES[tissue] for tissue in Tissue], np.float32).T
_WATER_SHOWN = {Contrast.FAT: (0.0, 0.06), Contrast.T1: (0.18, 0.45), Contrast.PROTON_DENSITY: (0.4, 0.7)}


def _expose(rng: np.random.Generator, drawing: Drawing, *, usual: bool) -> Floats:
    """Turn a drawing into brightness, 1 for fat tissue, averaged over the points of each voxel."""
    water, fat, contrast = _WATER.copy(), _FAT.copy(), Contrast.FAT
    if not usual:
        contrast = (Contrast.FAT, Contrast.T1, Contrast.PROTON_DENSITY)[int(rng.choice(3, p=(0.65, 0.22, 0.13)))]
        off = rng.lognormal(0, 0.1, (2, len(Tissue))).astype(np.float32)
        water, fat = water * off[0], fat * off[1]
        fat[Tissue.SKIN] *= np.float32(rng.uniform(0, 4))  # from not seen at all to a bright rim
        water[Tissue.BLOOD] *= np.float32(rng.choice([0.1, 1.0, 1.6]))  # flow empties or refreshes a slice
    share = np.where(drawing.tissue == Tissue.MUSCLE, drawing.muscle_fat, 1)
    left = np.where(drawing.tissue == Tissue.MUSCLE, 1 - drawing.muscle_fat, 1)
    shown = np.float32(rng.uniform(*_WATER_SHOWN[contrast]))
    signal = drawing.density * (fat[drawing.tissue] * share + shown * water[drawing.tissue] * left)
    return np.asarray(signal.mean(axis=0), np.float32)


def _blur(rng: np.random.Generator) -> tuple[float, float]:
    """Draw the standard deviation of the point spread in mm, along rows and columns."""
    down, across = (rng.uniform(0.3, 1.0) * rng.uniform(0.8, 1.6, 2)).tolist()
    return down, across


def _with_artefacts(
    rng: np.random.Generator, image: Floats, compartments: NDArray[np.uint8]
) -> tuple[Floats, NDArray[np.uint8]]:
    """Add, each now and then, wrap (which narrows the frame), ringing and ghosts."""
    axis = int(rng.integers(2))
    if rng.random() < 0.08:
        overlap = max(2, int(rng.uniform(0.02, 0.12) * image.shape[axis]))
        image = wrapped(image, axis=axis, overlap=overlap)
        compartments = np.moveaxis(np.moveaxis(compartments, axis, 0)[overlap:-overlap], 0, axis)
    if rng.random() < 0.3:
        image = ringing(image, (float(rng.uniform(0.55, 0.95)), float(rng.uniform(0.55, 0.95))))
    if rng.random() < 0.3:
        shift = int(rng.uniform(0.1, 0.5) * image.shape[axis])
        image = ghosted(image, axis=axis, shift=shift, strength=float(rng.uniform(0.005, 0.05)))
    return image, compartments


def _shaded(rng: np.random.Generator, image: Floats) -> Floats:
    """Shade as coils and transmit field do, from evened out to as received."""
    strength, blotches, gaps = float(rng.uniform(0, 1.2)), float(rng.uniform(0, 0.4)), int(rng.integers(3))
    return image * shading(rng, image.shape, strength=strength, blotches=blotches, gaps=gaps)


def _other_greys(rng: np.random.Generator, image: Floats) -> Floats:
    """Bend the scale of grey, as a scanner's own processing may."""
    bright = np.float32(np.percentile(image, 99) + 1e-6)
    return np.asarray(bright * (image / bright) ** np.float32(np.exp(rng.normal(0, 0.18))), np.float32)
