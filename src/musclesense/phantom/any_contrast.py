"""Slices of any contrast, for networks that take one image of a limb, whichever it is.

As `any_scanner`, with wider bodies, sequences by the signal equation and any brightness beyond it, pixels of 0.3 to
3 mm, slices of 1 to 25 mm, surface coils, corrected shading, masked and cropped images.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry
from musclesense.phantom.anatomy.builds import Drawn, sample_build
from musclesense.phantom.anatomy.limbs import Body, Packing, drawn_range_mm, sample_limbs, sample_poses
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.anatomy.templates import LEFT_OFFSET
from musclesense.phantom.any_scanner import SyntheticSlice, centre_limbs, sample_disease, scanned_limbs, span_mm
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease.infiltration import sample_infiltration
from musclesense.phantom.disease.patterns import PATTERNS, Pattern
from musclesense.phantom.held import NOTHING, Held
from musclesense.phantom.scanner.artefacts import wrapped
from musclesense.phantom.scanner.contrast import other_greys
from musclesense.phantom.scanner.readout import Readout, coil_gain, smooth_field, warped
from musclesense.phantom.scanner.sequences import Sequence, Tissues, Weights, sample_weights, water_and_fat_shown
from musclesense.phantom.scanner.signal import Drawing
from musclesense.phantom.scanner.surroundings import surroundings
from musclesense.phantom.slices import PlacedLimb, draw_slice, every_muscle, most_common
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Limbs, Region

INGREDIENTS = (
    *("bodies", "disease", "levels", "pose", "sequences", "muscles", "resolution", "thickness"),
    *("shading", "noise", "artefacts", "surroundings", "swaps", "cropping"),
)
"""What can be left out, to measure what it gives.

Without ``bodies`` all are usual adults; without ``disease`` muscle is healthy; without ``levels`` slices lie at
mid-level; without ``pose`` both limbs lie whole and straight in the frame; without ``sequences`` it is the fat image of
a Dixon separation; without ``muscles`` all muscles are alike; without ``resolution`` pixels are of 1 mm; without
``thickness`` slices are thin; without ``cropping`` images are neither cut nor masked. The others are as in
`any_scanner.INGREDIENTS`.
"""
MASK_VALUES = (1, 2)
"""Muscles of the paper's mask, and the others."""
BRIGHTNESS = 400.0
"""Stored value of the 98th percentile."""
FINEST_MM = 0.75
"""Pixels that are drawn; finer ones are interpolated, as scanners do: the network's grid is coarser than either."""
MOST_PIXELS = 400_000
"""Of an interpolated image."""
SWAPPED = 0.1
"""Share of the images of a Dixon separation in which fat and water are swapped somewhere."""
CROPPED = 0.17
"""Share of the images that are cut around a part of the limb."""
END_STAGE = 0.06
"""Share of the subjects whose muscles are all gone."""

_States = Mapping[str, np.random.Generator]


def synthetic_slice(
    rng: np.random.Generator,
    *,
    regions: Collection[Region] = tuple(Region),
    without: Collection[str] = (),
    held: Held = NOTHING,
) -> SyntheticSlice:
    """Draw a subject, an image of some sequence, and one slice; the same random state gives the same one.

    The mask holds 1 in the muscles of the paper's mask and 2 in the others; narrow gaps are filled. What is ``held`` is
    not drawn.

    >>> one = synthetic_slice(np.random.default_rng(0), regions=[Region.CALF])
    >>> one.region, one.image.shape == one.mask.shape
    (<Region.CALF: 'calf'>, True)

    Raises:
        InputError: An ingredient is unknown.
    """
    unknown = [name for name in without if name not in INGREDIENTS]
    if unknown:
        raise InputError(f"ingredient {unknown[0]!r} is unknown; leave out some of {', '.join(INGREDIENTS)}")
    names = ("anatomy", "frame", "scanner", *INGREDIENTS)
    states = {name: own for name, own in zip(names, rng.spawn(len(names)), strict=True) if name not in without}
    region = sorted(regions)[int(states["anatomy"].integers(len(regions)))]
    limbs, shown = _sample_subject(states, region, held)
    limbs, stack = _sample_frame(states, limbs, held)
    image, compartments, pixel = _take_image(states, draw_slice(stack, limbs, 0.0), stack.voxel_mm, held)
    rows, columns = image.shape
    return SyntheticSlice(
        image=image,
        mask=every_muscle(compartments, region, pixel),
        compartments=compartments,
        geometry=Geometry.from_affine((columns, rows, 1), np.diag([-pixel, -pixel, stack.slice_mm, 1.0])),
        region=region,
        limbs=_seen(shown, compartments),
    )


