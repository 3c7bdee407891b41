"""Magnitude and phase of three echoes, read as complex images: units of phase, and what no echo can be."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import ArgumentError, InputError
from musclesense.imaging.nifti import Geometry, Volume, value_problems
from musclesense.imaging.reader import ImageLike, image_name, read_image
from musclesense.vocabulary import Echo


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


Pair = tuple[ImageLike, ImageLike]
"""Magnitude and phase of an echo."""


class Echoes(NamedTuple):
    """Three echoes.

    Attributes:
        signal: Complex, (3, i, j, k).
        geometry: Of the in-phase magnitude.
        phase_unit: How their phases are stored, as given or found.
    """

    signal: NDArray[np.complex64]
    geometry: Geometry
    phase_unit: PhaseUnit


def read_echoes(pairs: Sequence[Pair], *, phase_unit: str = PhaseUnit.AUTO) -> Echoes:
    """Read magnitude and phase of the three echoes, in the order of ``ECHO_TIMES_MS``.

    Args:
        pairs: Of the echoes.
        phase_unit: How phases are stored, of `PhaseUnit`.

    Raises:
        InputError: An image cannot be read, lies elsewhere than the others, is given twice, or holds no magnitude or
            phase; one line for each problem. Or there is no such unit.
    """
    if len(pairs) != 3:
        raise ValueError(f"pairs must be three, got {len(pairs)}")
    if phase_unit not in tuple(PhaseUnit):
        known = ", ".join(PhaseUnit)
        raise ArgumentError(f"{{phase_unit}}: unknown; give one of {known}", phase_unit=str(phase_unit))
    arguments = [name for echo in Echo for name in (f"{echo}_magnitude", f"{echo}_phase")]
    images = [image for pair in pairs for image in pair]
    names = [image_name(image, argument) for image, argument in zip(images, arguments, strict=True)]
    _refuse(f"{name}: given twice; name six different files" for name in {*names} if names.count(name) > 1)
    volumes = [read_image(image, argument) for image, argument in zip(images, arguments, strict=True)]
    geometry = volumes[2].geometry
    _refuse(_problems_of_place(names, volumes))
    _refuse(_problems_of_magnitude(names[::2], volumes[::2]))
    # One unit for all three: an echo whose phase happens to stay small would be taken for another.
    stored = np.stack([volume.data for volume in volumes[1::2]])
    try:
        unit = detect_phase_unit(stored) if phase_unit == PhaseUnit.AUTO else PhaseUnit(phase_unit)
    except InputError as error:
        raise InputError(f"{', '.join(names[1::2])}: {error}") from error
    magnitude = np.stack([volume.data for volume in volumes[::2]]).astype(np.float32)
    return Echoes((magnitude * np.exp(1j * to_radians(stored, unit))).astype(np.complex64), geometry, unit)


def is_pair(image: Any) -> bool:
    """Tell magnitude and phase from one image, which may be an array with its affine."""
    return isinstance(image, list | tuple) and not (image and isinstance(image[0], np.ndarray))


def require_pairs(echoes: Mapping[str, Any]) -> list[Pair]:
    """Give magnitude and phase of the three echoes, out of what was given by their names.

    Raises:
        InputError: An echo lacks one of the two.
    """
    pairs: dict[str, Any] = {str(echo): echoes.get(echo) for echo in Echo}
    wrong = [name for name, pair in pairs.items() if not is_pair(pair) or len(pair) != 2]
    if wrong:
        asked = " ".join(f"{{{name}}}" for name in wrong)
        raise ArgumentError(
            f"magnitude and phase of three echoes are needed; give {asked}, or {{fat}}",
            **dict.fromkeys(wrong, ("MAG", "PHASE")),
            fat="FILE",
        )
    return [(pair[0], pair[1]) for pair in pairs.values()]


def _problems_of_place(names: Sequence[str], volumes: Sequence[Volume]) -> Iterator[str]:
    """Say which images lie elsewhere than the third, the in-phase magnitude, or hold values that no image has."""
    for name, volume in zip(names, volumes, strict=True):
        if difference := volumes[2].geometry.difference(volume.geometry):
            yield f"{name}: {difference} of {names[2]}; give six images of one acquisition"
        yield from (f"{name}: {problem}" for problem in value_problems(volume.data))


def _problems_of_magnitude(names: Sequence[str], volumes: Sequence[Volume]) -> Iterator[str]:
    for name, volume in zip(names, volumes, strict=True):
        if volume.data.min() < 0:
            yield f"{name}: holds {volume.data.min():g}, no magnitude is negative; give magnitude, then phase"
        elif not volume.data.any():
            yield f"{name}: is 0 everywhere; give the magnitude image of the echo"


def _refuse(problems: Iterable[str]) -> None:
    if found := list(problems):
        raise InputError(*found)
