"""What one turn is in stored phases: found by what the three echoes of one body must have in common.

Fat and water turn against each other by half a turn and back between the echoes, and the field turns both evenly. So
S345 S575 / S460^2 has one phase throughout the body, under the right unit alone: under any other, each turn that wraps
leaves a step. How far the values reach tells the units that come into question. No type of number is looked at, since
saving anew turns whole numbers into others.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import ArgumentError, InputError
from musclesense.messages import log


class PhaseUnit(StrEnum):
    """How a phase image stores an angle."""

    AUTO = "auto"
    RADIANS = "radians"
    MILLIRADIANS = "milliradians"
    DEGREES = "degrees"
    TENTH_DEGREES = "tenth-degrees"
    TWELVE_BIT = "12bit"
    """4096 values for one turn: 0..4095 or -2048..2047."""
    SIGNED_TWELVE_BIT = "signed-12bit"
    """8192 values for one turn: -4096..4095, 12 bits after slope 2 and intercept -4096."""


TURNS: Mapping[PhaseUnit, float] = {
    PhaseUnit.RADIANS: 2 * np.pi,
    PhaseUnit.MILLIRADIANS: 2000 * np.pi,
    PhaseUnit.DEGREES: 360.0,
    PhaseUnit.TENTH_DEGREES: 3600.0,
    PhaseUnit.TWELVE_BIT: 4096.0,
    PhaseUnit.SIGNED_TWELVE_BIT: 8192.0,
}
"""What one turn is in each unit."""

Images = Sequence[NDArray[Any]]
Spans = NDArray[np.float64]
# Turns that values may reach over: fat lies half a turn from water, and programs add a turn here and there.
_LEAST_TURNS, _MOST_TURNS = 0.45, 2.1
# Turns that the values of the outer echoes reach over by themselves, unless they are stored in another unit.
_LEAST_OUTER = 0.2
# Noise in air, and fields that wrap, fill one turn to the last code or two: 0.985 to 1.003 turns.
_FULL, _FULL_WITHIN = 0.994, 0.009
# Voxels are looked at in which all echoes exceed this part of the brightest in-phase percentile; some of many suffice.
_SIGNAL, _ENOUGH_VOXELS = 0.1, 2**20
# Above the first variance, where the resultant is below a half, the echoes do not agree; below the second they do.
_MOST_VARIANCE, _SURE_VARIANCE = 0.7, 0.03
# How many times the variance of the best unit another may have and still come into question: by the number of echoes
# whose values fill one turn of it.
_RIVAL = (1.2, 1.2, 3.0, 4.0)
# Without such an echo, a few voxels tell less.
_FEW_VOXELS, _RIVAL_OF_FEW = 10_000, 1.4
_LEAST_VARIANCE = 0.003
# Values that reach over no more of a unit were hardly unwrapped.
_NEARLY_A_TURN = 1.15
# Half of what the phase of S345 S575 / S460^2 may be, in radians: fat's own peaks make 0.06, real scanners up to 0.35.
_MOST_OFFSET = 0.4
_OTHER_ORDER = "agree better in another order; give them in the order of their times, each with its own phase"


def find_unit(magnitudes: Images, phases: Images, name: str) -> PhaseUnit:
    """Find the unit of the phases of three echoes.

    >>> turns = np.linspace(0, 3, 1000).reshape(10, 100, 1)
    >>> phases = [4096 * ((step * turns + 0.1) % 1) for step in (-1, 0, 1)]
    >>> find_unit([np.ones_like(turns)] * 3, phases, "phases")
    <PhaseUnit.TWELVE_BIT: '12bit'>

    Args:
        magnitudes: Of the echoes, (i, j, k).
        phases: As they are stored.
        name: Of the images, for messages.

    Raises:
        InputError: They are constant, or fit no unit or two.
    """
    spans = np.array([float(phase.max()) - float(phase.min()) for phase in phases])
    name = name.replace("{", "{{").replace("}", "}}")
    if not spans.any():
        raise ArgumentError(f"{name}: the same value everywhere; give the phase image of each echo")
    stored, weight = _in_body(magnitudes, phases)
    farthest = max(-min(float(phase.min()) for phase in phases), max(float(phase.max()) for phase in phases))
    units = [unit for unit in TURNS if _may_be(unit, spans) and farthest <= _MOST_TURNS * TURNS[unit]]
    variances = {unit: _variance(stored / TURNS[unit], weight) for unit in units}
    best = min(variances.values(), default=np.inf)
    if wrong := _mixed_units(spans, stored, weight, best):
        raise ArgumentError(f"{name}: {wrong}")
    before, alone, after = (_variance(stored / spans.max(), weight, middle) for middle in range(3))
    few = weight.size < _FEW_VOXELS
    if best > _most_variance(spans, variances, min(before, alone, after), few=few):
        if _other_order(before, alone, after) and min(before, after) < best:
            raise ArgumentError(f"{name}: the echoes agree in no known unit, and {_OTHER_ORDER}")
        raise ArgumentError(
            f"{name}: values span {spans.max():g}, and the echoes agree in no known unit ({', '.join(TURNS)}); say "
            "what one turn is with {phase_turn}, or give real and imaginary images with {real_imaginary}",
            phase_turn=f"{spans.max():g}" if alone <= _MOST_VARIANCE else "VALUE",
            real_imaginary="",
        )
    fitting = _fitting(spans, variances, few=few)
    if len(fitting) > 1:
        alike = " and as ".join(fitting)
        raise ArgumentError(
            f"{name}: the echoes agree as {alike} alike; say which with {{phase_unit}}", phase_unit=fitting[0]
        )
    return fitting[0]


def settle_in_phase(signal: NDArray[np.complex64], name: str) -> None:
    """Take off what the in-phase echo is turned against the middle of the outer ones, if that is much, and say so.

    It is where readouts run in both directions, or each echo has an offset of its own.

    Args:
        signal: Complex echoes, (3, i, j, k); the second is changed.
        name: Of the images, for messages.

    Raises:
        InputError: The echoes are in another order.
    """
    step = max(1, round((signal[0].size / _ENOUGH_VOXELS) ** (1 / 3)))
    few = signal[:, ::step, ::step, ::step]
    turns, weight = _in_body([*np.abs(few)], [*np.angle(few) / (2 * np.pi)])
    before, agreed, after = (_variance(turns, weight, middle) for middle in range(3))
    if _other_order(before, agreed, after):
        raise InputError(f"{name}: the echoes {_OTHER_ORDER}")
    offset = float(np.angle(_resultant(turns, weight))) / 2
    if agreed > _MOST_VARIANCE:
        log.warning(f"{name}: the echoes hardly agree as their phases were read; look at the fat fraction image")
    elif abs(offset) > _MOST_OFFSET:
        log.warning(f"{name}: the in-phase echo is turned by {np.rad2deg(offset):.0f} degrees, which is taken off")
        signal[1] *= np.complex64(np.exp(1j * offset))


def _may_be(unit: PhaseUnit, spans: Spans) -> bool:
    turns = spans / TURNS[unit]
    return bool(_LEAST_TURNS <= turns.max() <= _MOST_TURNS and min(turns[0], turns[2]) >= _LEAST_OUTER)


def _mixed_units(spans: Spans, stored: NDArray[np.float64], weight: NDArray[np.float64], best: float) -> str | None:
    """Say that each echo fills one turn of a unit of its own, under which they agree better than under any one."""
    own = [next((unit for unit in TURNS if _fills(span, unit)), None) for span in spans]
    turns = [TURNS[unit] for unit in own if unit is not None]
    if len(turns) < len(own) or len({*own}) == 1:
        return None
    if _variance(stored / np.array(turns)[:, None], weight) >= best / _RIVAL[0]:
        return None
    return f"are stored in {', '.join(map(str, own))}; bring them to one unit"


def _most_variance(spans: Spans, variances: Mapping[PhaseUnit, float], alone: float, *, few: bool) -> float:
    """Give the greatest variance of a unit that is known, by that of a unit of which the values fill one turn."""
    if not any(_within(spans.max(), unit) for unit in variances):
        return min(_MOST_VARIANCE, alone)
    if spans.max() <= _NEARLY_A_TURN * TURNS[min(variances, key=variances.__getitem__)]:
        rival = (_RIVAL_OF_FEW if few else _RIVAL[0]) * alone + _LEAST_VARIANCE
        return min(_MOST_VARIANCE, max(rival, _SURE_VARIANCE))
    sure = _LEAST_VARIANCE if spans.min() > _FULL * spans.max() else _SURE_VARIANCE
    return min(_MOST_VARIANCE, _RIVAL[2] * alone + sure)


def _fitting(spans: Spans, variances: Mapping[PhaseUnit, float], *, few: bool) -> list[PhaseUnit]:
    """Give the units under which the echoes agree about as well as under the best."""
    best, near = min(variances.values()), []
    filled = {unit: sum(_fills(span, unit) for span in spans) for unit in variances}
    for unit, variance in variances.items():
        rival = max(_RIVAL[filled[unit]], _RIVAL_OF_FEW if few else 1.0)
        if variance <= min(rival * best + _LEAST_VARIANCE, _MOST_VARIANCE):
            near.append(unit)
    # What fits one turn of a unit fits two of one half as large as well.
    return [unit for unit in near if filled[unit] > 1] or [unit for unit in near if _within(spans.max(), unit)] or near


def _within(span: float, unit: PhaseUnit) -> bool:
    return span <= TURNS[unit] or _fills(span, unit)


def _fills(span: float, unit: PhaseUnit) -> bool:
    return abs(span / TURNS[unit] - _FULL) <= _FULL_WITHIN


def _in_body(magnitudes: Images, phases: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the stored phases, (3, voxels), in voxels of the body, and how far each can be trusted."""
    weight = np.minimum(np.minimum(magnitudes[0], magnitudes[2]), magnitudes[1])
    step = max(1, round((weight.size / _ENOUGH_VOXELS) ** (1 / 3)))
    few = magnitudes[1][::step, ::step, ::step]
    bright = np.percentile(few[few > 0], 99) if (few > 0).any() else 0.0
    body = np.flatnonzero(weight > _SIGNAL * bright)
    voxels = np.unravel_index(body[:: 1 + body.size // _ENOUGH_VOXELS], weight.shape)
    return np.stack([phase[voxels].astype(np.float64) for phase in phases]), weight[voxels].astype(np.float64)


def _variance(turns: NDArray[np.float64], weight: NDArray[np.float64], middle: int = 1) -> float:
    """Give the circular variance of the phase of S345 S575 / S460^2, as -log of the resultant.

    Args:
        turns: Phases of the echoes, (3, voxels).
        weight: How far each voxel can be trusted.
        middle: The echo that is taken for the one in the middle.
    """
    return -float(np.log(max(abs(_resultant(turns, weight, middle)), 1e-12)))


def _resultant(turns: NDArray[np.float64], weight: NDArray[np.float64], middle: int = 1) -> complex:
    agreed = weight @ np.exp(2j * np.pi * ((turns.sum(axis=0) - 3 * turns[middle]) % 1))
    return complex(agreed / max(weight.sum(), 1e-12))


def _other_order(before: float, alone: float, after: float) -> bool:
    """Whether echoes agree better if another one lies in the middle, by their variances then."""
    best = min(before, after)
    return best < _MOST_VARIANCE and _RIVAL[0] * best + _LEAST_VARIANCE < alone
