"""Slices for networks that must meet any scanner: levels, poses and disease widened, contrast and artefacts random.

Domain randomisation (Tobin et al., IROS 2017, doi:10.1109/IROS.2017.8202133; of MRI: Billot et al., Medical Image
Analysis 2023;86:102789): a network that has seen images more varied than any scanner makes takes a real scan for one
more of them. Unlike the latter's, these images come from drawn anatomy and disease, not from patients' label maps.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry
from musclesense.phantom.anatomy.limbs import Body, Limb, child, drawn_range_mm, reach_mm, sample_limbs, sample_poses
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease import CONTROL, PATTERNS, Pattern, sample_infiltration
from musclesense.phantom.scanner.artefacts import blurred, ghosted, noisy, ringing, shading, wrapped
from musclesense.phantom.scanner.exposure import expose, other_greys
from musclesense.phantom.scanner.surroundings import surroundings
from musclesense.phantom.slices import Part, draw_slice, most_common, whole_muscle
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Limbs, Region

INGREDIENTS = (
    *("disease", "levels", "pose", "contrast", "shading", "resolution", "noise", "artefacts"),
    *("bodies", "thickness", "surroundings", "swaps"),
)
"""What can be left out, to measure what it gives.

Without ``disease`` muscle is healthy; without ``levels`` slices lie at mid-level; without ``pose`` both limbs lie whole
and straight in the frame; without ``contrast`` the image is the fat image of a Dixon separation, each tissue as bright
as usual; without ``shading``, ``noise``, ``artefacts`` (ringing, ghosts, wrap), ``surroundings`` (table, pads, cloths)
or ``swaps`` (of fat and water) there is none; without ``resolution`` pixels and blur are those of a good scan; without
``bodies`` all are usual adults with usual vessels; without ``thickness`` slices are thin.
"""

THIN = (3.0, 1)
"""Thickness in mm and points a voxel of a slice that mixes nothing: one keeps drawing fast, and blur softens edges."""
BRIGHTNESS = 400.0
"""Stored value of fat tissue."""


@dataclass(frozen=True, eq=False)
class SyntheticSlice:
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
) -> SyntheticSlice:
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
    if wanted["bodies"]:
        body = _any_body(streams["bodies"], body)
    limbs = sample_limbs(anatomy, body, region)
    if wanted["bodies"]:
        limbs = _any_vessels(streams["bodies"], limbs)
    pattern, severity = _disease(streams["disease"], region) if wanted["disease"] else (CONTROL, 0.0)
    infiltrations = sample_infiltration(anatomy, pattern, severity, region, body.age)
    level = _level(streams["levels"], limbs) if wanted["levels"] else 0.0
    poses = sample_poses(anatomy, limbs, level)
    parts, shown = list(zip(limbs, poses, infiltrations, strict=True)), Limbs.BOTH
    if wanted["pose"]:
        parts, shown = _turned(streams["pose"], parts)
    pixel = _pixel(streams["resolution"]) if wanted["resolution"] else 1.0
    thickness = _thickness(streams["thickness"]) if wanted["thickness"] else THIN
    stack = _frame(streams["frame"], parts, pixel, *thickness)
    parts = _laid(parts, stack, _aside(streams["pose"]) if wanted["pose"] else (0.0, 0.0))
    drawing = draw_slice(stack, parts, 0.0)
    image = expose(
        streams["contrast"],
        drawing,
        voxel_mm=pixel,
        usual=not wanted["contrast"],
        swaps=streams["swaps"] if wanted["swaps"] else None,
    )
    if wanted["surroundings"]:
        image += surroundings(streams["surroundings"], (drawing.tissue == Tissue.AIR).all(axis=0), pixel)
    compartments = most_common(drawing.compartment)
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
        image = other_greys(streams["contrast"], image)
    rows, columns = image.shape
    return SyntheticSlice(
        image=np.float32(BRIGHTNESS) * image,
        mask=whole_muscle(compartments, limbs[0], pixel),
        compartments=compartments,
        geometry=Geometry.from_affine((columns, rows, 1), np.diag([-pixel, -pixel, stack.slice_mm, 1.0])),
        region=region,
        limbs=shown,
    )


def _any_body(rng: np.random.Generator, body: Body) -> Body:
    """Leave four in ten bodies as they are; make the others thin, fat, weak or athletic, a third of these children."""
    kind = rng.random()
    if kind < 0.4:
        return body
    if kind > 0.8:
        body = child(rng, body, float(rng.uniform(5, 18)))
    lean, strong, loose = rng.lognormal(0, (0.45, 0.2, 0.35)).tolist()
    return replace(
        body,
        adiposity=float(np.clip(body.adiposity * lean, 0.15, 3.0)),
        muscularity=float(np.clip(body.muscularity * strong, 0.45, 1.6)),
        septum_mm=float(np.clip(body.septum_mm * loose, 0.08, 0.9)),
    )


def _any_vessels(rng: np.random.Generator, limbs: tuple[Limb, Limb]) -> tuple[Limb, Limb]:
    """Draw how wide the vessels of a subject are."""
    calibre = float(np.clip(rng.lognormal(0.1, 0.3), 0.6, 2.0))
    right, left = (replace(limb, calibre=calibre * float(rng.normal(1, 0.05))) for limb in limbs)
    return right, left


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
    low, high = np.array([drawn_range_mm(limb) for limb in limbs]).T
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


def _pixel(rng: np.random.Generator) -> float:
    """Draw the side of a pixel in mm: as many between 0.7 and 1.0 as between 1.2 and 1.7."""
    return float(0.7 * (1.8 / 0.7) ** rng.random())


def _thickness(rng: np.random.Generator) -> tuple[float, int]:
    """Draw the thickness of the slice in mm, and in how many layers it is drawn: half of all are as good as thin."""
    return (float(rng.uniform(3, 20)), 3) if rng.random() < 0.5 else THIN


def _frame(rng: np.random.Generator, parts: list[Part], pixel: float, slice_mm: float, points: int) -> Stack:
    """Draw a field of view around the limbs, from tight to wide."""
    width = max(x for _, x in _extents(parts)) - min(x for x, _ in _extents(parts))
    height = max(right - left for left, right in _extents(parts))
    return Stack(
        rows=int(height * rng.uniform(1.0, 1.6) / pixel),
        columns=int(width * rng.uniform(1.0, 1.35) / pixel),
        voxel_mm=pixel,
        slices=1,
        slice_mm=slice_mm,
        points=points,
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
