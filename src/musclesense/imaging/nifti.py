"""NIfTI volumes in scanner space: read with clear errors, written back with the geometry they came with."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import DTypeLike, NDArray

from musclesense.errors import InputError
from musclesense.files import atomic_path

AFFINE_TOLERANCE_MM = 1e-3
_UNREADABLE = (ImageFileError, HeaderDataError, OSError, EOFError, zlib.error, ValueError, OverflowError)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of a volume lie.

    Attributes:
        shape: Voxels along the three axes of the array.
        affine: 4 x 4, voxel indices to scanner millimetres (RAS+).
        header: The NIfTI header it came with: qform and sform codes, zooms, units.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    header: nib.Nifti1Header

    @classmethod
    def from_affine(cls, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Self:
        """Make the geometry of a new volume: scanner coordinates, millimetres."""
        header = nib.Nifti1Header()
        header.set_data_shape(shape)
        header.set_qform(affine, code="scanner")
        header.set_sform(affine, code="scanner")
        header.set_xyzt_units("mm", "sec")
        return cls(shape, np.asarray(affine, dtype=np.float64), header)

    def moved(self, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Self:
        """Give the geometry of other voxels of the same scan: units and the codes of qform and sform are kept."""
        header = self.header.copy()
        header.set_data_shape(shape)
        header["dim_info"] = 0  # names axes that may have changed places
        qform, sform = int(header["qform_code"]), int(header["sform_code"])
        header.set_qform(affine, code=qform)
        # Without a code a reader would place the voxels by their number alone.
        header.set_sform(affine, code=sform if sform or qform else "aligned")
        # As the header holds it: nibabel would drop the codes of a header that disagrees by a rounding.
        return type(self)(shape, header.get_best_affine(), header)

    @property
    def zooms(self) -> tuple[float, float, float]:
        """Voxel size in mm along the axes of the array."""
        i, j, k = voxel_sizes(self.affine)
        return float(i), float(j), float(k)

    def difference(self, other: "Geometry") -> str | None:
        """Say how ``other`` lies elsewhere, or None where shape and affine agree."""
        if self.shape != other.shape:
            return f"shape {_x(other.shape)} differs from {_x(self.shape)}"
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
        corners[:, :3] *= np.array(self.shape) - 1
        shift = float(np.abs(corners @ (self.affine - other.affine).T).max())
        # Rounding in headers grows with the distance from the origin, hence a part of a voxel.
        if shift > max(AFFINE_TOLERANCE_MM, 0.01 * min(self.zooms)):
            return f"affine differs: corners lie up to {shift:.3g} mm apart"
        return None


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image: ``data`` of shape ``geometry.shape``, and where it lies."""

    data: NDArray[Any]
    geometry: Geometry


def read_geometry(path: Path) -> Geometry:
    """Read the geometry of a NIfTI file without its voxels.

    Raises:
        InputError: The file is missing, no NIfTI, not 3-D, or has no usable affine.
    """
    return _geometry(path, _open(path))


def read_volume(path: Path) -> Volume:
    """Read a 3-D NIfTI image, scaled, as float32 (integers without a scale factor stay integers).

    Raises:
        InputError: The file is missing, truncated, no NIfTI, not 3-D, complex or coloured.
    """
    image = _open(path)
    geometry = _geometry(path, image)
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(f"{path}: voxels of type {dtype} cannot be used; store real numbers")
    try:
        unscaled = image.dataobj.slope == 1 and image.dataobj.inter == 0
        data = np.asarray(image.dataobj, dtype=dtype if unscaled and dtype.kind in "iu" else np.float32)
    except (*_UNREADABLE, MemoryError) as error:
        raise InputError(f"{path}: voxels cannot be read ({_one_line(error)}); export the file again") from error
    return Volume(data.reshape(geometry.shape), geometry)


def write_volume(path: Path, data: NDArray[Any], geometry: Geometry, dtype: DTypeLike) -> None:
    """Write ``data`` to ``path`` in the voxels of ``geometry``, atomically; the same data give the same bytes."""
    if data.shape != geometry.shape:
        raise ValueError(f"data must have shape {geometry.shape}, got {data.shape}")
    header = geometry.header.copy()
    header.set_data_dtype(np.dtype(dtype))
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    image = nib.Nifti1Image(data.astype(dtype), geometry.affine, header)
    with atomic_path(path) as draft:
        nib.save(image, draft)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct the path")
    try:
        image = nib.load(path)
    except (*_UNREADABLE, MemoryError) as error:
        raise InputError(f"{path}: not a readable NIfTI file ({_one_line(error)}); export the file again") from error
    if not isinstance(image, nib.Nifti1Pair):
        raise InputError(f"{path}: is {type(image).__name__}, not NIfTI; convert it to .nii.gz")
    return image


def _geometry(path: Path, image: Any) -> Geometry:
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"{path}: has shape {_x(shape)}, not three axes; give one 3-D image a file")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise InputError(f"{path}: affine is singular or not finite; export the file again with its orientation")
    return Geometry((shape[0], shape[1], shape[2]), affine, image.header.copy())


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
