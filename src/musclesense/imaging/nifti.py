"""NIfTI volumes in scanner space: read with clear errors, written back with the geometry they came with.

Files are read by this module and nibabel's headers, not by ``nibabel.load``: that guesses formats, mends headers with a
word on stderr, and believes what a header says of sizes. Here a header is refused as a whole before a voxel is read,
the voxels are read up to the size that it names, and the file must end there, where gzip's checksum is.
"""

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.nifti1 import xform_codes
from nibabel.orientations import aff2axcodes
from nibabel.spatialimages import HeaderDataError
from numpy.typing import DTypeLike, NDArray

from musclesense.errors import InputError, reason_of
from musclesense.imaging.slicing import anatomical_axes, corners_apart
from musclesense.storage.atomic import atomic_path
from musclesense.storage.paths import require_file

MOST_VOXELS = 512**3
"""A volume of more is refused before it is read: 512 MiB as float32."""
LONGEST_AXIS = 4096
"""No scan has more voxels along an axis, nor more slices."""
LARGEST_VALUE = 1e12
"""No image has intensities beyond; sums over such voxels stay far from the end of float32."""
SMALLEST_ZOOM_MM, LARGEST_ZOOM_MM = 0.01, 500.0
_FARTHEST_MM = 1e5
# Determinant of the axes' directions: 1 at right angles, 0.87 under a gantry tilted by 30 degrees, 0 in a plane.
_LEAST_VOLUME = 0.5
_LARGEST_OFFSET = 64 * 1024**2
_CHUNK = 1024**2
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_COMPLEX = (32, 1792)
_OTHER_OF_PAIR = {".hdr": ".img", ".img": ".hdr"}
# What says where voxels lie; all else in a header speaks of the voxels, or may name a patient.
_GEOMETRY_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)
_DAMAGED = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of a volume lie."""

    shape: tuple[int, int, int]  # voxels along the three axes of the array
    affine: NDArray[np.float64]  # 4 x 4, voxel indices to scanner millimetres (RAS+)
    header: nib.Nifti1Header  # the NIfTI header it came with: qform and sform codes, zooms, units

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

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float64], str | None]:
        return anatomical_axes(self.shape, self.affine)

    @property
    def orientation(self) -> NDArray[np.float64]:
        """For each axis one of RAS (0 to 2), and 1 or -1 for its direction: see `anatomical_axes`."""
        return self._axes[0]

    @cached_property
    def _forms(self) -> list[NDArray[np.float64]]:
        """The affine and, where the header has another one of the same space, that."""
        code = int(self.header["sform_code"])
        same = code > 0 and code == self.header["qform_code"] and np.allclose(self.header.get_sform(), self.affine)
        return [self.affine, self.header.get_qform()] if same else [self.affine]

    @property
    def remarks(self) -> Iterator[str]:
        """What is to be said of an image: a choice of slices that is not plain, affines that differ."""
        if self._axes[1]:
            yield self._axes[1]
        if len(self._forms) > 1 and (apart := corners_apart(self.shape, *self._forms)):
            yield f"sform and qform of the same space differ: corners lie up to {apart:.3g} mm apart; sform is taken"

    def difference(self, other: "Geometry") -> str | None:
        """Say how ``other`` lies elsewhere, or None where shape and affine agree."""
        if self.shape != other.shape:
            return f"shape {_x(other.shape)} differs from {_x(self.shape)}"
        shifts = [corners_apart(self.shape, one, two) for one in self._forms for two in other._forms]
        return f"affine differs: corners lie up to {shifts[0]:.3g} mm apart" if all(shifts) else None


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3-D image: ``data`` of shape ``geometry.shape``, and where it lies."""

    data: NDArray[Any]
    geometry: Geometry


