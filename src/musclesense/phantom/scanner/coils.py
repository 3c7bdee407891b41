"""What varies smoothly over a slice: the sensitivity of coil arrays, and polynomial fields."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.phantom.texture import Floats

COARSE_MM = 8.0
UNIT_MM = 200.0
"""Length that is 1 in the polynomials of fields."""

Map = Callable[[NDArray[Any], NDArray[Any], float], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class SmoothMap:
    """Reads smooth functions of (x, y, z) in mm over a slice: at nodes some mm apart, linear between them."""

    shape: tuple[int, int]
    voxel_mm: float
    z_mm: float

    def coarse(self, function: Map) -> NDArray[Any]:
        """Give the values at the nodes; x grows along the columns and y along the rows, both 0 at the centre."""
        y, x = (np.linspace(-0.5, 0.5, _nodes(size, self.voxel_mm)) * (size - 1) * self.voxel_mm for size in self.shape)
        return function(*np.meshgrid(x, y), self.z_mm)

    def fine(self, nodes: NDArray[Any]) -> Floats:
        """Bring values at nodes to every voxel."""
        rows, columns = (between(*sizes) for sizes in zip(self.shape, nodes.shape, strict=True))
        return np.asarray(rows @ nodes.astype(np.float32) @ columns.T)


@dataclass(frozen=True, eq=False)
class Coils:
    """Receiving loops, whose images are put together by the root of the sum of squares."""

    places: NDArray[np.float64]  # position (x, y, z) of each loop in mm, and its strength: shape (elements, 4)
    radius_mm: float  # radius of a loop: how fast its sensitivity falls off
    strength: float  # what is left of the shading: 1 for all, 0 for none (a scanner may even it out)

    @classmethod
    def above_and_below(cls, rng: np.random.Generator, half_width_mm: float, half_height_mm: float) -> "Coils":
        """Draw a flexible array laid over the limbs, and one in the table."""
        across = np.linspace(-1, 1, 6)
        elements = []
        for z in rng.uniform(-60, 60) + np.array([-90.0, 0.0, 90.0]):
            # The upper array hangs down at the sides.
            hang = rng.uniform(0.2, 0.9) * half_height_mm * np.abs(across) ** 3
            top = -(half_height_mm + rng.uniform(5, 30)) + hang
            elements += list(
                zip(1.15 * half_width_mm * across, top, np.full(6, z), rng.lognormal(0, 0.35, 6), strict=True)
            )
            table = half_height_mm + rng.uniform(10, 35)
            gain = rng.lognormal(-0.1, 0.3)
            elements += [(0.9 * half_width_mm * at, table, z, gain * rng.lognormal(0, 0.3)) for at in across]
        return cls(np.array(elements), float(rng.uniform(45, 65)), float(rng.uniform(0.65, 0.95)))

    @classmethod
    def ring(cls, rng: np.random.Generator, radius_mm: float = 90.0) -> "Coils":
        """Draw a rigid coil around one limb: fifteen elements in three rings, as a knee coil has."""
        elements = []
        for z in (-60.0, 0.0, 60.0):
            for angle in rng.uniform(0, 2 * np.pi) + np.arange(5) * 2 * np.pi / 5:
                elements.append((radius_mm * np.cos(angle), radius_mm * np.sin(angle), z, rng.lognormal(0, 0.1)))
        return cls(np.array(elements), 55.0, float(rng.uniform(0.4, 0.9)))

    def sensitivity(self, x_mm: NDArray[Any], y_mm: NDArray[Any], z_mm: float) -> NDArray[Any]:
        """Give the sensitivity at points, 1 at the centre."""

        def received(x: NDArray[Any], y: NDArray[Any], z: float) -> NDArray[Any]:
            at_x, at_y, at_z, gain = self.places.T
            apart = (x[..., None] - at_x) ** 2 + (y[..., None] - at_y) ** 2 + (z - at_z) ** 2
            return np.asarray(np.sum((gain / (self.radius_mm**2 + apart) ** 1.5) ** 2, axis=-1))

        centre = received(np.zeros(()), np.zeros(()), 0.0)
        return np.asarray((received(x_mm, y_mm, z_mm) / centre) ** (self.strength / 2))


def polynomial(coefficients: NDArray[np.float64], x_mm: NDArray[Any], y_mm: NDArray[Any], z_mm: float) -> NDArray[Any]:
    """Evaluate a polynomial of second order in x, y and z, and of third in x."""
    c, x, y, z = coefficients, x_mm / UNIT_MM, y_mm / UNIT_MM, z_mm / UNIT_MM
    offset, along_x, along_y = c[0] + c[3] * z, c[1] + c[7] * z, c[2] + c[8] * z
    return np.asarray(offset + x * (along_x + x * (c[4] + c[9] * x) + c[6] * y) + y * (along_y + c[5] * y))


def _nodes(size: int, voxel_mm: float) -> int:
    return max(2, round(size * voxel_mm / COARSE_MM))


@cache
def between(size: int, nodes: int) -> Floats:
    """Give the weights, (size, nodes), that read values at nodes at ``size`` points from the first to the last."""
    at = np.linspace(0, nodes - 1, size)
    return np.asarray(np.maximum(1 - np.abs(at[:, None] - np.arange(nodes)), 0), dtype=np.float32)
