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
from musclesense.phantom.additions import add_all
from musclesense.phantom.anatomy.builds import Drawn, sample_build, vary_muscles
from musclesense.phantom.anatomy.ends import at_joint, sample_pelvis, sample_unlike, to_the_joints
from musclesense.phantom.anatomy.limbs import Body, Packing, drawn_range_mm, relative_level, sample_limbs, sample_poses
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
from musclesense.phantom.scanner.sequences import (
    Acquired,
    Sequence,
    Tissues,
    Weights,
    one_image,
    water_and_fat_shown,
)
from musclesense.phantom.scanner.signal import Drawing
from musclesense.phantom.scanner.surroundings import surroundings
from musclesense.phantom.slices import PlacedLimb, draw_slice, every_muscle, most_common
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Limbs, Region

INGREDIENTS = (
    *("bodies", "disease", "levels", "pose", "sequences", "muscles", "resolution", "thickness"),
    *("shading", "noise", "artefacts", "surroundings", "swaps", "cropping"),
    *("hips", "sides", "arms", "masses", "implants", "fluid"),
)
"""What can be left out, to measure what it gives.

Without ``bodies`` all are usual adults; without ``disease`` muscle is healthy; without ``levels`` slices lie at
mid-level; without ``pose`` both limbs lie whole and straight in the frame; without ``sequences`` it is the fat image of
a Dixon separation; without ``muscles`` all muscles are alike; without ``resolution`` pixels are of 1 mm; without
``thickness`` slices are thin; without ``cropping`` images are neither cut nor masked; without ``hips`` thighs end at
the lesser trochanter; without ``sides`` both limbs are alike and at one level; without ``arms``, ``masses`` (tumours,
cysts, lipomas), ``implants`` or ``fluid`` (along fascias and below the skin) there are none. The others are as in
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
CROPPED, CUT_SIDE = 0.22, 0.65
"""Share of the images that are cut around a part of the limb; of these, how often each side is cut."""
SWOLLEN = 0.25
"""Share of the diseases that are drawn with oedema of their own, of few muscles or many."""
END_STAGE = 0.06
"""Share of the subjects whose muscles are all gone."""
AT_HIPS = 0.16
"""Share of the thighs' slices that lie at the hips."""
LEVELS_APART_MM = 12.0
"""Standard deviation of the distance of the levels at which a slice cuts both limbs, where it differs."""

_States = Mapping[str, np.random.Generator]


def synthetic_slice(
    rng: np.random.Generator,
    *,
    regions: Collection[Region] = tuple(Region),
    without: Collection[str] = (),
    held: Held = NOTHING,
    acquired: Acquired = one_image,
) -> SyntheticSlice:
    """Draw a subject, an image of some sequence, and one slice; the same random state gives the same one.

    The mask holds 1 in the muscles of the paper's mask and 2 in the others; narrow gaps are filled. What is ``held`` is
    not drawn. ``acquired`` draws which images there are of the slice, each by its channel.

    >>> one = synthetic_slice(np.random.default_rng(0), regions=[Region.CALF])
    >>> one.region, one.image.shape == one.mask.shape
    (<Region.CALF: 'calf'>, True)

    Raises:
        InputError: An ingredient is unknown.
    """
    states, region, limbs, shown = who(rng, regions=regions, without=without, held=held)
    limbs, stack = _sample_frame(states, limbs, held)
    drawing = draw_slice(stack, limbs, 0.0)
    add_all(states, drawing, limbs, stack.voxel_mm)
    images, compartments, pixel = take_images(states, drawing, stack.voxel_mm, held, acquired)
    rows, columns = compartments.shape
    first, *others = images
    return SyntheticSlice(
        image=images[first],
        others={name: images[name] for name in others},
        mask=every_muscle(compartments, pixel),
        compartments=compartments,
        geometry=Geometry.from_affine((columns, rows, 1), np.diag([-pixel, -pixel, stack.slice_mm, 1.0])),
        region=region,
        limbs=_seen(shown, compartments),
    )


