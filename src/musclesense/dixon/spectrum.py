"""Fat and water by the whole spectrum of fat: a least-squares fit to three complex echoes.

The echoes n = -1, 0, 1 are modelled as (W + F c_n) exp(i phase + n (i field - decay)), c_n being the sum of the fat
peaks. In S_-1 S_1 / S_0^2 the phase, the field and the decay cancel: it depends on the fat fraction alone, and the real
part of its root is what the single-peak method reads as water - fat. So a table turns that reading into a first fat
fraction, which tells the field and the decay apart from what fat adds to them. Both are smooth in the body; once they
are smoothed, fat and water follow from linear least squares with a phase in common, which stays unbiased where fat and
water cancel in the outer echoes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.dixon.fat import fat_phasor
from musclesense.dixon.field import Images

Echoes = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
Phasors = NDArray[np.complex128]

_SMOOTH = 1.5
"""Standard deviation, in voxels, over which field and decay are averaged, weighted by the outer echoes' power."""
_FASTEST = 0.25
"""Greatest decay between two echoes (R2* of 217/s over 1.15 ms); what exceeds it, as in cortical bone, is noise."""
_CLEAR = 0.4
"""Outer echoes, as part of the middle one, from which on their phase is clear."""
_TINY = np.finfo(np.float32).tiny
_FRACTIONS = np.linspace(-0.1, 1.1, 481)


def fit_spectrum(
    echoes: Echoes, echo_times_ms: tuple[float, float, float], field_phase: Images, *, larmor_mhz: float
) -> tuple[Images, Images, Images]:
    """Fit water, fat, phase, field and decay with the six fat peaks; arrays (slices, rows, columns).

    >>> echo, no_field = np.full((1, 8, 8), 70, np.complex64), np.zeros((1, 8, 8), np.float32)
    >>> fat, water, _ = fit_spectrum((echo, echo, echo), (3.45, 4.60, 5.75), no_field, larmor_mhz=127.74)
    >>> abs(float(fat.mean().round())), float(water.mean().round())
    (0.0, 70.0)

    Args:
        echoes: The echoes, the middle one (nearly) in phase.
        echo_times_ms: Their times, evenly spaced.
        field_phase: Turn of water between two echoes by the single-peak method, in radians, swaps resolved.
        larmor_mhz: Frequency of the scanner.

    Returns:
        Fat and water, decayed as at the middle echo, and the smoothed turn of water between two echoes.
    """
    phasors = np.array([fat_phasor(time, larmor_mhz=larmor_mhz) for time in echo_times_ms])
    # Scanners store phases that turn either way; the peaks beside the main one tell which.
    start = min((_start(echoes, field_phase, way) for way in (phasors, phasors.conj())), key=lambda start: start.misfit)
    fat, water, field = parts = np.empty((3, *field_phase.shape), dtype=np.float32)
    for number, root in enumerate(_roots(echoes, field_phase)):
        before, middle, after = (echo[number] for echo in echoes)
        parts[:, number] = _fit((before, middle, after), field_phase[number], start, root)
    return fat, water, field


class _Start(NamedTuple):
    """A first fit."""

    table: Phasors  # what the roots are for each of ``_FRACTIONS``
    phasors: Phasors  # fat at the three echoes, turning as the scanner's phases do
    offset: complex  # phase factor that the middle echo lacks everywhere alike, since hardware adds to its phase
    refined: complex  # likewise, once more
    misfit: float  # how far the outer echoes lie from the model

    def fraction(self, root: NDArray[np.complex64]) -> NDArray[np.float64]:
        """Give first fat fractions."""
        # Water falls as fat rises, and np.interp wants rising values.
        turned = -(root * np.complex64(self.offset.conjugate())).real
        return np.asarray(np.interp(turned, -self.table.real, _FRACTIONS))

    def model(self, root: NDArray[np.complex64]) -> Phasors:
        """Give what the roots would be."""
        return np.asarray(np.interp(self.fraction(root), _FRACTIONS, self.table))


