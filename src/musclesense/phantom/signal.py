"""The signal of a three-echo gradient echo at 3 T: complex echoes of a drawn slice, as a scanner stores them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.imaging.dixon import ECHO_TIMES_MS
from musclesense.phantom.anatomy import Tissue
from musclesense.phantom.texture import Floats

LARMOR_MHZ = 127.74
PHASE_LEVELS = 4096
POINT_SPREAD = 0.45
"""Standard deviation, in voxels, of the blur that the scanner's k-space filter adds."""
SCANNER_UNIT = 400.0
"""Stored value of a muscle voxel at the centre of the coil."""

FAT_PPM = np.array([-3.80, -3.40, -2.60, -1.94, -0.39, 0.60])
FAT_SHARES = np.array([0.087, 0.693, 0.128, 0.004, 0.039, 0.049])
"""Chemical shift against water, and relative size, of the peaks of human fat
(Hamilton et al., NMR in Biomedicine 2011;24:784-790)."""

TR_MS = 125.0
FLIP_DEGREES = 10.0
"""Not told for the protocol; low, as is usual where fat is quantified, to keep the T1 weighting of fat small. What a
separation with one fat peak then reads is in docs/phantom.md."""
T1_MUSCLE_MS, T1_FAT_MS = 1420.0, 371.0
"""Longitudinal relaxation at 3 T (Gold et al., American Journal of Roentgenology 2004;183:343-351)."""

