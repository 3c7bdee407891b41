"""From the signal of water and fat to a magnitude image: coils, noise, k-space, and what is done to images afterwards.

All that is linear in k-space is a product of one factor along rows and one along columns: the point spread, truncation
(which rings), zero filling, ghosts, and motion during the scan.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from musclesense.phantom.scanner.artefacts import shading
from musclesense.phantom.scanner.coils import between
from musclesense.phantom.scanner.signal import shifted
from musclesense.phantom.texture import Floats

COARSE_MM = 6.0
"""Distance of the nodes of smooth maps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Readout:
    """How an image is read out."""

    blur_mm: tuple[float, float] = (0.4, 0.4)  # standard deviation of the point spread along rows and columns
    keep: tuple[float, float] = (1.0, 1.0)  # part of k-space that is acquired
    fat_shift_mm: tuple[float, float] = (0.0, 0.0)  # how far fat lies off along rows and columns
    noise: float = 0.0  # standard deviation of the noise relative to the brightest tissue, before coils
    ghosts: float = 0.0  # strength of the two ghosts along the phase-encoding axis
    ghost_shift: float = 0.3  # distance of the ghosts, as a part of the image
    motion_mm: float = 0.0  # how far the limb moves in the plane while k-space is filled
    axis: int = 0  # phase encoding
    finer: float = 1.0  # how much finer than acquired the image is made by zero filling

    @classmethod
    def sample(cls, rng: np.random.Generator, *, artefacts: bool, noise: bool, resolution: bool) -> "Readout":
        """Draw how an image is read out, with what is to vary."""
        blur = rng.uniform(0.25, 0.9) * rng.uniform(0.8, 1.5, 2) if resolution else (0.4, 0.4)
        keep = rng.uniform(0.5, 1.0, 2) if rng.random() < 0.35 else (1.0, 1.0)
        axis = int(rng.integers(2))
        shift = [0.0, 0.0]
        shift[1 - axis] = float(rng.normal(0, 1.2))
        ghosts, moved = rng.random(2)
        parts = rng.uniform(size=4)
        return cls(
            blur_mm=(float(blur[0]), float(blur[1])),
            keep=(float(keep[0]), float(keep[1])) if artefacts else (1.0, 1.0),
            fat_shift_mm=(shift[0], shift[1]),
            noise=float(0.003 * 20 ** parts[0]) if noise else 0.0,
            ghosts=float(0.06 * parts[1]) if artefacts and ghosts < 0.25 else 0.0,
            ghost_shift=float(0.1 + 0.4 * parts[2]),
            motion_mm=float(0.5 + 3 * parts[3]) if artefacts and moved < 0.1 else 0.0,
            axis=axis,
            finer=float(rng.uniform(1.2, 2.4)) if resolution and rng.random() < 0.15 else 1.0,
        )

    def magnitude(
        self, rng: np.random.Generator, water: Floats, fat: Floats, turn: complex, gain: Floats | None, voxel_mm: float
    ) -> Floats:
        """Give the magnitude of water and fat, (rows, columns), received with a ``gain``."""
        for axis, shift in enumerate(self.fat_shift_mm):
            if shift:
                fat = shifted(fat if axis else fat.T, shift / voxel_mm)
                fat = fat if axis else fat.T
        signal = np.asarray(water + np.complex64(turn) * fat, np.complex64)
        if gain is not None:
            signal *= gain
        rows, columns = (self._window(rng, axis, size, voxel_mm) for axis, size in enumerate(signal.shape))
        if self.noise:
            white = self.noise / np.sqrt(np.mean(np.abs(rows) ** 2) * np.mean(np.abs(columns) ** 2))
            parts = signal.view(np.float32)
            parts += rng.standard_normal(parts.shape, dtype=np.float32) * np.float32(white * _bright(signal))
        space = fft.fft2(signal, overwrite_x=True)
        space *= rows[:, None]
        space *= columns
        return np.asarray(np.abs(fft.ifft2(self._filled(space), overwrite_x=True)), np.float32)

    def _window(self, rng: np.random.Generator, axis: int, size: int, voxel_mm: float) -> NDArray[np.complex64]:
        """Give what k-space is multiplied by along an axis, zero frequency first."""
        cycles = np.fft.fftfreq(size)
        window = np.exp(-2 * (np.pi * cycles * self.blur_mm[axis] / voxel_mm) ** 2).astype(np.complex128)
        window[np.abs(cycles) > self.keep[axis] / 2] = 0
        if axis == self.axis and self.ghosts:
            # A copy on either side, as signal that swells and fades while k-space is filled leaves.
            window *= 1 + 2 * self.ghosts * np.cos(2 * np.pi * cycles * int(self.ghost_shift * size))
        if axis == self.axis and self.motion_mm:
            course = ndimage.gaussian_filter1d(rng.standard_normal(size), size / 25, mode="nearest")
            course *= self.motion_mm / (np.abs(course).max() + 1e-9)
            window *= np.exp(2j * np.pi * cycles * np.fft.ifftshift(course) / voxel_mm)
        return np.asarray(window, np.complex64)

    def _filled(self, space: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """Pad k-space with zeros, zero frequency first."""
        if self.finer <= 1:
            return space
        shape = tuple(2 * round(size * self.finer / 2) for size in space.shape)
        filled = np.zeros(shape, np.complex64)
        corners = [(slice(0, (size + 1) // 2), slice(-(size // 2), None)) for size in space.shape]
        for row in corners[0]:
            for column in corners[1]:
                filled[row, column] = space[row, column]
        filled *= np.float32(filled.size / space.size)
        return filled


def _bright(signal: NDArray[np.complex64]) -> np.float32:
    """Give what is nearly the greatest magnitude, from a few of the pixels."""
    return np.float32(np.percentile(np.abs(signal[::3, ::3]), 98))


def coil_gain(rng: np.random.Generator, body: NDArray[np.bool_], voxel_mm: float) -> Floats:
    """Draw the sensitivity of coils over a frame, 1 on average: rings, gaps, loops on one side, a bright rim.

    ``body`` is where the limbs lie, (rows, columns).
    """
    step = max(1, round(COARSE_MM / voxel_mm))
    small = body[::step, ::step]
    shape = small.shape
    strength, blotches, gaps = (
        float(rng.uniform(0, 1.2)),
        float(rng.uniform(0, 0.35)),
        int(rng.choice(3, p=(0.6, 0.25, 0.15))),
    )
    gain = shading(rng, shape, strength=strength, blotches=blotches, gaps=gaps)
    rim, side = rng.random(2)
    if rim < 0.35:  # loops that lie on the skin
        depth = ndimage.distance_transform_edt(small) * step * voxel_mm
        gain = gain * (1 + rng.uniform(0.3, 4) * np.exp(-depth / rng.uniform(6, 22)))
    if side < 0.25:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
        apart = np.hypot(x - 1.1 * np.cos(angle), y - 1.1 * np.sin(angle))
        gain = gain * (1 + apart / rng.uniform(0.4, 1.2)) ** -float(rng.uniform(0.8, 2.5))
    rows, columns = (between(size, count) for size, count in zip(body.shape, shape, strict=True))
    return np.asarray(rows @ np.asarray(gain / gain.mean(), np.float32) @ columns.T)


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], nodes: tuple[int, int] = (4, 6)) -> Floats:
    """Draw a smooth random field of mean 0 and variance 1 at its nodes, (rows, columns)."""
    drawn = rng.standard_normal(nodes)
    rows, columns = (_spline(size, count) for size, count in zip(shape, nodes, strict=True))
    return np.asarray(rows @ drawn @ columns.T, np.float32)


def warped(
    rng: np.random.Generator, images: Floats, labels: NDArray[np.uint8], strength: float
) -> tuple[Floats, NDArray[np.uint8]]:
    """Bend images and their labels alike, by as many voxels, as gradients do away from the isocentre."""
    grid = np.indices(labels.shape, np.float32)
    at = grid + np.float32(strength) * np.stack([smooth_field(rng, labels.shape, (3, 4)) for _ in range(2)])
    bent = np.stack([ndimage.map_coordinates(image, at, order=1, mode="nearest") for image in images])
    return bent, ndimage.map_coordinates(labels, at, order=0, mode="nearest")


def _spline(size: int, nodes: int) -> NDArray[np.float64]:
    """Give the weights of a smooth curve through nodes: cosine steps between them."""
    at = np.linspace(0, nodes - 1, size)
    return np.asarray(np.maximum(0, np.cos(np.pi / 2 * np.clip(np.abs(at[:, None] - np.arange(nodes)), 0, 1)) ** 2))