def _seen(shown: Limbs, compartments: NDArray[np.uint8]) -> Limbs:
    """Give the limbs that are left in a cut image: one where the muscles are of one side."""
    muscle = compartments[compartments > 0]
    sides = [
        side for side, there in ((Limbs.RIGHT, muscle < LEFT_OFFSET), (Limbs.LEFT, muscle > LEFT_OFFSET)) if there.any()
    ]
    return sides[0] if len(sides) == 1 else shown


def _sample_subject(states: _States, region: Region, held: Held = NOTHING) -> tuple[list[PlacedLimb], Limbs]:
    """Draw the limbs of a subject, their disease and how they lie; and which of them are scanned."""
    anatomy = states["anatomy"]
    body = Body.sample(anatomy)
    drawn = sample_build(bodies, body, held.build) if (bodies := states.get("bodies")) else Drawn(body, Packing(), 1.0)
    body = drawn.body
    right, left = sample_limbs(anatomy, body, region)
    own: dict[str, Any] = {"packing": drawn.packing, "calibre": drawn.calibre}
    limbs = replace(right, **own), replace(left, **own)
    disease, levels, turns = (states.get(name) for name in ("disease", "levels", "pose"))
    pattern, severity = _sample_disease(disease, region) if disease else (PATTERNS["control"], 0.0)
    pattern, severity = held.disease or (pattern, severity)
    infiltrations = sample_infiltration(anatomy, pattern, severity, region, body.age)
    low, high = np.array([drawn_range_mm(limb) for limb in limbs]).T
    level = float(levels.uniform(low.max(), high.min())) if levels else 0.0
    if held.level is not None:
        level = float(low.max() + held.level * (high.min() - low.max()))
    poses = sample_poses(anatomy, limbs, level)
    placed = [PlacedLimb(*limb) for limb in zip(limbs, poses, infiltrations, strict=True)]
    return _turn_limbs(turns, placed) if turns else (placed, Limbs.BOTH)


def _sample_disease(rng: np.random.Generator, region: Region) -> tuple[Pattern, float]:
    """Draw a disease and how far it has come, to the end of all muscles."""
    if rng.random() < END_STAGE:
        gone = Pattern(involvement={}, others=1.0, scatter=0.03, wasting_mm=float(rng.uniform(0.5, 6)))
        return gone, float(rng.uniform(0.8, 1.0))
    return sample_disease(rng, region)


def _turn_limbs(rng: np.random.Generator, limbs: list[PlacedLimb]) -> tuple[list[PlacedLimb], Limbs]:
    """Turn the limbs any way a patient may lie; nearly as often as both, one of them is scanned alone."""
    common = rng.normal(0, 0.3) if rng.random() < 0.3 else 0.0
    turned = [
        limb._replace(pose=replace(limb.pose, rotation=limb.pose.rotation + float(common + rng.normal(0, 0.2))))
        for limb in limbs
    ]
    return scanned_limbs(rng, turned, both=0.55)


