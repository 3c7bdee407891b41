"""An acquisition of the phantom: limbs and disease in, stored images and truth out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.dixon.separation import ECHO_TIMES_MS, separate
from musclesense.imaging.nifti import Geometry
from musclesense.phantom import any_contrast, any_dixon, any_scanner
from musclesense.phantom.anatomy.limbs import LimbAnatomy, sample_poses
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease.infiltration import Infiltration
from musclesense.phantom.scanner.signal import FLIP_DEGREES, TR_MS, Scanner, as_complex
from musclesense.phantom.scanner.turbo_spin_echo import TseScanner
from musclesense.phantom.slices import PlacedLimb, draw_slice, half_size_mm, most_common, whole_muscle
from musclesense.phantom.texture import Floats
from musclesense.vocabulary import Channel, Echo, Limbs, Region


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulatedScan:
    """An acquisition in display order, (slices from distal, rows anterior to posterior, columns right to left)."""

    images: Mapping[str, NDArray[np.int16]]  # what the scanner stores, and what is separated from it, by file name
    mask: NDArray[np.uint8]  # whole muscle, as the paper draws it, 0 or 1; 2: other muscles (any_contrast)
    compartments: NDArray[np.uint8]  # values of ``templates.compartment_values``, 0 elsewhere
    fat_fraction: Floats | None  # true fat fraction in percent, or None where the image is of no densities
    middle: int  # the middle slice; of an even number the upper one of the two, half a slice above mid-level
    limbs: Limbs
    affine: NDArray[np.float64]  # of the stored arrays (i, j, k)
    scanner: Scanner | TseScanner | None = None  # how it was made, or None where there is no other scan like it
    header: Mapping[str, Any] = field(default_factory=dict)
    """What a scanner's own header would tell of a gradient echo; empty for other images."""

    def volumes(self) -> dict[str, NDArray[Any]]:
        """Give all that is written, by file name, in the order (i, j, k) of the affine."""
        truth: dict[str, NDArray[Any]] = {"mask": self.mask, "compartments": self.compartments}
        if self.fat_fraction is not None:
            # Quarters of a percent are short numbers in binary, which compress well.
            truth["true_fat_fraction"] = np.round(4 * self.fat_fraction) / np.float32(4)
        return {name: self._stored_order(data) for name, data in {**self.images, **truth}.items()}

    def geometry(self) -> Geometry:
        """Give the geometry of the volumes."""
        slices, rows, columns = self.mask.shape
        return Geometry.from_affine((columns, rows, slices), self.affine)

    def _stored_order(self, display: NDArray[Any]) -> NDArray[Any]:
        turned = np.swapaxes(display, 0, 2)
        return np.ascontiguousarray(turned[::-1, ::-1] if self.affine[0, 0] > 0 else turned)


def scan_limbs(
    rng: np.random.Generator,
    stack: Stack,
    limbs: tuple[LimbAnatomy, LimbAnatomy],
    infiltrations: tuple[Infiltration, Infiltration],
    *,
    side: int | None = None,
    scanner: Scanner | TseScanner | None = None,
    middle_only: bool = False,
) -> SimulatedScan:
    """Scan both limbs by three gradient echoes and separate fat and water, or one limb by a turbo spin echo.

    How the limbs and the slices lie and the noise come from ``rng``. A turbo spin echo shows the limb at the index
    ``side``; with None, echoes are acquired. ``scanner`` is that of the subject's first session, None there, where it
    is drawn. ``middle_only`` makes the middle slice alone: the same images as in the whole stack.
    """
    placed = [PlacedLimb(*limb) for limb in zip(limbs, sample_poses(rng, limbs), infiltrations, strict=True)]
    if side is not None:
        # The limb lies alone, in the middle of the coil.
        centre_mm = (float(rng.normal(0, 4)), float(rng.normal(0, 4)))
        pose = replace(placed[side].pose, centre_mm=centre_mm, contact_mm=None)
        used = scanner or TseScanner.sample(rng)
        return _scan_stack(rng, stack, [placed[side]._replace(pose=pose)], used, middle_only=middle_only)
    used = scanner or Scanner.sample(rng, *half_size_mm(placed))
    return _separated(_scan_stack(rng, stack, placed, used, middle_only=middle_only))


