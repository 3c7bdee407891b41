"""The signal of a three-echo gradient echo at 3 T: complex echoes of a drawn slice, as a scanner stores them."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from musclesense.dixon.fat import T1_FAT_MS, T1_MUSCLE_MS, fat_phasor, spoiled_signal
from musclesense.dixon.separation import ECHO_TIMES_MS
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.coils import Coils, SmoothMap, polynomial
from musclesense.phantom.tables import read_table
from musclesense.phantom.texture import Floats

_TISSUES = read_table("scanner/tissues.yaml")


def by_tissue(name: str) -> NDArray[np.float64]:
    """Give a column of ``tissues.yaml``, the physics of each tissue, as an array whose index is the `Tissue`.

    >>> float(by_tissue("t2_ms")[Tissue.MUSCLE])
    32.0
    """
    column = _TISSUES["columns"].index(name)
    return np.array([_TISSUES[tissue.name.lower()][column] for tissue in Tissue], float)


PHASE_LEVELS = 4096
SCANNER_UNIT = 50.0
"""Stored value of a muscle voxel at the centre, where the coil's sensitivity is 1: somewhat below real ones."""
AVERAGES = 4
SUPPRESSED = 4.0
"""Phases are stored as 0 where the magnitude is below so many standard deviations of the noise, as some scanners do:
the phase of noise, unlike its magnitude, would fill half the disk."""

SHIMMED_HZ = np.array([20, 22, 15, 20, 20, 15, 12, 8, 8, 4])
OFF_CENTRE_HZ = np.array([150, 800, 60, 250, 150, 60, 60, 60, 40, 40])
"""Spread of the coefficients of B0 after a usual shim, and after one that failed or was made for another place: the
field then differs so much between limbs, or between slices, that no one centre frequency suits all of them."""
POOR_SHIM, OFF_CENTRE = 0.06, 0.04
"""Share of the scans whose shim is twice as bad as usual, and of those whose shim is off."""

TR_MS = 125.0
FLIP_DEGREES = 10.0
"""Not told for the protocol; low, as is usual where fat is quantified, to keep the T1 weighting of fat small. What a
separation with one fat peak then reads is in docs/concepts/phantom.md."""

