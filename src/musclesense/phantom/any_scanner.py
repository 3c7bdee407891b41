"""Slices for networks that must meet any scanner: levels, poses and disease widened, contrast and artefacts random.

Domain randomisation (Tobin et al., IROS 2017, doi:10.1109/IROS.2017.8202133; of MRI: Billot et al., Medical Image
Analysis 2023;86:102789): a network that has seen images more varied than any scanner makes takes a real scan for one
more of them. Unlike the latter's, these images come from drawn anatomy and disease, not from patients' label maps.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry
from musclesense.phantom.anatomy.limbs import (
    Body,
    LimbAnatomy,
    Pose,
    child,
    drawn_range_mm,
    reach_mm,
    sample_limbs,
    sample_poses,
)
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease.infiltration import sample_infiltration
from musclesense.phantom.disease.patterns import PATTERNS, Pattern
from musclesense.phantom.scanner.artefacts import blurred, ghosted, noisy, ringing, shading, wrapped
from musclesense.phantom.scanner.contrast import brightness, other_greys
from musclesense.phantom.scanner.signal import Drawing
from musclesense.phantom.scanner.surroundings import surroundings
from musclesense.phantom.slices import PlacedLimb, draw_slice, most_common, whole_muscle
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

DISEASES = ("control", "IBM", "CMT", "ALS", "KD", "HYPOPP", "DMD")
"""Of ``disease.patterns.PATTERNS``, those that are drawn; with another one, slices are of another version."""
MASK_VALUES = (1,)
THIN = (3.0, 1)
"""Thickness in mm and points a voxel of a slice that mixes nothing: one keeps drawing fast, and blur softens edges."""
BRIGHTNESS = 400.0
"""Stored value of fat tissue."""


@dataclass(frozen=True, eq=False)
class SyntheticSlice:
    """A slice with its truth, in radiological display order: arrays (rows, columns)."""

    image: Floats  # float32, 0 and above; fat is bright
    mask: NDArray[np.uint8]  # whole muscle, as in the paper, 0 or 1
    compartments: NDArray[np.uint8]  # values of `templates.compartment_values`
    geometry: Geometry  # of a volume that holds this slice alone, its axes to the left and to posterior
    region: Region
    limbs: Limbs
    others: Mapping[str, Floats] = field(default_factory=dict)
    """Further images of the slice, by channel."""

    @staticmethod
    def stored(display: NDArray[Any]) -> NDArray[Any]:
        """Give a slice in the order in which `geometry` stores it, as `imaging.grid.take_slice` would."""
        return np.ascontiguousarray(display.T)


def synthetic_slice(
    rng: np.random.Generator, *, regions: Collection[Region] = tuple(Region), without: Collection[str] = ()
) -> SyntheticSlice:
    """Draw a subject, lay it in some scanner and take one slice; the same random state gives the same one.

    >>> one = synthetic_slice(np.random.default_rng(0), regions=[Region.CALF])
    >>> one.region, one.image.shape == one.mask.shape
    (<Region.CALF: 'calf'>, True)

    The region is one of ``regions``; ``without`` names some of `INGREDIENTS` to leave out.

    Raises:
        InputError: An ingredient is unknown.
    """
    unknown = [name for name in without if name not in INGREDIENTS]
    if unknown:
        raise InputError(f"ingredient {unknown[0]!r} is unknown; leave out some of {', '.join(INGREDIENTS)}")
    states = _spawn_states(rng, without)
    region = sorted(regions)[int(states["anatomy"].integers(len(regions)))]
    limbs, shown = _sample_subject(states, region)
    limbs, stack = _sample_frame(states, limbs)
    drawing = draw_slice(stack, limbs, 0.0)
    image, compartments = _take_image(states, drawing, stack.voxel_mm)
    rows, columns = image.shape
    pixel = stack.voxel_mm
    return SyntheticSlice(
        image=np.float32(BRIGHTNESS) * image,
        mask=whole_muscle(compartments, region, pixel),
        compartments=compartments,
        geometry=Geometry.from_affine((columns, rows, 1), np.diag([-pixel, -pixel, stack.slice_mm, 1.0])),
        region=region,
        limbs=shown,
    )


_States = Mapping[str, np.random.Generator]
"""By ingredient, without those left out; beside them ``anatomy``, ``frame`` and ``brightness``, which never are."""


def _spawn_states(rng: np.random.Generator, without: Collection[str]) -> _States:
    """Give each ingredient a random state of its own, so that leaving one out leaves the others as they are."""
    names = ("anatomy", "frame", *INGREDIENTS)
    states = dict(zip(names, rng.spawn(len(names)), strict=True))
    states["brightness"] = states["contrast"]
    return {name: state for name, state in states.items() if name not in without}


def _sample_subject(states: _States, region: Region) -> tuple[list[PlacedLimb], Limbs]:
    """Draw the limbs of a subject, their disease and how they lie; and which of them are scanned."""
    anatomy = states["anatomy"]
    body = Body.sample(anatomy)
    if bodies := states.get("bodies"):
        body = _vary_body(bodies, body)
    limbs = sample_limbs(anatomy, body, region)
    if bodies:
        limbs = _vary_vessels(bodies, limbs)
    disease, levels, turns = (states.get(name) for name in ("disease", "levels", "pose"))
    pattern, severity = sample_disease(disease, region) if disease else (PATTERNS["control"], 0.0)
    infiltrations = sample_infiltration(anatomy, pattern, severity, region, body.age)
    low, high = np.array([drawn_range_mm(limb) for limb in limbs]).T
    poses = sample_poses(anatomy, limbs, float(levels.uniform(low.max(), high.min())) if levels else 0.0)
    placed = [PlacedLimb(*limb) for limb in zip(limbs, poses, infiltrations, strict=True)]
    return _turn_limbs(turns, placed) if turns else (placed, Limbs.BOTH)


def _take_image(states: _States, drawing: Drawing, pixel: float) -> tuple[Floats, NDArray[np.uint8]]:
    """Turn a drawing into an image of some scanner, 1 for fat tissue, and its compartments."""
    image = brightness(
        states["brightness"],
        drawing,
        voxel_mm=pixel,
        usual="contrast" not in states,
        swaps=states.get("swaps"),
    )
    if rng := states.get("surroundings"):
        image += surroundings(rng, (drawing.tissue == Tissue.AIR).all(axis=0), pixel)
    compartments = most_common(drawing.compartment)
    # The standard deviation of the point spread, along rows and columns.
    blur_mm = rng.uniform(0.3, 1.0) * rng.uniform(0.8, 1.6, 2) if (rng := states.get("resolution")) else (0.5, 0.5)
    image = blurred(image, (blur_mm[0] / pixel, blur_mm[1] / pixel))
    if rng := states.get("artefacts"):
        image, compartments = _add_artefacts(rng, image, compartments)
    if rng := states.get("shading"):
        # As coils and transmit field do, from evened out to as received.
        strength, blotches, gaps = float(rng.uniform(0, 1.2)), float(rng.uniform(0, 0.4)), int(rng.integers(3))
        image = image * shading(rng, image.shape, strength=strength, blotches=blotches, gaps=gaps)
    if rng := states.get("noise"):
        image = noisy(rng, image, float(np.percentile(image, 95) * rng.uniform(0.003, 0.05)))
    if rng := states.get("contrast"):
        image = other_greys(rng, image)
    return image, compartments


def _vary_body(rng: np.random.Generator, body: Body) -> Body:
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


def _vary_vessels(rng: np.random.Generator, limbs: tuple[LimbAnatomy, LimbAnatomy]) -> tuple[LimbAnatomy, LimbAnatomy]:
    """Draw how wide the vessels of a subject are."""
    calibre = float(np.clip(rng.lognormal(0.1, 0.3), 0.6, 2.0))
    right, left = (replace(limb, calibre=calibre * float(rng.normal(1, 0.05))) for limb in limbs)
    return right, left


def sample_disease(rng: np.random.Generator, region: Region) -> tuple[Pattern, float]:
    """Draw a disease and how far it has come: a third healthy, a third known, a third that takes any muscle."""
    kind = int(rng.integers(3))
    if kind == 0:
        return PATTERNS["control"], float(rng.uniform(0.0, 0.5))
    if kind == 1:
        pattern = PATTERNS[DISEASES[int(rng.integers(len(DISEASES)))]]
    else:
        muscles = TEMPLATES[region].muscles
        # Most muscles are taken wholly or hardly at all.
        involvement = dict(zip(muscles, rng.beta(0.6, 0.6, len(muscles)).tolist(), strict=True))
        pattern = Pattern(involvement=involvement, others=0.3, asymmetry=0.3, wasting_mm=float(rng.uniform(0.5, 4.0)))
    patchiness, streakiness = rng.uniform(0.3, 2.0, 2).tolist()
    return replace(pattern, patchiness=patchiness, streakiness=streakiness), float(rng.uniform(0.1, 1.0))


def _turn_limbs(rng: np.random.Generator, limbs: list[PlacedLimb]) -> tuple[list[PlacedLimb], Limbs]:
    """Turn the limbs further than at a usual session; now and then one of them is scanned alone."""
    turned = [
        limb._replace(pose=replace(limb.pose, rotation=limb.pose.rotation + float(rng.normal(0, 0.15))))
        for limb in limbs
    ]
    return scanned_limbs(rng, turned, both=0.7)


def scanned_limbs(rng: np.random.Generator, limbs: list[PlacedLimb], *, both: float) -> tuple[list[PlacedLimb], Limbs]:
    """Scan both limbs with the probability ``both``, else one of them alone."""
    if rng.random() < both:
        return limbs, Limbs.BOTH
    limb = limbs[int(rng.integers(2))]
    # Nothing presses against a limb that lies alone.
    return [limb._replace(pose=replace(limb.pose, contact_mm=None))], Limbs(limb.anatomy.side)


def _sample_frame(states: _States, limbs: list[PlacedLimb]) -> tuple[list[PlacedLimb], Stack]:
    """Draw a field of view around the limbs, from tight to wide, and move the limbs into it."""
    resolution, thickness, pose = (states.get(name) for name in ("resolution", "thickness", "pose"))
    # As many pixels between 0.7 and 1.0 mm as between 1.2 and 1.7; half of all slices are as good as thin.
    pixel = float(0.7 * (1.8 / 0.7) ** resolution.random()) if resolution else 1.0
    slice_mm, points = (float(thickness.uniform(3, 20)), 3) if thickness and thickness.random() < 0.5 else THIN
    (width, height), frame = span_mm(limbs), states["frame"]
    stack = Stack(
        rows=int(height * frame.uniform(1.0, 1.6) / pixel),
        columns=int(width * frame.uniform(1.0, 1.35) / pixel),
        voxel_mm=pixel,
        slices=1,
        slice_mm=slice_mm,
        points=points,
    )
    return centre_limbs(pose, limbs, stack), stack


def centre_limbs(rng: np.random.Generator | None, limbs: list[PlacedLimb], stack: Stack) -> list[PlacedLimb]:
    """Move the limbs to the middle of the frame, or off it so that a part of them may lie outside."""
    off = (0.02 if rng.random() < 0.8 else 0.12) * rng.normal(0, 1, 2) if rng else np.zeros(2)
    across = float(np.mean(extents_mm(limbs)) + off[0] * stack.voxel_mm * stack.columns)
    down = float(np.mean([limb.pose.centre_mm[1] for limb in limbs]) + off[1] * stack.voxel_mm * stack.rows)

    def moved(pose: Pose) -> Pose:
        centre = (pose.centre_mm[0] - across, pose.centre_mm[1] - down)
        return replace(pose, centre_mm=centre, contact_mm=None if pose.contact_mm is None else pose.contact_mm - across)

    return [limb._replace(pose=moved(limb.pose)) for limb in limbs]


def span_mm(limbs: list[PlacedLimb]) -> tuple[float, float]:
    """Give the width and the height of what limbs reach over, in mm."""
    extents = extents_mm(limbs)
    width = max(end for _, end in extents) - min(start for start, _ in extents)
    return width, max(end - start for start, end in extents)


def extents_mm(limbs: list[PlacedLimb]) -> list[tuple[float, float]]:
    """Give where each limb begins and ends from right to left, in mm; its reach is beyond all of it."""
    reaches = [(limb.pose.centre_mm[0], 0.8 * reach_mm(limb.anatomy, limb.pose.level_mm)) for limb in limbs]
    return [(centre - reach, centre + reach) for centre, reach in reaches]


def _add_artefacts(
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
