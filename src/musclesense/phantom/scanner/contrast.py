"""How bright a drawn slice is in images in which fat is bright, each tissue near its usual value or off it."""

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.signal import OEDEMA_DENSITY, Drawing, by_tissue, shifted
from musclesense.phantom.texture import Floats


class Contrast(StrEnum):
    """Images in which fat is bright."""

    FAT = "fat"
    T1 = "t1"
    PROTON_DENSITY = "pd"


_USUAL = Tissue.NERVE + 1  # the tissues beyond are drawn in other images
_WATER, _FAT = (by_tissue(name)[:_USUAL].astype(np.float32) for name in ("water_shown", "fat_shown"))
_WATER_SHOWN = {Contrast.FAT: (0.0, 0.06), Contrast.T1: (0.18, 0.45), Contrast.PROTON_DENSITY: (0.4, 0.7)}
_FAT_SHIFT_MM = {Contrast.FAT: 0.0, Contrast.T1: 2.0, Contrast.PROTON_DENSITY: 2.0}
"""How far fat may lie off along the columns where it is seen beside water."""
SWAPPED = 0.06
"""Share of the fat images of a Dixon separation in which fat and water are swapped somewhere."""


def brightness(
    rng: np.random.Generator, drawing: Drawing, *, voxel_mm: float, usual: bool, swaps: np.random.Generator | None
) -> Floats:
    """Turn a drawing into brightness, (rows, columns), 1 for fat tissue, averaged over the points of each voxel.

    ``usual`` gives the fat image of a Dixon separation, each tissue as bright as usual, instead of any contrast. By the
    random state ``swaps`` a separation swaps fat and water; without one it never does.
    """
    water, fat, contrast = _WATER.copy(), _FAT.copy(), Contrast.FAT
    if not usual:
        contrast = (Contrast.FAT, Contrast.T1, Contrast.PROTON_DENSITY)[int(rng.choice(3, p=(0.65, 0.22, 0.13)))]
        off = rng.lognormal(0, 0.1, (2, _USUAL)).astype(np.float32)
        water, fat = water * off[0], fat * off[1]
        fat[Tissue.SKIN] *= np.float32(rng.uniform(0, 4))  # from not seen at all to a bright rim
        water[Tissue.BLOOD] *= np.float32(rng.choice([0.1, 1.0, 1.6]))  # flow empties or refreshes a slice
        fat[Tissue.MARROW] *= np.float32(rng.uniform(0.4, 1.1))  # trabeculae dephase it, and some of it is red
        decayed = np.float32(rng.uniform(0.1, 1.2))  # tendons are mostly black
        water[Tissue.FASCIA], fat[Tissue.FASCIA] = decayed * water[Tissue.FASCIA], decayed * fat[Tissue.FASCIA]
    share = np.where(drawing.tissue == Tissue.MUSCLE, drawing.muscle_fat, 1)
    left = np.where(drawing.tissue == Tissue.MUSCLE, 1 - drawing.muscle_fat, 1)
    left *= 1 + np.float32(OEDEMA_DENSITY) * drawing.oedema
    of_fat = (drawing.density * fat[drawing.tissue] * share).mean(axis=0)
    of_water = (drawing.density * water[drawing.tissue] * left).mean(axis=0)
    shown = np.float32(rng.uniform(*_WATER_SHOWN[contrast]))
    of_fat = shifted(of_fat, _FAT_SHIFT_MM[contrast] / voxel_mm * float(rng.uniform(-1, 1)))
    image = of_fat + shown * of_water
    if swaps is not None and contrast is Contrast.FAT and swaps.random() < SWAPPED:
        image = np.where(_sample_swapped(swaps, drawing.tissue.shape[1:]), of_water + shown * of_fat, image)
    return np.asarray(image, np.float32)


def other_greys(rng: np.random.Generator, image: Floats) -> Floats:
    """Bend the scale of grey, as a scanner's own processing may."""
    bright = np.float32(np.percentile(image, 99) + 1e-6)
    return np.asarray(bright * (image / bright) ** np.float32(np.exp(rng.normal(0, 0.18))), np.float32)


def _sample_swapped(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Draw where fat and water are swapped: in half of the frame, or where a smooth field is high."""
    rows, columns = shape
    if rng.random() < 0.5:
        left = np.arange(columns) < columns / 2
        return np.broadcast_to(left if rng.random() < 0.5 else ~left, (rows, columns))
    nodes = rng.standard_normal((4, 6), dtype=np.float32)
    field = ndimage.zoom(nodes, (rows / 4, columns / 6), order=3, mode="nearest", grid_mode=True)
    high: NDArray[np.bool_] = np.greater(field, np.quantile(field, rng.uniform(0.6, 0.95)))
    return high