DENSITY, FAT_FRACTION, R2STAR = (by_tissue(name).astype(np.float32) for name in ("density", "fat_fraction", "r2star"))
OEDEMA_DENSITY = 0.12
"""How much more water muscle holds where it is wholly oedematous."""
OEDEMA_T1 = 1.25
"""How much longer its water's T1 then is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A slice, drawn at several points of each voxel: arrays (points, rows, columns)."""

    tissue: NDArray[np.uint8]  # ``Tissue`` of each point
    muscle_fat: Floats  # fat fraction of each point of muscle, 0 to 1
    density: Floats  # density relative to that usual for the tissue
    oedema: Floats  # how oedematous the muscle is, 0 to 1
    compartment: NDArray[np.uint8]  # value of the muscle on its side, 0 elsewhere


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanner:
    """How a scan turns tissue into signal: the same at all sessions of a subject."""

    flip_degrees: float  # flip angle at the centre
    noise: float  # standard deviation of the noise in the real and in the imaginary part after averaging; muscle is 1
    field_hz: NDArray[np.float64]  # coefficients of the B0 field's polynomial, shape (10,)
    flip_map: NDArray[np.float64]  # coefficients of the polynomial of the relative flip angle, shape (10,)
    phase: NDArray[np.float64]  # coefficients of the transmit and receive phase in radians, shape (10,)
    coils: Coils  # the receiving elements
    blood: float  # brightness that flow gives to blood: above 1 fresh, near 0 emptied or saturated
    ghosts: float  # strength of each ghost of pulsating blood along the phase-encoding axis (rows), 0 for none
    ghost_shift: float  # distance of the ghosts, as a part of the rows
    fat_shift: float  # how far fat lies off along the read-out (columns), in voxels
    resolution_mm: tuple[float, float]
    """That of the image along rows and columns, with what the filter, phase encoding and motion between the averages
    take; finer voxels are interpolated. Muscle borders in the thighs of ``demo`` are still sharper than on two real
    scans (docs/reports/2026-11-phantom.md); other presets were not measured."""
    axes: float  # 1 where stored axes run to right and anterior, -1 to left and posterior

    @classmethod
    def sample(cls, rng: np.random.Generator, half_width_mm: float = 170.0, half_height_mm: float = 80.0) -> "Scanner":
        """Draw a shim, a coil array around a body of this size, and a noise level."""
        shim, spread = rng.random(), SHIMMED_HZ
        if shim >= 1 - OFF_CENTRE:
            spread = OFF_CENTRE_HZ
        elif shim >= 1 - OFF_CENTRE - POOR_SHIM:
            spread = 2 * SHIMMED_HZ
        single = rng.uniform(0.018, 0.036)
        return cls(
            flip_degrees=float(rng.normal(FLIP_DEGREES, 0.5)),
            noise=float(single / np.sqrt(AVERAGES)),
            field_hz=spread * rng.normal(0, 1, 10),
            flip_map=np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            + rng.normal(0, 1, 10) * np.array([0, 0.05, 0.03, 0.02, 0.06, 0.06, 0.04, 0, 0, 0]),
            phase=rng.normal(0, 1, 10) * np.array([2, 0.8, 0.6, 0.3, 0.4, 0.3, 0.3, 0.1, 0.1, 0.1]),
            coils=Coils.above_and_below(rng, half_width_mm, half_height_mm),
            blood=float(rng.uniform(0.85, 1.5) if rng.random() < 0.75 else rng.uniform(0.15, 0.6)),
            ghosts=float(rng.uniform(0.01, 0.06) if rng.random() < 0.5 else 0.0),
            ghost_shift=float(rng.uniform(0.08, 0.3)),
            fat_shift=float(rng.choice([-1, 1]) * rng.uniform(0.2, 0.8)),
            resolution_mm=(float(rng.uniform(1.2, 1.8)), float(rng.uniform(1.0, 1.5))),
            axes=float(rng.choice([-1.0, 1.0])),
        )

    def images(
        self, rng: np.random.Generator, drawing: Drawing, *, voxel_mm: float, z_mm: float
    ) -> dict[str, NDArray[Any]]:
        """Give stored ``magnitudes`` and ``phases``, (3, rows, columns), of a slice, and its ``fat_fraction``."""
        signal = slice_signal(drawing, self, voxel_mm=voxel_mm, z_mm=z_mm)
        magnitudes, phases = as_stored(acquire(rng, signal.echoes, self, voxel_mm=voxel_mm), self)
        return {"magnitudes": magnitudes, "phases": phases, "fat_fraction": signal.fat_fraction}


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """The noiseless content of the voxels of a slice."""

    echoes: NDArray[np.complex64]  # (3, rows, columns); 1: healthy muscle, unrelaxed, at the centre of the coils
    fat_fraction: Floats  # true, of the densities, in percent, as finely as acquired; (rows, columns)


def water_and_fat(drawing: Drawing) -> tuple[Floats, Floats]:
    """Give the density of water and of fat at each point, relative to healthy muscle."""
    fraction, density = FAT_FRACTION[drawing.tissue], DENSITY[drawing.tissue]
    fraction += drawing.muscle_fat  # 0 but in muscle, whose own entry is 0
    density *= drawing.density
    fat = density * fraction
    density -= fat
    density *= 1 + np.float32(OEDEMA_DENSITY) * drawing.oedema
    return density, fat


