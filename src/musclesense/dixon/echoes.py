"""Magnitude and phase of three echoes, or real and imaginary images, read as complex ones; and what no echo can be."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from musclesense.dixon.phase import TURNS, PhaseUnit, find_unit, settle_in_phase
from musclesense.errors import ArgumentError, InputError, refuse
from musclesense.imaging.air import nan_as_air
from musclesense.imaging.nifti import Geometry, Volume, value_problems
from musclesense.imaging.reader import ImageLike, image_name, parts_of_complex, read_image
from musclesense.imaging.turning import turned
from musclesense.messages import log
from musclesense.vocabulary import Echo

STORED = ("phase_unit", "phase_turn", "real_imaginary")
"""The arguments of `read_echoes` that say how phases are stored."""
Pair = tuple[ImageLike, ImageLike]
"""Magnitude and phase of an echo, or its real and imaginary image."""


class Echoes(NamedTuple):
    """Three echoes.

    Attributes:
        signal: Complex, (3, i, j, k).
        geometry: Of the first image of the in-phase echo.
        phase_unit: How their phases are stored, in words, as given or found.
    """

    signal: NDArray[np.complex64]
    geometry: Geometry
    phase_unit: str


def read_echoes(
    pairs: Sequence[Pair],
    *,
    phase_unit: str = PhaseUnit.AUTO,
    phase_turn: float | None = None,
    real_imaginary: bool = False,
) -> Echoes:
    """Read the three echoes, in the order of ``ECHO_TIMES_MS``, and say how their phases are stored.

    Args:
        pairs: Of the echoes.
        phase_unit: How phases are stored, of `PhaseUnit`.
        phase_turn: What one turn is in stored phases, for any other unit.
        real_imaginary: Whether the pairs are real and imaginary images instead of magnitude and phase.

    Raises:
        InputError: An image cannot be read, lies elsewhere than the others, is given twice, or holds no magnitude or
            phase; one line for each problem. Or there is no such unit, or the echoes are in another order.
    """
    if len(pairs) != 3:
        raise ValueError(f"pairs must be three, got {len(pairs)}")
    _refuse_storage(phase_unit, phase_turn, real_imaginary)
    names, volumes = _read_images(pairs, pair_kinds(real_imaginary))
    geometry = volumes[2].geometry
    firsts, seconds = [volume.data for volume in volumes[::2]], [volume.data for volume in volumes[1::2]]
    del volumes
    refuse(_problems_of_copies(names, [*firsts, *seconds]))
    turn, unit = None, "real and imaginary"
    if real_imaginary:
        refuse(_problems_of_parts(names, [*firsts, *seconds]))
    else:
        refuse(_problems_of_magnitude(names[::2], firsts))
        given = None if phase_turn is None else (phase_turn, f"{phase_turn:g} a turn")
        turn, unit = given or _known_turn(phase_unit, names, firsts, seconds)
    signal = _complex(firsts, seconds, turn)
    settle_in_phase(signal, ", ".join(names))
    return Echoes(signal, geometry, unit)


def _known_turn(
    phase_unit: str, names: Sequence[str], magnitudes: Sequence[NDArray[Any]], phases: Sequence[NDArray[Any]]
) -> tuple[float, str]:
    """Give one turn of a unit by its name, or of the one that is found, and its name."""
    unit = PhaseUnit(phase_unit)
    # One unit for all three: an echo whose phase happens to stay small would be taken for another.
    unit = find_unit(magnitudes, phases, ", ".join(names[1::2])) if unit is PhaseUnit.AUTO else unit
    return TURNS[unit], unit.value


def _read_images(pairs: Sequence[Pair], kinds: tuple[str, str]) -> tuple[list[str], list[Volume]]:
    """Read six images of one acquisition and give their names, too; NaN around the body becomes 0."""
    arguments = [f"{echo}_{kind}" for echo in Echo for kind in kinds]
    images = [image for pair in pairs for image in pair]
    names = [image_name(image, argument) for image, argument in zip(images, arguments, strict=True)]
    refuse(f"{name}: given twice; name six different files" for name in {*names} if names.count(name) > 1)
    volumes = [read_image(image, argument) for image, argument in zip(images, arguments, strict=True)]
    volumes = [turned(volume, volumes[2].geometry) for volume in volumes]
    refuse(_problems_of_place(names, volumes))
    body = np.hypot(volumes[2].data, volumes[3].data) if "real" in kinds else volumes[2].data
    volumes = [nan_as_air(volume, name, body) for name, volume in zip(names, volumes, strict=True)]
    refuse(
        f"{name}: {problem}"
        for name, volume in zip(names, volumes, strict=True)
        for problem in value_problems(volume.data)
    )
    return names, volumes


def _complex(firsts: list[NDArray[Any]], seconds: list[NDArray[Any]], turn: float | None) -> NDArray[np.complex64]:
    """Put the echoes together, (3, i, j, k), taking each out of the lists, since together they take much memory.

    Args:
        firsts: Magnitudes, or real images where there is no turn.
        seconds: Phases, or imaginary images.
        turn: What one turn is in the phases.
    """
    signal = np.empty((len(firsts), *firsts[0].shape), np.complex64)
    for echo in signal:
        first, second = firsts.pop(0), seconds.pop(0)
        for here, a, b in zip(echo, first, second, strict=True):
            if turn is None:
                here.real, here.imag = a, b
            else:
                angle = (b * (2 * np.pi / turn)).astype(np.float32)
                here[:] = a.astype(np.float32) * np.exp(1j * angle)
    return signal


def pair_kinds(real_imaginary: bool) -> tuple[str, str]:
    """Name the two images of an echo."""
    return ("real", "imaginary") if real_imaginary else ("magnitude", "phase")


def is_pair(image: Any) -> bool:
    """Tell magnitude and phase from one image, which may be an array with its affine."""
    return isinstance(image, list | tuple) and not (image and isinstance(image[0], np.ndarray))


def require_pairs(echoes: Mapping[str, Any], real_imaginary: bool = False) -> list[Pair]:
    """Give magnitude and phase of the three echoes, out of what was given by their names: pairs, or complex images.

    Raises:
        InputError: An echo lacks one of the two.
    """
    pairs: dict[str, Any] = {str(echo): echoes.get(echo) for echo in Echo}
    for name, given in pairs.items():
        if given is not None and not is_pair(given):
            with suppress(InputError):  # what is no image is no pair either
                pairs[name] = parts_of_complex(given, real_imaginary)
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
    """Say which images lie elsewhere than the third, of the in-phase echo."""
    for name, volume in zip(names, volumes, strict=True):
        if difference := volumes[2].geometry.difference(volume.geometry):
            yield f"{name}: {difference} of {names[2]}; give six images of one acquisition"


def _problems_of_copies(names: Sequence[str], images: Sequence[NDArray[Any]]) -> Iterator[str]:
    """Name images that hold the values of another one; ``images``: all first ones, then all second ones.

    The outer echoes of a drawn scan, without noise and in an even field, are equal: that is told of alone.
    """
    named = [*zip([*names[::2], *names[1::2]], images, strict=True)]
    for (one, (name, image)), (two, (other, same)) in combinations(enumerate(named), 2):
        if all(map(np.array_equal, image, same)):  # plane by plane, of which most differ at once
            said = f"{other}: holds the values of {name}; give six different images"
            if (one, two) in ((0, 2), (3, 5)):
                log.warning(said)
            else:
                yield said


def _problems_of_magnitude(names: Sequence[str], magnitudes: Sequence[NDArray[Any]]) -> Iterator[str]:
    for name, magnitude in zip(names, magnitudes, strict=True):
        if magnitude.min() < 0:
            yield (
                f"{name}: holds {magnitude.min():g}, no magnitude is negative; give magnitude, then phase, "
                "or say that the images are real and imaginary"
            )
        elif not magnitude.any():
            yield f"{name}: is 0 everywhere; give the magnitude image of the echo"


def _problems_of_parts(names: Sequence[str], parts: Sequence[NDArray[Any]]) -> Iterator[str]:
    """Say why images are no real and imaginary ones: between echoes the signal turns, so both signs occur."""
    if not any(part.any() for part in parts):
        yield f"{names[0]}: is 0 everywhere, as all others; give real and imaginary images"
    elif min(part.min() for part in parts) >= 0:
        yield (
            f"{', '.join(names)}: hold no negative value, as real and imaginary images do; "
            "give them with their zero level taken off, or magnitudes and phases"
        )


def _refuse_storage(phase_unit: str, phase_turn: float | None, real_imaginary: bool) -> None:
    """Refuse a description of stored phases that cannot be."""
    if phase_unit not in tuple(PhaseUnit):
        known = ", ".join(PhaseUnit)
        raise ArgumentError(f"{{phase_unit}}: unknown; give one of {known}", phase_unit=str(phase_unit))
    if phase_turn is not None and not 0 < phase_turn < np.inf:
        raise ArgumentError("{phase_turn}: no turn; give the positive number", phase_turn=f"{phase_turn:g}")
    given = {"phase_unit": phase_unit != PhaseUnit.AUTO, "phase_turn": phase_turn is not None}
    given["real_imaginary"] = real_imaginary
    if sum(given.values()) > 1:
        named = [name for name, there in given.items() if there]
        raise ArgumentError(
            f"{{{named[0]}}}: does not go with {{{named[1]}}}; leave one out", **dict.fromkeys(named, "")
        )
