"""One scan to be segmented: its images from echoes or from fat and water, in one place."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.dixon.echoes import PhaseUnit, detect_phase_unit, read_echoes
from musclesense.dixon.separation import fat_fraction, separate
from musclesense.errors import InputError
from musclesense.imaging.grid import slice_axis
from musclesense.imaging.nifti import Geometry, read_volume, value_problems

Echo = tuple[Path, Path]


@dataclass(frozen=True, eq=False)
class Scan:
    """The images of one acquisition.

    Attributes:
        channels: Volume of each channel that is at hand, of ``geometry.shape``.
        fat_fraction: In percent, or None where water is not known.
        geometry: Where the voxels lie, from the first image.
        files: What was read.
        phase_unit: How its phases are stored, as given or found, or None where none were read.
    """

    channels: Mapping[str, NDArray[Any]]
    fat_fraction: NDArray[np.float32] | None
    geometry: Geometry
    files: Mapping[str, Path]
    phase_unit: PhaseUnit | None = None


def from_echoes(te345: Echo, te460: Echo, te575: Echo, *, phase_unit: PhaseUnit = PhaseUnit.AUTO) -> Scan:
    """Separate fat and water from magnitude and phase at the three echo times.

    Raises:
        InputError: An image cannot be used.
    """
    echoes, geometry = read_echoes((te345, te460, te575), phase_unit=phase_unit)
    if phase_unit is PhaseUnit.AUTO:
        phase_unit = detect_phase_unit(np.stack([read_volume(phase).data for _, phase in (te345, te460, te575)]))
    parts = separate(echoes, slice_axis=slice_axis(geometry))
    magnitudes = dict(zip(("te345", "te460", "te575"), np.abs(echoes), strict=True))
    files = {
        f"{name}_{kind}": path
        for name, pair in (("te345", te345), ("te460", te460), ("te575", te575))
        for kind, path in zip(("magnitude", "phase"), pair, strict=True)
    }
    channels = {"fat": parts.fat, "water": parts.water} | magnitudes
    return Scan(channels, parts.fat_fraction, geometry, files, phase_unit)


def from_images(files: Mapping[str, Path]) -> Scan:
    """Take images as they are: fat, and where given water and magnitudes of the echoes.

    Raises:
        InputError: An image cannot be read, lies elsewhere than the first, or has values that no image has.
    """
    volumes = {name: read_volume(path) for name, path in files.items()}
    first = next(iter(files))
    geometry = volumes[first].geometry
    problems = []
    for name, volume in volumes.items():
        if difference := geometry.difference(volume.geometry):
            problems.append(f"{files[name]}: {difference} of {files[first]}; give images of one acquisition")
        elif unusable := list(value_problems(volume.data)):
            problems.extend(f"{files[name]}: {problem}" for problem in unusable)
        elif np.ptp(volume.data) == 0:
            problems.append(f"{files[name]}: is {volume.data.flat[0]:g} everywhere; give the {name} image")
    if problems:
        raise InputError(*problems)
    # Sums of stored integers could overflow.
    channels = {name: volume.data.astype(np.float32) for name, volume in volumes.items()}
    known = "fat" in channels and "water" in channels
    fraction = fat_fraction(channels["fat"], channels["water"]) if known else None
    return Scan(channels, fraction, geometry, files)