def true_fat_fraction(water: Floats, fat: Floats, *, voxel_mm: float, resolution_mm: tuple[float, float]) -> Floats:
    """Give the fat fraction of voxels in percent, (rows, columns), from densities at (points, rows, columns).

    It is as fine as the resolution acquired along rows and columns: without the scanner's filter the truth would be
    sharper than any image, and differ from it at every streak. Where there is but a trace of signal, as in cortical
    bone, it is 0.
    """
    both = water.mean(axis=0) + np.complex64(1j) * fat.mean(axis=0)
    filtered = _filtered(both, kspace_filter(both.shape, voxel_mm, resolution_mm))
    total = filtered.real + filtered.imag
    percent = 100 * filtered.imag / np.maximum(total, np.float32(0.1))
    return np.where(total > 0.1, np.clip(percent, 0, 100), np.float32(0)).astype(np.float32)


def slice_signal(drawing: Drawing, scanner: Scanner, *, voxel_mm: float, z_mm: float = 0.0) -> Signal:
    """Turn a drawn slice into complex echoes in voxels, before noise and before the scanner's filter.

    The true fat fraction is that of the densities: T1 weighting and the shape of the fat spectrum are not in it.
    ``z_mm`` is the position of the slice along the stack; 0 is its middle.
    """
    water, fat = water_and_fat(drawing)
    percent = true_fat_fraction(water, fat, voxel_mm=voxel_mm, resolution_mm=scanner.resolution_mm)
    water *= 1 - _t1_loss() * drawing.oedema
    bloody = drawing.tissue == Tissue.BLOOD
    water[bloody] *= np.float32(scanner.blood)
    smooth = SmoothMap(drawing.tissue.shape[1:], voxel_mm, z_mm)
    flip = scanner.flip_degrees * smooth.coarse(partial(polynomial, scanner.flip_map))
    nominal = spoiled_signal(scanner.flip_degrees, TR_MS, T1_MUSCLE_MS)
    sensitivity = smooth.coarse(scanner.coils.sensitivity)
    water_gain = smooth.fine(sensitivity * spoiled_signal(flip, TR_MS, T1_MUSCLE_MS) / nominal)
    fat_gain = smooth.fine(sensitivity * spoiled_signal(flip, TR_MS, T1_FAT_MS) / nominal)
    turn = _unit_phasor(smooth.fine(smooth.coarse(partial(polynomial, scanner.phase))))
    hertz = smooth.fine(smooth.coarse(partial(polynomial, scanner.field_hz)))
    ghosts = _ghosts(bloody, scanner)

    echoes = np.empty((len(ECHO_TIMES_MS), *hertz.shape), np.complex64)
    for echo, echo_time in zip(echoes, ECHO_TIMES_MS, strict=True):
        kept = np.exp(-R2STAR * np.float32(echo_time / 1000))[drawing.tissue]
        in_place = shifted((fat * kept).mean(axis=0), scanner.fat_shift)
        np.multiply(in_place * fat_gain, np.complex64(fat_phasor(echo_time)), out=echo)
        echo += water_gain * ((water * kept).mean(axis=0) + ghosts)
        echo *= turn * _unit_phasor(np.float32(2 * np.pi * echo_time / 1000) * hertz)
    return Signal(echoes=echoes, fat_fraction=percent)


def acquire(
    rng: np.random.Generator, echoes: NDArray[np.complex64], scanner: Scanner, *, voxel_mm: float
) -> NDArray[np.complex64]:
    """Add complex Gaussian noise, filter k-space as acquired, and scale to the unit of the scanner.

    Signal and noise pass the same filter, so the noise is as fine or coarse as the image.
    """
    window = kspace_filter(echoes.shape[-2:], voxel_mm, scanner.resolution_mm)
    white = scanner.noise / np.sqrt(np.mean(np.square(window)))
    noisy = echoes.copy()
    parts = noisy.view(np.float32)
    parts += rng.standard_normal(parts.shape, dtype=np.float32) * np.float32(white)
    return _filtered(noisy, window * np.float32(SCANNER_UNIT))