def _start(echoes: Echoes, field_phase: Images, phasors: Phasors) -> _Start:
    """Find fat fractions by a table of what the roots are for each of them."""
    before, middle, after = (1 - _FRACTIONS + _FRACTIONS * c for c in phasors)
    # Put to rest as the echoes are.
    table = before * np.exp(0.5j * np.angle(after * before.conj())) * np.sqrt(np.abs(after / before)) / middle
    start = _Start(table, phasors, 1 + 0j, 1 + 0j, 0.0)
    for _ in range(2):
        start = start._replace(offset=start.refined)
        agreed = 0j
        for root, power in _clear_roots(echoes, field_phase):
            agreed += complex(np.vdot(start.model(root), root * power))
        start = start._replace(refined=agreed / abs(agreed) if agreed else 1 + 0j)
    misfit = 0.0
    for root, power in _clear_roots(echoes, field_phase):
        misfit += float(np.abs(root - start.refined * start.model(root)) ** 2 @ power)
    return start._replace(misfit=misfit)


def _roots(echoes: Echoes, field_phase: Images) -> Iterator[NDArray[np.complex64]]:
    """Give the root of S_-1 S_1 / S_0^2 in each slice, which all slices at once would take much memory for."""
    for before, middle, after, field in zip(*echoes, field_phase, strict=True):
        magnitude, power = np.abs(middle), np.abs(before) * np.abs(after)
        resting = before * np.exp(1j * field) * np.exp(-1j * np.angle(middle))
        # The outer echoes never exceed the middle one by much but in noise.
        share = np.sqrt(power) / np.maximum(magnitude, np.sqrt(power) / 2 + _TINY)
        yield share * np.exp(1j * np.angle(resting))


def _clear_roots(echoes: Echoes, field_phase: Images) -> Iterator[tuple[NDArray[np.complex64], Images]]:
    """Give the roots where they are clear, and the power of the middle echo there, slice by slice."""
    for root, middle in zip(_roots(echoes, field_phase), echoes[1], strict=True):
        clear = np.abs(root) > _CLEAR
        yield root[clear], np.abs(middle[clear]) ** 2


def _fit(echoes: Echoes, field_phase: Images, start: _Start, root: NDArray[np.complex64]) -> tuple[Images, ...]:
    """Give fat, water and the smoothed field of a slice."""
    before, middle, after = echoes
    power, fraction = np.abs(before) * np.abs(after), start.fraction(root).astype(np.float32)
    fat_before, _, fat_after = (1 - fraction + fraction * np.complex64(c) for c in start.phasors)
    fat_turn = np.angle(fat_after * fat_before.conj()) / 2
    decay = (_log(before * fat_after) - _log(after * fat_before)) / 2
    weight = _smoothed(power) + _TINY
    field = _smoothed(power * (field_phase - fat_turn)) / weight
    decay = np.clip(_smoothed(power * decay) / weight, 0, _FASTEST)
    rest = np.exp(1j * field - decay)
    return *_solve((before * rest, middle * np.complex64(start.refined), after / rest), start.phasors), field


def _log(values: NDArray[np.complex64]) -> Images:
    return np.asarray(np.log(np.maximum(np.abs(values), _TINY)))


def _smoothed(images: NDArray[Any]) -> Images:
    """Average over the neighbourhood within a slice."""
    return np.asarray(ndimage.gaussian_filter(images, _SMOOTH, mode="nearest", truncate=2.5))


def _solve(resting: Echoes, phasors: Phasors) -> tuple[Images, Images]:
    """Give the fat and water, real but for one phase in common, that fit echoes without field and decay best."""
    model = np.stack([np.ones(3), phasors], axis=1)
    normal = np.linalg.inv((model.conj().T @ model).real)
    water_side, fat_side = (
        sum(np.complex64(c) * echo for c, echo in zip(column, resting, strict=True)) for column in model.conj().T
    )
    # The best phase makes the explained part of the signal greatest: half the phase of b' (A'A)^-1 b.
    explained = normal[0, 0] * water_side**2 + 2 * normal[0, 1] * water_side * fat_side + normal[1, 1] * fat_side**2
    phase = np.exp(-0.5j * np.angle(explained))
    phase *= np.where((resting[1] * phase).real < 0, -1, 1)
    water_side, fat_side = (water_side * phase).real, (fat_side * phase).real
    water = normal[0, 0] * water_side + normal[0, 1] * fat_side
    fat = normal[1, 0] * water_side + normal[1, 1] * fat_side
    return fat.astype(np.float32), water.astype(np.float32)
