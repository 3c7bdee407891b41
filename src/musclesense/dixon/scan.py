"""Fat and water of one acquisition: three echoes in, images in the scanner's voxels out."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musclesense.dixon.echoes import Pair, read_echoes, require_pairs
from musclesense.dixon.fat import FatModel
from musclesense.dixon.separation import ONE_PEAK, Separation, separate
from musclesense.dixon.swaps import look_for_swaps
from musclesense.errors import InputError
from musclesense.imaging.grid import slice_axis
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.storage.atomic import atomic_path
from musclesense.storage.paths import is_there

IMAGES = ("fat", "water", "fat_fraction")


@dataclass(frozen=True, eq=False)
class SeparatedScan(Separation):
    """Fat and water of an acquisition: arrays of ``geometry.shape``.

    Attributes:
        geometry: Where the voxels lie, from the in-phase magnitude.
        phase_unit: How phases were stored, as given or found.
    """

    geometry: Geometry
    phase_unit: str

    def save(self, folder: str | Path) -> Path:
        """Write ``fat.nii.gz``, ``water.nii.gz`` and ``fat_fraction.nii.gz`` (percent), all of them or none.

        Args:
            folder: Made where it is missing.

        Returns:
            The folder.

        Raises:
            InputError: It cannot be written, or such files are there already: they may be the scanner's own.
        """
        out = Path(folder)
        require_free_images(out)
        with ExitStack() as drafts:
            for name in IMAGES:
                draft = drafts.enter_context(atomic_path(out / f"{name}.nii.gz"))
                write_volume(draft, getattr(self, name), self.geometry, np.float32)
        return out


def separate_scan(echoes: Mapping[str, Pair], *, model: FatModel = ONE_PEAK, **stored: Any) -> SeparatedScan:
    """Read three echoes and separate fat and water.

    Args:
        echoes: Magnitude and phase, or real and imaginary image, by the name of the echo, of `Echo`.
        model: What fat is taken for.
        stored: How phases are stored, as `read_echoes` takes it.

    Raises:
        InputError: An image cannot be used.
    """
    signal, geometry, unit = read_echoes(require_pairs(echoes, stored.get("real_imaginary", False)), **stored)
    parts = separate(signal, slice_axis=slice_axis(geometry), model=model)
    look_for_swaps(parts.fat, parts.water, geometry).warn("separation")
    return SeparatedScan(**vars(parts), geometry=geometry, phase_unit=unit)


def require_free_images(folder: Path) -> None:
    """Refuse a folder that holds such images already.

    Raises:
        InputError: It does.
    """
    for name in IMAGES:
        if is_there(there := folder / f"{name}.nii.gz"):
            raise InputError(f"{there}: is there already; give another folder, or remove it")