def who(
    rng: np.random.Generator,
    *,
    regions: Collection[Region] = tuple(Region),
    without: Collection[str] = (),
    held: Held = NOTHING,
) -> tuple[_States, Region, list[PlacedLimb], Limbs]:
    """Draw the subject of `synthetic_slice` alone: random states, region, how the limbs lie and which are scanned.

    Raises:
        InputError: An ingredient is unknown.
    """
    unknown = [name for name in without if name not in INGREDIENTS]
    if unknown:
        raise InputError(f"ingredient {unknown[0]!r} is unknown; leave out some of {', '.join(INGREDIENTS)}")
    names = ("anatomy", "frame", "scanner", *INGREDIENTS)
    states = {name: own for name, own in zip(names, rng.spawn(len(names)), strict=True) if name not in without}
    region = sorted(regions)[int(states["anatomy"].integers(len(regions)))]
    return states, region, *_sample_subject(states, region, held)


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
    if bodies:
        right, left = vary_muscles(bodies, (right, left))
    own: dict[str, Any] = {"packing": drawn.packing, "calibre": drawn.calibre}
    limbs = to_the_joints(replace(right, **own)), to_the_joints(replace(left, **own))
    disease, levels, turns, hips = (states.get(name) for name in ("disease", "levels", "pose", "hips"))
    pattern, severity = _sample_disease(disease, region) if disease else (PATTERNS["control"], 0.0)
    pattern, severity = held.disease or (pattern, severity)
    states_of = [own.of_every(region) for own in sample_infiltration(anatomy, pattern, severity, region, body.age)]
    if held.level is None and levels and hips and region is Region.THIGH and hips.random() < AT_HIPS:
        return [
            PlacedLimb(*one, own) for one, own in zip(sample_pelvis(hips, limbs), states_of, strict=True)
        ], Limbs.BOTH
    if sides := states.get("sides"):
        limbs = sample_unlike(sides, limbs)
    low, high = np.array([drawn_range_mm(limb) for limb in limbs]).T
    level = float(levels.uniform(low.max(), high.min())) if levels else 0.0
    if held.level is not None:
        level = float(low.max() + held.level * (high.min() - low.max()))
    if not 0.0 < relative_level(limbs[0], level) < 1.0:
        limbs = at_joint(limbs[0]), at_joint(limbs[1])
    poses = sample_poses(anatomy, limbs, level)
    placed = [PlacedLimb(*limb) for limb in zip(limbs, poses, states_of, strict=True)]
    if sides and sides.random() < 0.3:  # one leg is drawn up, or longer
        off = float(sides.normal(0, LEVELS_APART_MM))
        placed[0] = placed[0]._replace(pose=replace(poses[0], level_mm=poses[0].level_mm + off))
    return _turn_limbs(turns, placed) if turns else (placed, Limbs.BOTH)


def _sample_disease(rng: np.random.Generator, region: Region) -> tuple[Pattern, float]:
    """Draw a disease and how far it has come, to the end of all muscles."""
    if rng.random() < END_STAGE:
        gone = Pattern(involvement={}, others=1.0, scatter=0.03, wasting_mm=float(rng.uniform(0.5, 6)))
        return gone, float(rng.uniform(0.8, 1.0))
    pattern, severity = sample_disease(rng, region)
    if rng.random() < SWOLLEN:
        pattern = replace(pattern, oedema=(float(rng.uniform(0.1, 0.9)), float(rng.uniform(0.3, 1.0))))
    return pattern, severity


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


def take_images(
    states: _States, drawing: Drawing, pixel: float, held: Held, acquired: Acquired
) -> tuple[dict[str, Floats], NDArray[np.uint8], float]:
    """Turn a drawing into images by their channels, its compartments, and the size of their pixels in mm.

    All images of a slice are received, bent, folded and cut alike; noise is each one's own.
    """
    scanner, sequences, cropping = states["scanner"], states.get("sequences"), states.get("cropping")
    tissues = Tissues.sample(sequences or scanner)
    sequence = held.sequence or (None if sequences else Sequence.DIXON_FAT)
    weights = acquired(sequences or scanner, tissues, sequence)
    air = (drawing.tissue == Tissue.AIR).all(axis=0)
    signals = _water_and_fat(states, drawing, tissues, list(weights.values()))
    if rng := states.get("surroundings"):
        things = surroundings(rng, air, pixel)
        for (water, _), own in zip(signals, weights.values(), strict=True):
            water += np.float32(_brightest(tissues, own)) * things
    gain = coil_gain(shade, ~air, pixel) if (shade := states.get("shading")) else None
    if gain is not None and held.shading != 1:
        gain = gain ** np.float32(held.shading)
    readout = Readout.sample(scanner, **{name: name in states for name in ("artefacts", "noise", "resolution")})
    readout = replace(readout, **held.readout)
    if readout.finer**2 * air.size > MOST_PIXELS:
        readout = replace(readout, finer=1.0)
    images = np.stack(
        [
            readout.magnitude(scanner, *signal, own.turn, gain, pixel)
            for signal, own in zip(signals, weights.values(), strict=True)
        ]
    )
    shape = images.shape[1:]
    pixel *= air.shape[0] / shape[0]
    if gain is not None and scanner.random() < 0.5:
        images /= _resized(gain, shape) ** np.float32(scanner.uniform(0.6, 1.0))  # as N4 and scanners even it out
    compartments = _resized(most_common(drawing.compartment), shape)
    if cropping:
        images = _mask(cropping, images, _resized(air, shape), pixel)
    if artefacts := states.get("artefacts"):
        images, compartments = _bend_and_wrap(artefacts, images, compartments)
    if sequences:
        images = other_greys(sequences, images)
    if cropping and cropping.random() < CROPPED:
        rows, columns = _sample_cut(cropping, compartments, pixel)
        images, compartments = images[:, rows, columns], compartments[rows, columns]
    scale = np.float32(BRIGHTNESS / max(float(np.percentile(images, 98)), 1e-6))
    stored = np.ascontiguousarray(images * scale, np.float32)
    return dict(zip(weights, stored, strict=True)), np.ascontiguousarray(compartments), pixel


