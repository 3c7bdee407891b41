"""A T2-weighted turbo spin echo at 3 T, as fat and water images that the vendor's software has made."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from musclesense.dixon.fat import T1_FAT_MS
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.coils import Coils, SmoothMap
from musclesense.phantom.scanner.signal import (
    OEDEMA_T1,
    Drawing,
    by_tissue,
    kspace_filter,
    true_fat_fraction,
    water_and_fat,
)

TR_MS, TE_MS = 3500.0, 73.0
UNIT = 400.0
"""Stored value of fat at the centre, where the coil's sensitivity is 1."""
T2_FAT_MS = 133.0
"""At 3 T (Gold et al., American Journal of Roentgenology 2004;183:343-351)."""
FAT_GAIN = 1.5
"""Trains of refocusing pulses make fat brighter than its T2 says; how much is a guess."""
OEDEMA_T2 = 1.6
"""How much longer the T2 of muscle is where it is wholly oedematous."""

_T1_MS, _T2_MS = by_tissue("t1_ms"), by_tissue("t2_ms")  # of water


@dataclass(frozen=True, kw_only=True, eq=False)
class TseScanner:
    """How a scan turns tissue into fat and water images: the same at all sessions of a subject."""

    noise: float  # standard deviation of the noise relative to fat
    coils: Coils  # the receiving elements
    blood: float  # what is left of flowing blood: slow veins are bright, fast vessels empty
    leak: tuple[float, float]  # part of the water's signal in the fat image, and of the fat's in the water image
    resolution_mm: tuple[float, float]  # acquired along rows and columns; finer voxels are interpolated
    axes: float  # 1 where stored axes run to right and anterior, -1 to left and posterior

    @classmethod
    def sample(cls, rng: np.random.Generator) -> "TseScanner":
        """Draw a knee coil's lie, a noise level and how well fat and water came apart."""
        return cls(
            noise=float(rng.uniform(0.005, 0.012)),
            coils=Coils.ring(rng),
            blood=float(rng.uniform(0.05, 1.0)),
            leak=(float(rng.uniform(0.02, 0.1)), float(rng.uniform(0.01, 0.05))),
            resolution_mm=(float(rng.uniform(0.45, 0.7)), float(rng.uniform(0.36, 0.55))),
            axes=float(rng.choice([-1.0, 1.0])),
        )

    def images(
        self, rng: np.random.Generator, drawing: Drawing, *, voxel_mm: float, z_mm: float
    ) -> dict[str, NDArray[Any]]:
        """Give the vendor's ``fat`` and ``water`` images of a slice, of 12 bits, and its ``fat_fraction``."""
        water, fat = water_and_fat(drawing)
        percent = true_fat_fraction(water, fat, voxel_mm=voxel_mm, resolution_mm=self.resolution_mm)
        weight = np.array([_weight(t1, t2) for t1, t2 in zip(_T1_MS, _T2_MS, strict=True)], np.float32)
        weight[Tissue.BLOOD] *= self.blood
        swollen = _weight(OEDEMA_T1 * _T1_MS[Tissue.MUSCLE], OEDEMA_T2 * _T2_MS[Tissue.MUSCLE])
        water *= weight[drawing.tissue] + np.float32(swollen - weight[Tissue.MUSCLE]) * drawing.oedema
        fat *= np.float32(FAT_GAIN * _weight(T1_FAT_MS, T2_FAT_MS))
        smooth = SmoothMap(drawing.tissue.shape[1:], voxel_mm, z_mm)
        sensitivity = smooth.fine(smooth.coarse(self.coils.sensitivity))
        fat_gain = np.float32(FAT_GAIN * np.exp(-TE_MS / T2_FAT_MS))
        pure = np.stack([fat.mean(axis=0), water.mean(axis=0)]) * (sensitivity / fat_gain)
        leaky = np.stack([pure[0] + self.leak[0] * pure[1], pure[1] + self.leak[1] * pure[0]])
        window = kspace_filter(leaky.shape[-2:], voxel_mm, self.resolution_mm)
        noise = rng.standard_normal((*leaky.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        noise *= np.float32(self.noise / np.sqrt(np.mean(np.square(window))))
        images = np.abs(fft.ifft2(fft.fft2(leaky + noise) * window))
        fat_image, water_image = np.rint(np.minimum(UNIT * images, 4095)).astype(np.int16)
        return {"fat": fat_image, "water": water_image, "fat_fraction": percent}


def _weight(t1_ms: float, t2_ms: float) -> float:
    """Give what is left of a magnetisation of 1 at the echo."""
    return float((1 - np.exp(-TR_MS / t1_ms)) * np.exp(-TE_MS / t2_ms))