# Density relative to healthy muscle (flow makes blood bright), fat fraction, and R2* in 1/s.
_TISSUES = {
    Tissue.AIR: (0.0, 0.0, 0.0),
    Tissue.SKIN: (0.55, 0.15, 60.0),
    Tissue.SUBCUTANEOUS_FAT: (1.0, 0.90, 30.0),
    Tissue.CONNECTIVE: (0.8, 0.78, 50.0),
    Tissue.FASCIA: (0.45, 0.40, 80.0),
    Tissue.INTERMUSCULAR_FAT: (0.95, 0.87, 35.0),
    Tissue.MUSCLE: (1.0, 0.0, 35.0),
    Tissue.CORTEX: (0.06, 0.5, 600.0),
    Tissue.MARROW: (1.0, 0.92, 50.0),
    Tissue.BLOOD: (1.15, 0.02, 25.0),
    Tissue.NERVE: (0.75, 0.40, 35.0),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Scanner:
    """How a session's scan turns tissue into signal.

    Attributes:
        flip_degrees: Flip angle that the tissue sees.
        noise: Standard deviation of the noise in each of the real and imaginary parts, relative to muscle.
        field_hz: Coefficients of the B0 field's polynomial in (x, y, z), shape (10,).
        coils: Position (x, y), in units of the half frame, and strength of coil elements, shape (elements, 3).
        phase: Coefficients of the transmit and receive phase in radians, shape (10,).
    """

    flip_degrees: float
    noise: float
    field_hz: NDArray[np.float64]
    coils: NDArray[np.float64]
    phase: NDArray[np.float64]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "Scanner":
        """Draw a shim, a coil array's lie and a noise level."""
        angles = np.linspace(0, 2 * np.pi, 8, endpoint=False) + rng.uniform(0, 0.7)
        distance = rng.uniform(1.1, 1.4, 8)
        return cls(
            flip_degrees=float(rng.normal(FLIP_DEGREES, 0.8)),
            noise=float(rng.uniform(0.010, 0.028)),
            field_hz=rng.normal(0, 1, 10) * np.array([15, 18, 12, 8, 18, 12, 12, 5, 5, 3]),
            coils=np.stack([distance * np.cos(angles), distance * np.sin(angles), rng.uniform(0.6, 1.4, 8)], axis=-1),
            phase=rng.normal(0, 1, 10) * np.array([2, 0.8, 0.6, 0.3, 0.4, 0.3, 0.3, 0.1, 0.1, 0.1]),
        )

    @property
    def fat_gain(self) -> float:
        """Brightness of fat relative to muscle of the same density, in the steady state of a spoiled gradient echo."""
        cos = np.cos(np.deg2rad(self.flip_degrees))
        fat, muscle = ((1 - e) / (1 - e * cos) for e in (np.exp(-TR_MS / T1_FAT_MS), np.exp(-TR_MS / T1_MUSCLE_MS)))
        return float(fat / muscle)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A slice with both limbs, drawn on points finer than voxels: arrays (rows, columns).

    Attributes:
        tissue: ``Tissue`` of each point.
        muscle_fat: Fat fraction of each point of muscle, 0 to 1.
        density: Density relative to that usual for the tissue.
        compartment: Value of the muscle on its side, 0 elsewhere.
    """

    tissue: NDArray[np.uint8]
    muscle_fat: Floats
    density: Floats
    compartment: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class Signal:
    """The noiseless content of the voxels of a slice, shape (rows, columns), and of its echoes (3, rows, columns)."""

    echoes: NDArray[np.complex64]
    fat_fraction: Floats


def fat_phasor(echo_time_ms: float) -> complex:
    """Give the sum of the fat peaks at an echo time, relative to water on resonance."""
    cycles = FAT_PPM * LARMOR_MHZ * echo_time_ms / 1000
    return complex(FAT_SHARES @ np.exp(2j * np.pi * cycles))


def slice_signal(drawing: Drawing, scanner: Scanner, *, oversampling: int, level: float, aspect: float) -> Signal:
    """Turn a finely drawn slice into complex echoes in voxels, before noise.

    The true fat fraction is that of the densities: T1 weighting and the shape of the fat spectrum are not in it.

    Args:
        drawing: The slice.
        scanner: The session's scanner.
        oversampling: Fine points along the side of a voxel.
        level: Position of the slice in the stack, -1 to 1.
        aspect: Height of the frame relative to its width.
    """
    strength, fraction, decay = (np.array(column, np.float32) for column in zip(*_TISSUES.values(), strict=True))
    tissue = drawing.tissue
    share = np.where(tissue == Tissue.MUSCLE, drawing.muscle_fat, fraction[tissue])
    density = strength[tissue] * drawing.density
    fat, water = density * share, density * (1 - share)
    rows, columns = (n // oversampling for n in tissue.shape)
    y, x = np.meshgrid(
        np.linspace(-aspect, aspect, rows, dtype=np.float32),
        np.linspace(-1, 1, columns, dtype=np.float32),
        indexing="ij",
    )
    sensitivity = _sensitivity(scanner, x, y) * np.exp(1j * _polynomial(scanner.phase, x, y, level))
    field = _polynomial(scanner.field_hz, x, y, level)
    echoes = []
    for echo_time in ECHO_TIMES_MS:
        kept = np.exp(-decay * np.float32(echo_time / 1000))[tissue]
        fat_signal = scanner.fat_gain * fat_phasor(echo_time) * _mean(fat * kept, oversampling)
        mixed = _mean(water * kept, oversampling) + fat_signal
        echoes.append(mixed * sensitivity * np.exp(2j * np.pi * field * echo_time / 1000))
    total, fat = _mean(density, oversampling), _mean(fat, oversampling)
    # A trace of signal, as in cortical bone or at the rim of the skin, has no meaningful fraction.
    percent = np.where(total > 0.1, 100 * fat / np.maximum(total, 0.1), 0)
    blurred = ndimage.gaussian_filter(np.stack(echoes), (0, POINT_SPREAD, POINT_SPREAD))
    return Signal(echoes=blurred.astype(np.complex64), fat_fraction=percent.astype(np.float32))


def acquire(rng: np.random.Generator, echoes: NDArray[np.complex64], scanner: Scanner) -> NDArray[np.complex64]:
    """Add complex Gaussian noise and scale to the unit of the scanner."""
    noise = rng.standard_normal((2, *echoes.shape), dtype=np.float32) * np.float32(scanner.noise)
    return np.asarray(SCANNER_UNIT * (echoes + noise[0] + 1j * noise[1]), dtype=np.complex64)


def stored(echo: NDArray[np.complex64]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Give magnitude and phase as a Siemens scanner stores them: whole numbers, 0..4095 for 0..2 pi."""
    turns = np.angle(echo) / (2 * np.pi)
    phase = np.rint(turns * PHASE_LEVELS).astype(np.int16) % PHASE_LEVELS
    return np.rint(np.abs(echo)).astype(np.int16), phase.astype(np.int16)


def loaded(magnitude: NDArray[np.int16], phase: NDArray[np.int16]) -> NDArray[np.complex64]:
    """Give the complex echo back, as a reader of the stored images sees it."""
    return np.asarray(magnitude * np.exp(1j * (np.float32(2 * np.pi / PHASE_LEVELS) * phase)), dtype=np.complex64)


def _mean(fine: NDArray[Any], oversampling: int) -> NDArray[Any]:
    """Average blocks of points into voxels."""
    rows, columns = fine.shape
    total = np.zeros((rows // oversampling, columns // oversampling), fine.dtype)
    for row in range(oversampling):
        for column in range(oversampling):
            total += fine[row::oversampling, column::oversampling]
    return np.asarray(total / np.float32(oversampling**2))


def _polynomial(coefficients: NDArray[np.float64], x: Floats, y: Floats, z: float) -> Floats:
    """Evaluate a polynomial of second order in x, y, z and one of third order in x."""
    c = coefficients.tolist()  # Python's floats keep float32 arrays what they are.
    offset, along_x, along_y = c[0] + c[3] * z, c[1] + c[7] * z, c[2] + c[8] * z
    value = offset + x * (along_x + x * (c[4] + c[9] * x) + c[6] * y) + y * (along_y + c[5] * y)
    return np.asarray(value, dtype=np.float32)


def _sensitivity(scanner: Scanner, x: Floats, y: Floats) -> Floats:
    """Sum of squares of the coil elements, 1 on average over the frame."""
    square = np.zeros(x.shape, np.float32)
    for at_x, at_y, strength in scanner.coils.tolist():
        square += (strength / (0.25 + (x - at_x) ** 2 + (y - 0.5 * at_y) ** 2)) ** 2
    profile = np.sqrt(square)
    return np.asarray(profile / profile.mean(), dtype=np.float32)