def _filtered(images: NDArray[np.complex64], window: Floats) -> NDArray[np.complex64]:
    """Multiply the k-space of images, (..., rows, columns), by a window; what is given is overwritten."""
    space = fft.fft2(images, overwrite_x=True)
    space *= window
    return np.asarray(fft.ifft2(space, overwrite_x=True), dtype=np.complex64)


@lru_cache(maxsize=8)
def _roll_off(size: int, kept: float) -> Floats:
    distance = np.abs(np.fft.fftfreq(size)) * 2 / kept
    roll = np.clip((distance - 0.67) / 0.33, 0, 1)
    return np.where(distance <= 1, 0.5 * (1 + np.cos(0.8 * np.pi * roll)), 0).astype(np.float32)


def kspace_filter(shape: tuple[int, ...], voxel_mm: float, resolution_mm: tuple[float, float]) -> Floats:
    """Give a scanner's k-space filter, zero frequency first: the acquired part, its outer third rolled off.

    ``shape`` and ``resolution_mm``, as acquired, are along rows and columns.
    """
    rows, columns = (
        _roll_off(size, min(1.0, voxel_mm / acquired)) for size, acquired in zip(shape, resolution_mm, strict=True)
    )
    return rows[:, None] * columns


def as_stored(echo: NDArray[np.complex64], scanner: Scanner) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Give magnitude and phase as a scanner stores them: whole numbers to 4095, phases for 0..2 pi, 0 in noise."""
    magnitude = np.abs(echo)
    phase = np.rint(np.angle(echo) * np.float32(PHASE_LEVELS / (2 * np.pi))).astype(np.int16) % PHASE_LEVELS
    phase[magnitude < SUPPRESSED * scanner.noise * SCANNER_UNIT] = 0
    return np.rint(np.minimum(magnitude, PHASE_LEVELS - 1)).astype(np.int16), phase.astype(np.int16)


def as_complex(magnitude: NDArray[np.int16], phase: NDArray[np.int16]) -> NDArray[np.complex64]:
    """Give the complex echo back, as a reader of the stored images sees it."""
    turns = np.exp(2j * np.pi * np.arange(PHASE_LEVELS) / PHASE_LEVELS).astype(np.complex64)
    return np.asarray(magnitude.astype(np.float32) * turns[phase])


def _t1_loss() -> np.float32:
    """How much signal the longer T1 of oedema costs."""
    swollen, well = (spoiled_signal(FLIP_DEGREES, TR_MS, longer * T1_MUSCLE_MS) for longer in (OEDEMA_T1, 1.0))
    return np.float32(1 - swollen / well)


def _unit_phasor(angle: Floats) -> NDArray[np.complex64]:
    turned = np.empty(angle.shape, np.complex64)
    np.cos(angle, out=turned.real)
    np.sin(angle, out=turned.imag)
    return turned


def shifted(image: Floats, voxels: float) -> Floats:
    """Move an image along its columns by a part of a voxel, linear between voxels."""
    whole = int(np.floor(voxels))
    part = np.float32(voxels - whole)
    near = np.roll(image, whole, axis=-1)
    return (1 - part) * near + part * np.roll(near, 1, axis=-1)


def _ghosts(bloody: NDArray[np.bool_], scanner: Scanner) -> Floats | np.float32:
    """Give what pulsating blood leaves of itself along the rows: two ghosts on either side, the further fainter."""
    if scanner.ghosts == 0 or not bloody.any():
        return np.float32(0)
    blood = bloody.mean(axis=0, dtype=np.float32) * np.float32(scanner.ghosts * scanner.blood)
    step = int(scanner.ghost_shift * len(blood))
    near = np.roll(blood, step, axis=0) + np.roll(blood, -step, axis=0)
    far = np.roll(blood, 2 * step, axis=0) + np.roll(blood, -2 * step, axis=0)
    return np.asarray(near - np.float32(0.5) * far, dtype=np.float32)