def _water_and_fat(
    states: _States, drawing: Drawing, tissues: Tissues, weights: list[Weights]
) -> list[tuple[Floats, Floats]]:
    """Give the signal of water and of fat in each image: muscles somewhat different, fat suppressed unevenly."""
    of_compartment = np.ones(256, np.float32)
    if rng := states.get("muscles"):
        of_compartment[1:] = rng.lognormal(0, rng.uniform(0, 0.1), 255)
    signals = [water_and_fat_shown(drawing, tissues, own, of_compartment) for own in weights]
    for (_, fat), own in zip(signals, weights, strict=True):
        if own.uneven:
            field = smooth_field(states["scanner"], fat.shape)
            left = np.float32(_brightest(tissues, own) / (own.fat[Tissue.MUSCLE] + 1e-9) * own.uneven)
            fat *= 1 + (left - 1) * np.clip(field, 0, 1)
    separated = [own.sequence in (Sequence.DIXON_FAT, Sequence.DIXON_WATER) for own in weights]
    swaps = states.get("swaps")
    if swaps and any(separated) and swaps.random() < SWAPPED:
        field = smooth_field(swaps, drawing.tissue.shape[1:], (3, 5))
        there = field > np.quantile(field, swaps.uniform(0.5, 0.95))
        for signal, own, is_separated in zip(signals, weights, separated, strict=True):
            if is_separated:
                _swap(*signal, own, there)
    return signals


def _swap(water: Floats, fat: Floats, weights: Weights, there: NDArray[np.bool_]) -> None:
    """Make bright what was dim, and the other way round, where a separation swapped fat and water."""
    dim, bright = sorted((float(weights.water[Tissue.MUSCLE]), float(weights.fat[Tissue.MUSCLE])))
    gain = np.float32(bright / max(dim, 0.01 * bright))
    raised, lowered = (fat, water) if weights.sequence is Sequence.DIXON_WATER else (water, fat)
    raised[there] *= gain
    lowered[there] /= gain


def _brightest(tissues: Tissues, weights: Weights) -> float:
    """Give the signal of the brighter one of muscle and fat."""
    return max(weights.shown(tissues, Tissue.MUSCLE, 0.05), weights.shown(tissues, Tissue.SUBCUTANEOUS_FAT))


def _mask(rng: np.random.Generator, images: Floats, air: NDArray[np.bool_], pixel: float) -> Floats:
    """Put 0 in place of air at times: far from the body, or where nothing is as bright as a threshold."""
    kind = rng.random()
    if kind < 0.08:
        beyond = ndimage.distance_transform_edt(air) * pixel > rng.uniform(0, 8)
        return np.where(beyond, np.float32(0), images)
    if kind < 0.16:
        brightest = images.max(axis=0)
        return np.where(brightest < np.percentile(brightest, 98) * rng.uniform(0.01, 0.06), np.float32(0), images)
    return images


def _bend_and_wrap(
    rng: np.random.Generator, images: Floats, compartments: NDArray[np.uint8]
) -> tuple[Floats, NDArray[np.uint8]]:
    """Bend images as gradients do, and fold what lies beyond a narrower frame into them, each now and then."""
    bends, wraps = rng.random(2)
    axis = int(rng.integers(2))
    if bends < 0.1:
        images, compartments = warped(
            rng, images, compartments, float(rng.uniform(0.005, 0.03) * min(compartments.shape))
        )
    if wraps < 0.08:
        overlap = max(2, int(rng.uniform(0.02, 0.15) * compartments.shape[axis]))
        images = wrapped(images, axis=axis + 1, overlap=overlap)
        compartments = np.moveaxis(np.moveaxis(compartments, axis, 0)[overlap:-overlap], 0, axis)
    return images, compartments


def _sample_cut(rng: np.random.Generator, compartments: NDArray[np.uint8], pixel: float) -> tuple[slice, slice]:
    """Draw a rectangle around some muscle, which the limb may touch on one side or on all."""
    rows, columns = np.nonzero(compartments)
    if not rows.size:
        return slice(None), slice(None)
    at = int(rng.integers(rows.size))
    sides = []
    for middle, size in zip((rows[at], columns[at]), compartments.shape, strict=True):
        low, high = np.where(rng.random(2) < CUT_SIDE, np.maximum(8, rng.uniform(30, 110, 2) / pixel), size)
        sides.append(slice(max(0, int(middle - low)), min(size, int(middle + high))))
    return sides[0], sides[1]


def _resized(image: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Read an image at the nearest of its own pixels."""
    if image.shape == shape:
        return image
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, image.shape, strict=True))
    return image[np.ix_(rows, columns)]