def _sample_frame(states: _States, limbs: list[PlacedLimb], held: Held = NOTHING) -> tuple[list[PlacedLimb], Stack]:
    """Draw a field of view around the limbs, from tight to wide, and move the limbs into it."""
    resolution, thickness, pose, frame = (states.get(name) for name in ("resolution", "thickness", "pose", "frame"))
    assert frame is not None
    pixel = float(FINEST_MM * (3.0 / FINEST_MM) ** (resolution.random() ** 1.4)) if resolution else 1.0
    slice_mm = float(1.0 * 25 ** thickness.random()) if thickness else 3.0
    pixel, slice_mm = held.pixel_mm or pixel, held.slice_mm or slice_mm
    # A coarse voxel mixes more of what lies in it.
    points = 1 + int(pixel > 1.1) + int(pixel > 2) + int(slice_mm > 6) + int(slice_mm > 14)
    width, height = span_mm(limbs)
    wide = frame.random() < 0.1
    stack = Stack(
        rows=max(16, int(height * frame.uniform(1.0, 2.2 if wide else 1.4) / pixel)),
        columns=max(16, int(width * frame.uniform(1.0, 1.8 if wide else 1.3) / pixel)),
        voxel_mm=pixel,
        slices=1,
        slice_mm=slice_mm,
        points=points,
    )
    return centre_limbs(pose, limbs, stack), stack


def _take_image(
    states: _States, drawing: Drawing, pixel: float, held: Held = NOTHING
) -> tuple[Floats, NDArray[np.uint8], float]:
    """Turn a drawing into an image of some sequence, its compartments, and the size of its pixels in mm."""
    scanner, sequences, cropping = states["scanner"], states.get("sequences"), states.get("cropping")
    tissues = Tissues.sample(sequences or scanner)
    sequence = held.sequence or (None if sequences else Sequence.DIXON_FAT)
    weights = sample_weights(sequences or scanner, tissues, sequence)
    air = (drawing.tissue == Tissue.AIR).all(axis=0)
    water, fat = _water_and_fat(states, drawing, tissues, weights)
    if rng := states.get("surroundings"):
        water += np.float32(_brightest(tissues, weights)) * surroundings(rng, air, pixel)
    gain = coil_gain(shade, ~air, pixel) if (shade := states.get("shading")) else None
    if gain is not None and held.shading != 1:
        gain = gain ** np.float32(held.shading)
    readout = Readout.sample(scanner, **{name: name in states for name in ("artefacts", "noise", "resolution")})
    readout = replace(readout, **held.readout)
    if readout.finer**2 * air.size > MOST_PIXELS:
        readout = replace(readout, finer=1.0)
    image = readout.magnitude(scanner, water, fat, weights.turn, gain, pixel)
    pixel *= air.shape[0] / image.shape[0]
    if gain is not None and scanner.random() < 0.5:
        image /= _resized(gain, image.shape) ** np.float32(scanner.uniform(0.6, 1.0))  # as N4 and scanners even it out
    compartments = _resized(most_common(drawing.compartment), image.shape)
    if cropping:
        image = _mask(cropping, image, _resized(air, image.shape), pixel)
    if artefacts := states.get("artefacts"):
        image, compartments = _bend_and_wrap(artefacts, image, compartments)
    if sequences:
        image = other_greys(sequences, image)
    if cropping and cropping.random() < CROPPED:
        cut = _sample_cut(cropping, compartments, pixel)
        image, compartments = image[cut], compartments[cut]
    scale = np.float32(BRIGHTNESS / max(float(np.percentile(image, 98)), 1e-6))
    return np.ascontiguousarray(image * scale, np.float32), np.ascontiguousarray(compartments), pixel


