"""Magnitude and phase of three echoes, read as complex images: units of phase, and what no echo can be."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry, read_volume, value_problems


class PhaseUnit(StrEnum):
    """How a phase image stores an angle."""

    AUTO = "auto"
    RADIANS = "radians"
    MILLIRADIANS = "milliradians"
    TWELVE_BIT = "12bit"
    """Whole numbers 0..4095 for 0..2 pi."""
    SIGNED_TWELVE_BIT = "signed-12bit"
    """Whole numbers -4096..4095 for -pi..pi: 12 bits after slope 2 and intercept -4096."""


_RADIANS_PER = {
    PhaseUnit.RADIANS: 1.0,
    PhaseUnit.MILLIRADIANS: 1e-3,
    PhaseUnit.TWELVE_BIT: 2 * np.pi / 4096,
    PhaseUnit.SIGNED_TWELVE_BIT: np.pi / 4096,
}


def detect_phase_unit(phase: NDArray[Any]) -> PhaseUnit:
    """Find the unit of a phase image from its values.

    Whole numbers 0..4095 and -4096..4095 are 12-bit codes; otherwise values within 2 pi are radians, and values within
    2000 pi that reach beyond 1000 are milliradians. Background of phase 0 does no harm.

    >>> detect_phase_unit(np.array([-3.1, 0.2, 3.1]))
    <PhaseUnit.RADIANS: 'radians'>
    >>> detect_phase_unit(np.array([0, 2048, 4095]))
    <PhaseUnit.TWELVE_BIT: '12bit'>

    Raises:
        InputError: The values are constant, not finite, or fit no unit.
    """
    if not np.isfinite(phase).all():
        raise InputError("phase holds NaN or infinity; export the phase image again")
    low, high = float(phase.min(initial=0)), float(phase.max(initial=0))
    if phase.size == 0 or low == high == 0 or float(phase.min()) == high:
        raise InputError(f"phase is {high:g} everywhere; give the phase image of the echo")
    largest = max(-low, high)
    whole = bool((phase == np.round(phase)).all())
    if whole and low >= 0 and 1000 < high <= 4096:
        return PhaseUnit.TWELVE_BIT
    # Milliradians of one turn end at 3142, so whole numbers that reach 4096 and stop there are codes.
    if whole and low < 0 and 3200 < largest <= 4096:
        return PhaseUnit.SIGNED_TWELVE_BIT
    if not whole and largest <= 2.02 * np.pi:
        return PhaseUnit.RADIANS
    if 1000 < largest <= 2020 * np.pi:
        return PhaseUnit.MILLIRADIANS
    raise InputError(
        f"phase from {low:g} to {high:g} fits no known unit; give the phase image, or say its unit with --phase-unit"
    )


def to_radians(phase: NDArray[Any], unit: PhaseUnit) -> NDArray[np.float32]:
    """Turn stored phase into radians (shifted by pi for ``SIGNED_TWELVE_BIT`` against ``TWELVE_BIT``).

    >>> float(to_radians(np.array([0, 1024, 2048]), PhaseUnit.TWELVE_BIT)[1] / np.pi)
    0.5

    Raises:
        InputError: The unit is ``AUTO`` and cannot be found.
    """
    if unit is PhaseUnit.AUTO:
        unit = detect_phase_unit(phase)
    return (phase * _RADIANS_PER[unit]).astype(np.float32)


def read_echoes(
    pairs: Sequence[tuple[Path, Path]], *, phase_unit: PhaseUnit = PhaseUnit.AUTO
) -> tuple[NDArray[np.complex64], Geometry]:
    """Read the (magnitude, phase) files of the three echoes, in the order of ``ECHO_TIMES_MS``.

    Returns:
        Complex signal, (3, i, j, k), and the geometry of the in-phase magnitude.

    Raises:
        InputError: A file cannot be read, lies elsewhere than the others, is given twice, or holds no magnitude or
            phase; one line for each problem.
    """
    if len(pairs) != 3:
        raise ValueError(f"pairs must be three, got {len(pairs)}")
    paths = [path for pair in pairs for path in pair]
    problems = [
        f"{path}: given twice; name six different files" for path in dict.fromkeys(paths) if paths.count(path) > 1
    ]
    if problems:
        raise InputError(*problems)
    magnitudes = [read_volume(magnitude) for magnitude, _ in pairs]
    phases = [read_volume(phase) for _, phase in pairs]
    geometry = magnitudes[1].geometry
    for path, volume in zip(paths, [v for pair in zip(magnitudes, phases, strict=True) for v in pair], strict=True):
        if difference := geometry.difference(volume.geometry):
            problems.append(f"{path}: {difference} of {paths[2]}; give six images of one acquisition")
        problems.extend(f"{path}: {problem}" for problem in value_problems(volume.data))
    if problems:
        raise InputError(*problems)
    for (path, _), volume in zip(pairs, magnitudes, strict=True):
        if volume.data.min() < 0:
            problems.append(
                f"{path}: holds {volume.data.min():g}, no magnitude is negative; give magnitude, then phase"
            )
        elif not volume.data.any():
            problems.append(f"{path}: is 0 everywhere; give the magnitude image of the echo")
    if problems:
        raise InputError(*problems)
    # One unit for all three: an echo whose phase happens to stay small would be taken for another.
    stored = np.stack([volume.data for volume in phases])
    try:
        angles = to_radians(stored, phase_unit)
    except InputError as error:
        raise InputError(f"{', '.join(str(path) for _, path in pairs)}: {error}") from error
    magnitude = np.stack([volume.data for volume in magnitudes]).astype(np.float32)
    return (magnitude * np.exp(1j * angles)).astype(np.complex64), geometry