def read_volume(path: Path) -> Volume:
    """Read a 3-D NIfTI image, scaled, as float32 (integers without a scale factor stay integers).

    What float32 cannot hold becomes infinite. Of complex voxels the magnitude is taken.

    Raises:
        InputError: The file is missing, truncated, no NIfTI, not 3-D, coloured or larger than `MOST_VOXELS`.
    """
    volume = read_values(path)
    return Volume(np.abs(volume.data), volume.geometry) if volume.data.dtype.kind == "c" else volume


def read_values(path: Path) -> Volume:
    """Read as `read_volume`, but complex voxels as they are, complex64."""
    header, voxels = _read_header(path)
    geometry, dtype = geometry_of(header), header.get_data_dtype()
    stored = _read_voxels(voxels, int(header["vox_offset"]), geometry.shape, dtype)
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isnan(slope) or slope == 0:
        slope, inter = 1.0, 0.0  # so says the standard
    if dtype.kind in "iu" and (slope, inter) == (1, 0):
        return Volume(stored.astype(dtype.newbyteorder("="), copy=False), geometry)
    with np.errstate(over="ignore", invalid="ignore"):
        wide, narrow = (np.complex128, np.complex64) if dtype.kind == "c" else (np.float64, np.float32)
        scaled = stored if (slope, inter) == (1, 0) else np.multiply(stored, slope, dtype=wide) + inter
        return Volume(scaled.astype(narrow, copy=False), geometry)


def read_geometry(path: Path) -> Geometry:
    """Read where the voxels of an image lie, and no voxel."""
    return geometry_of(_read_header(path)[0])


def value_problems(data: NDArray[Any]) -> Iterator[str]:
    """Say what is wrong with values, of any shape, that no image has: NaN, infinity, too large to be added up."""
    finite = finite_values(data)
    if count := data.size - finite.size:
        yield f"{count} voxels are NaN or infinite; export the image again"
    if finite.size and (largest := max(float(finite.max()), -float(finite.min()))) > LARGEST_VALUE:
        yield f"values up to {largest:.5g} are too large for an image; export the image again"


def finite_values(data: NDArray[Any]) -> NDArray[Any]:
    """Give the values that are neither NaN nor infinite; all of them in their shape where none is."""
    if data.dtype.kind != "f":
        return data
    finite = np.isfinite(data)
    return data if finite.all() else data[finite]


def write_volume(
    path: Path, data: NDArray[Any], geometry: Geometry, dtype: DTypeLike, *, label_names: str | None = None
) -> None:
    """Write ``data`` to ``path`` in the voxels of ``geometry``, atomically; the same data give the same bytes.

    ``label_names`` is the file beside it that names the values of labels, which the header tells in the standard's
    place for it (``intent_code``, ``aux_file``).
    """
    if data.shape != geometry.shape:
        raise ValueError(f"data must have shape {geometry.shape}, got {data.shape}")
    header = geometry.header.copy()
    header.set_data_dtype(np.dtype(dtype))
    if label_names is not None:
        header.set_intent("label")
        header["aux_file"] = label_names
    image = nib.Nifti1Image(data.astype(dtype), geometry.affine, header)
    with atomic_path(path) as draft:
        nib.save(image, draft)


def volume_count(path: Path) -> int:
    """Count the 3-D images of a NIfTI file, which as a rule are echoes where they are several.

    Raises:
        InputError: There is no such file.
    """
    shape = _shape(_stored_header(_files(path)[0]))
    return shape[3] if len(shape) == 4 and 1 <= shape[3] <= LONGEST_AXIS else 1


def is_complex(path: Path) -> bool:
    """Tell whether the voxels of a NIfTI file are complex numbers.

    Raises:
        InputError: There is no such file.
    """
    return int(_stored_header(_files(path)[0])["datatype"]) in _COMPLEX


def _read_header(path: Path) -> tuple[Any, Path]:
    """Read a header and refuse what cannot be used by it; give the file of the voxels, too."""
    header_file, voxel_file = _files(path)
    header = _stored_header(header_file)
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # so says the standard
    if problem := header_problem(header, pair=header_file != voxel_file):
        raise InputError(f"{path}: {problem}")
    return header, voxel_file