def _water_and_fat(states: _States, drawing: Drawing, tissues: Tissues, weights: Weights) -> tuple[Floats, Floats]:
    """Give the signal of water and of fat, muscles somewhat different, fat unevenly suppressed, at times swapped."""
    of_compartment = np.ones(256, np.float32)
    if rng := states.get("muscles"):
        of_compartment[1:] = rng.lognormal(0, rng.uniform(0, 0.1), 255)
    water, fat = water_and_fat_shown(drawing, tissues, weights, of_compartment)
    if weights.uneven:
        field = smooth_field(states["scanner"], fat.shape)
        left = np.float32(_brightest(tissues, weights) / (weights.fat[Tissue.MUSCLE] + 1e-9) * weights.uneven)
        fat *= 1 + (left - 1) * np.clip(field, 0, 1)
    swaps = states.get("swaps")
    separated = weights.sequence in (Sequence.DIXON_FAT, Sequence.DIXON_WATER)
    if swaps and separated and swaps.random() < SWAPPED:
        field = smooth_field(swaps, fat.shape, (3, 5))
        there = field > np.quantile(field, swaps.uniform(0.5, 0.95))
        dim, bright = sorted((float(weights.water[Tissue.MUSCLE]), float(weights.fat[Tissue.MUSCLE])))
        # What was dim is bright there, and the other way round.
        water_gain, fat_gain = (bright / max(dim, 0.01 * bright), max(dim, 0.01 * bright) / bright)
        if weights.sequence is Sequence.DIXON_WATER:
            water_gain, fat_gain = fat_gain, water_gain
        water *= np.where(there, np.float32(water_gain), np.float32(1))
        fat *= np.where(there, np.float32(fat_gain), np.float32(1))
    return water, fat


def _brightest(tissues: Tissues, weights: Weights) -> float:
    """Give the signal of the brighter one of muscle and fat."""
    return max(weights.shown(tissues, Tissue.MUSCLE, 0.05), weights.shown(tissues, Tissue.SUBCUTANEOUS_FAT))


def _mask(rng: np.random.Generator, image: Floats, air: NDArray[np.bool_], pixel: float) -> Floats:
    """Put 0 in place of air at times: far from the body, or where nothing is as bright as a threshold."""
    kind = rng.random()
    if kind < 0.08:
        beyond = ndimage.distance_transform_edt(air) * pixel > rng.uniform(0, 8)
        return np.where(beyond, np.float32(0), image)
    if kind < 0.16:
        return np.where(image < np.percentile(image, 98) * rng.uniform(0.01, 0.06), np.float32(0), image)
    return image


def _bend_and_wrap(
    rng: np.random.Generator, image: Floats, compartments: NDArray[np.uint8]
) -> tuple[Floats, NDArray[np.uint8]]:
    """Bend the image as gradients do, and fold what lies beyond a narrower frame into it, each now and then."""
    bends, wraps = rng.random(2)
    axis = int(rng.integers(2))
    if bends < 0.1:
        image, compartments = warped(rng, image, compartments, float(rng.uniform(0.005, 0.03) * min(image.shape)))
    if wraps < 0.08:
        overlap = max(2, int(rng.uniform(0.02, 0.15) * image.shape[axis]))
        image = wrapped(image, axis=axis, overlap=overlap)
        compartments = np.moveaxis(np.moveaxis(compartments, axis, 0)[overlap:-overlap], 0, axis)
    return image, compartments


def _sample_cut(rng: np.random.Generator, compartments: NDArray[np.uint8], pixel: float) -> tuple[slice, slice]:
    """Draw a rectangle around some muscle, which the limb may touch on all sides."""
    rows, columns = np.nonzero(compartments)
    if not rows.size:
        return slice(None), slice(None)
    at = int(rng.integers(rows.size))
    sides = []
    for middle, size in zip((rows[at], columns[at]), compartments.shape, strict=True):
        half = max(8, int(rng.uniform(35, 95) / pixel))
        sides.append(slice(max(0, int(middle) - half), min(size, int(middle) + half)))
    return sides[0], sides[1]


def _resized(image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Read an image at the nearest of its own pixels."""
    if image.shape == shape:
        return image
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, image.shape, strict=True))
    return image[np.ix_(rows, columns)]