def _separated(scan: SimulatedScan) -> SimulatedScan:
    """Turn stored echoes, ``magnitudes`` and ``phases``, into the images of a 3-point Dixon acquisition."""
    magnitudes, phases = scan.images["magnitudes"], scan.images["phases"]
    separation = separate(as_complex(magnitudes, phases), slice_axis=0)
    images = {str(name): np.rint(getattr(separation, name)).astype(np.int16) for name in (Channel.FAT, Channel.WATER)}
    for echo, magnitude, phase in zip(Echo, magnitudes, phases, strict=True):
        images |= {f"{echo}_magnitude": magnitude, f"{echo}_phase": phase}
    assert isinstance(scan.scanner, Scanner)
    header = {
        "echo_times_ms": ECHO_TIMES_MS,
        "repetition_time_ms": TR_MS,
        "flip_angle_degrees": FLIP_DEGREES,
        "fat_shift_voxels": (round(-scan.scanner.axes * scan.scanner.fat_shift, 4), 0.0),
    }
    return replace(scan, images=images, header=header)


def _scan_stack(
    rng: np.random.Generator,
    stack: Stack,
    limbs: list[PlacedLimb],
    scanner: Scanner | TseScanner,
    *,
    middle_only: bool,
) -> SimulatedScan:
    """Scan slice by slice."""
    affine, noises = _sample_affine(rng, stack, scanner.axes), rng.spawn(stack.slices)
    numbers = [stack.slices // 2] if middle_only else list(range(stack.slices))
    slices, planes = [], []
    for number in numbers:
        z_mm = (number - (stack.slices - 1) / 2) * stack.slice_mm
        drawing = draw_slice(stack, limbs, z_mm)
        slices.append(scanner.images(noises[number], drawing, voxel_mm=stack.voxel_mm, z_mm=z_mm))
        planes.append(most_common(drawing.compartment))
    compartments = np.stack(planes)
    images = {name: np.stack([part[name] for part in slices], axis=-3) for name in slices[0]}
    affine[:3, 3] += numbers[0] * affine[:3, 2]
    return SimulatedScan(
        fat_fraction=images.pop("fat_fraction"),
        images=images,
        mask=whole_muscle(compartments, limbs[0].anatomy.region, stack.voxel_mm),
        compartments=compartments,
        middle=numbers.index(stack.slices // 2),
        limbs=Limbs.BOTH if len(limbs) > 1 else Limbs(limbs[0].anatomy.side),
        affine=affine,
        scanner=scanner,
    )


def scan_any(rng: np.random.Generator, region: Region, generator: str = "any_scanner") -> SimulatedScan:
    """Scan a subject of its own by a scanner at random: one slice, in which fat is bright, or of any contrast."""
    channel, draw = {
        "any_scanner": (Channel.FAT, any_scanner.synthetic_slice),
        "any_contrast": (Channel.IMAGE, any_contrast.synthetic_slice),
        "any_dixon": (Channel.FAT, any_dixon.synthetic_slice),
    }[generator]
    synthetic = draw(rng, regions=(region,))
    images = {channel: synthetic.image, **synthetic.others}
    return SimulatedScan(
        images={name: np.rint(image).astype(np.int16)[None] for name, image in images.items()},
        mask=synthetic.mask[None],
        compartments=synthetic.compartments[None],
        fat_fraction=None,
        middle=0,
        limbs=synthetic.limbs,
        affine=synthetic.geometry.affine,
    )


def _sample_affine(rng: np.random.Generator, stack: Stack, axes: float) -> NDArray[np.float64]:
    """Draw an affine of a scanner's axes, the stack a little oblique or not."""
    zooms = np.array([axes * stack.voxel_mm, axes * stack.voxel_mm, stack.slice_mm])
    tilt = rng.choice([0.0, rng.normal(0, 0.04)])
    rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    centre = (np.array([stack.columns, stack.rows, stack.slices]) - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = rotation * zooms
    affine[:3, 3] = rng.normal(0, 10, 3) - affine[:3, :3] @ centre
    return affine