def _stored_header(path: Path) -> Any:
    require_file(path)
    try:
        with _stream(path) as stream:
            block = stream.read(max(_HEADERS))
    except _DAMAGED as error:
        raise InputError(f"{path}: not a readable NIfTI file ({reason_of(error)}); export the file again") from error
    size, order = next(
        ((size, order) for size in _HEADERS for order in ("little", "big") if block[:4] == size.to_bytes(4, order)),
        (0, ""),
    )
    if not 0 < size <= len(block):
        raise InputError(f"{path}: not a readable NIfTI file (no header of one); convert it to .nii.gz")
    return _HEADERS[size](block[:size], endianness="<" if order == "little" else ">", check=False)


def _files(path: Path) -> tuple[Path, Path]:
    """Give the files of header and voxels: one, but for ``.hdr`` and ``.img``."""
    stem, packed = (path.with_suffix(""), path.suffix) if path.suffix in (".gz", ".bz2") else (path, "")
    if stem.suffix not in _OTHER_OF_PAIR:
        return path, path
    other = stem.with_suffix(_OTHER_OF_PAIR[stem.suffix])
    other = other.with_name(other.name + packed)
    return (path, other) if stem.suffix == ".hdr" else (other, path)


@contextmanager
def _stream(path: Path) -> Iterator[Any]:
    """Open a file, compressed or not, by what it holds."""
    with path.open("rb") as raw:
        start = raw.read(3)
        raw.seek(0)
        unpack: Any = gzip.open if start[:2] == b"\x1f\x8b" else bz2.open if start == b"BZh" else nullcontext
        with unpack(raw) as stream:
            yield stream


def header_problem(header: Any, *, pair: bool) -> str | None:
    """Say why a header cannot be used, or None where it can."""
    magic, version = bytes(header["magic"])[:3], 1 if int(header["sizeof_hdr"]) == 348 else 2
    if magic != (b"ni%d" if pair else b"n+%d") % version:
        return f"not a readable NIfTI file (magic {magic!r}); convert it to .nii.gz"
    shape = _shape(header)
    if len(shape) != 3 or min(shape) < 1:
        return f"has shape {_x(shape)}, not three axes; give one 3-D image a file"
    if shape[0] * shape[1] * shape[2] > MOST_VOXELS or max(shape) > LONGEST_AXIS:
        limit = f"{_x((512,) * 3)}, or than {LONGEST_AXIS} along an axis"
        return f"has {_x(shape)} voxels, more than {limit}; crop it, or export the file again"
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        return f"voxels of type code {int(header['datatype'])} cannot be used; store real numbers"
    if dtype.kind not in "iufc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        return f"voxels of type {dtype} cannot be used; store real numbers"
    first = 0 if pair else int(header["sizeof_hdr"]) + 4
    if not first <= (offset := float(header["vox_offset"])) <= _LARGEST_OFFSET or offset % 1:
        return f"voxels cannot begin at byte {offset:g}; export the file again"
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isinf(slope) or (not np.isnan(slope) and slope != 0 and not np.isfinite(inter)):
        return f"scale factor {slope:g} and intercept {inter:g} are no numbers; export the file again"
    return _affine_problem(header)


def _affine_problem(header: Any) -> str | None:
    """Say why a header does not tell where voxels lie, or None where it does."""
    again = "export the file again with its orientation"
    if (unit := int(header["xyzt_units"]) & 7) not in (0, 2):
        return f"lengths in {({1: 'metres', 3: 'micrometres'}).get(unit, f'unit {unit}')}; store millimetres"
    if wrong := _zooms_problem(header["pixdim"][1:4]):
        return f"{wrong}; {again}"
    affines = []
    for name, read in (("sform", header.get_sform), ("qform", header.get_qform)):
        if (code := int(header[f"{name}_code"])) not in xform_codes.value_set():
            return f"{name}_code {code} is none; {again}"
        if code > 0:
            try:
                affines.append(read())
            except (HeaderDataError, ValueError) as error:
                return f"{name} cannot be read ({reason_of(error)}); {again}"
    for affine in affines or [header.get_base_affine()]:
        if wrong := affine_problem(affine):
            return f"{wrong}; {again}"
    # Of one space there can be one affine; two that differ in side would swap left and right by the reader's taste.
    if len(affines) == 2 and header["sform_code"] == header["qform_code"]:
        axes = ["".join(aff2axcodes(affine)) for affine in affines]
        if axes[0] != axes[1]:
            return f"sform says {axes[0]} and qform {axes[1]} of the same space; remove the wrong one"
    return None


def affine_problem(affine: NDArray[np.float64]) -> str | None:
    """Say why the voxels of a scan cannot lie where an affine, 4 x 4, puts them, or None where they can."""
    if not np.isfinite(affine).all() or not affine[:3, :3].any(axis=0).all():
        return "affine is singular or not finite"
    with np.errstate(over="ignore"):
        zooms = voxel_sizes(affine)
    if wrong := _zooms_problem(zooms):
        return wrong
    if abs(np.linalg.det(affine[:3, :3] / zooms)) < _LEAST_VOLUME:
        return "affine is singular or not finite, or sheared"
    if (farthest := np.abs(affine[:3, 3]).max()) > _FARTHEST_MM:
        return f"first voxel lies {farthest:g} mm away"
    return None


def _zooms_problem(zooms: NDArray[Any]) -> str | None:
    if bool(((zooms >= SMALLEST_ZOOM_MM) & (zooms <= LARGEST_ZOOM_MM)).all()):  # not for NaN
        return None
    return f"voxel size {_x(zooms)} mm lies outside {SMALLEST_ZOOM_MM:g} to {LARGEST_ZOOM_MM:g} mm"


def _shape(header: Any) -> tuple[int, ...]:
    """Give the axes of a header, trailing ones of length 1 left out."""
    count = int(header["dim"][0])
    shape = tuple(int(n) for n in header["dim"][1 : 1 + count]) if 1 <= count <= 7 else ()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def geometry_of(header: Any) -> Geometry:
    """Give the geometry of a header that can be used, with a header of nothing else."""
    i, j, k = _shape(header)
    bare = type(header)()
    bare.set_data_shape((i, j, k))
    for field in _GEOMETRY_FIELDS:
        bare[field] = header[field]
    return Geometry((i, j, k), np.asarray(header.get_best_affine(), dtype=np.float64), bare)


def _read_voxels(path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read voxels as stored, a little at a time; the file must hold as many as its header says."""
    require_file(path)
    wanted = shape[0] * shape[1] * shape[2] * dtype.itemsize
    content = np.empty(wanted, dtype=np.uint8)
    filled, buffer = 0, content.data
    try:
        with _stream(path) as stream:
            skipped = 0
            while skipped < offset and (piece := stream.read(min(_CHUNK, offset - skipped))):
                skipped += len(piece)
            while filled < wanted and (read := stream.readinto(buffer[filled : filled + _CHUNK])):
                filled += read
            # Only at its end does a compressed file tell whether it is whole.
            more = bool(stream.read(1))
    except _DAMAGED as error:
        raise InputError(f"{path}: voxels cannot be read ({reason_of(error)}); export the file again") from error
    if filled < wanted:
        raise InputError(f"{path}: voxels cannot be read ({filled} of {wanted} bytes are there); export the file again")
    if more:
        raise InputError(
            f"{path}: holds more than the {_x(shape)} voxels of type {dtype} of its header; export the file again"
        )
    return content.view(dtype).reshape(shape, order="F")


def _x(lengths: Any) -> str:
    return "x".join(f"{length:g}" if isinstance(length, np.floating) else str(length) for length in lengths)
