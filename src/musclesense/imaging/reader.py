"""The one door for images: a path, a nibabel image, or an array with its affine."""

import os
import zlib
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from numpy.typing import NDArray

from musclesense.errors import ArgumentError, InputError, plain, reason_of
from musclesense.imaging.nifti import (
    LONGEST_AXIS,
    MOST_VOXELS,
    Geometry,
    Volume,
    affine_problem,
    geometry_of,
    header_problem,
    is_complex,
    read_values,
    read_volume,
)
from musclesense.imaging.nrrd import is_nrrd, read_nrrd
from musclesense.messages import log
from musclesense.storage.paths import is_folder, refuse_dicom

ImageLike: TypeAlias = str | os.PathLike[str] | SpatialImage | tuple[NDArray[Any], NDArray[Any]]
"""What an image can be given as."""


def read_image(image: ImageLike, argument: str) -> Volume:
    """Read a 3-D image.

    Args:
        image: A NIfTI or NRRD file, a nibabel image, or a 3-D array and its affine (4 x 4, from voxel indices to
            scanner millimetres, RAS+).
        argument: What the caller calls it, for messages.

    Returns:
        Float32, or integers where integers are stored without a scale factor. Of complex numbers the magnitude.

    Raises:
        InputError: It cannot be read, is not 3-D, or does not say where its voxels lie.

    >>> volume = read_image((np.zeros((4, 5, 6)), np.diag([1.5, 1.5, 5.0, 1.0])), "fat")
    >>> volume.geometry.zooms, volume.data.dtype.name
    ((1.5, 1.5, 5.0), 'float32')
    """
    volume = _read(image, argument)
    say_remarks(image_name(image, argument), volume.geometry)
    return volume


def say_remarks(name: str, geometry: Geometry) -> None:
    """Warn of what is peculiar about where the voxels of an image lie; once, however often it is read."""
    for remark in geometry.remarks:
        _say(f"{name}: {remark}")


@cache
def _say(remark: str) -> None:
    log.warning(remark)


def _read(image: ImageLike, argument: str) -> Volume:
    if isinstance(image, str | os.PathLike):
        refuse_dicom(Path(image))
        if is_folder(Path(image)):
            raise InputError(f"{image}: is a folder; convert its images to NIfTI (dcm2niix does so), and give one file")
        return read_nrrd(Path(image)) if is_nrrd(Path(image)) else read_volume(Path(image))
    if isinstance(image, SpatialImage):
        return _from_nibabel(image, argument)
    if isinstance(image, tuple) and len(image) == 2 and isinstance(image[0], np.ndarray):
        return _from_array(image[0], np.asarray(image[1]), argument)
    wanted = "give a path, a nibabel image, or an array with its affine"
    raise ArgumentError(f"{{{argument}}}: cannot be read as an image; {wanted}", **{argument: type(image).__name__})


def parts_of_complex(image: ImageLike, real_imaginary: bool = False) -> tuple[ImageLike, ImageLike] | None:
    """Give magnitude and phase in radians of a complex image, or its real and imaginary part; None where it is none.

    >>> magnitude, phase = parts_of_complex((np.full((2, 2, 1), -2j), np.eye(4)))
    >>> float(magnitude[0].max()), round(float(phase[0].max()), 3)
    (2.0, -1.571)
    """
    if isinstance(image, str | os.PathLike):
        file = Path(image)
        if is_folder(file) or is_nrrd(file) or not is_complex(file):
            return None
        volume = read_values(file)
        image = nib.Nifti1Image(volume.data, volume.geometry.affine, volume.geometry.header)
    if not isinstance(image, SpatialImage | tuple):
        return None
    values = np.asanyarray(image.dataobj) if isinstance(image, SpatialImage) else image[0]
    if values.dtype.kind != "c":
        return None
    parts = (values.real, values.imag) if real_imaginary else (np.abs(values), np.angle(values))
    if isinstance(image, SpatialImage):
        return tuple(type(image)(part.astype(np.float32), image.affine, _of_reals(image.header)) for part in parts)
    return (parts[0], image[1]), (parts[1], image[1])


def _of_reals(header: Any) -> Any:
    made = header.copy()
    made.set_data_dtype(np.float32)
    return made


def image_file(image: ImageLike) -> Path | None:
    """Give the file that an image is, or None where it is held in memory."""
    return Path(image) if isinstance(image, str | os.PathLike) else None


def image_name(image: ImageLike, argument: str) -> str:
    """Name an image in a message: by its file, or else by the argument."""
    return str(image_file(image) or argument)


def _from_nibabel(image: SpatialImage, argument: str) -> Volume:
    if isinstance(image, nib.AnalyzeImage) and not isinstance(image, nib.Nifti1Pair):
        raise _unusable(argument, "Analyze does not tell left from right; give NIfTI")
    if not isinstance(image, nib.Nifti1Pair):  # other formats say no more than where voxels lie
        return _from_array(np.asanyarray(image.dataobj), np.asarray(image.affine), argument)
    header = image.header.copy()
    header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic  # of a file, not of an image
    if problem := header_problem(header, pair=False):
        raise _unusable(argument, problem)
    try:
        data = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise _unusable(argument, f"cannot be read ({reason_of(error)}); load it again") from error
    geometry = geometry_of(header)
    return Volume(_plain_numbers(data.reshape(geometry.shape)), geometry)


def _from_array(data: NDArray[Any], affine: NDArray[Any], argument: str) -> Volume:
    if problem := _array_problem(data, affine):
        raise _unusable(argument, problem)
    i, j, k = data.shape
    return Volume(_plain_numbers(data), Geometry.from_affine((i, j, k), affine.astype(np.float64)))


def _array_problem(data: NDArray[Any], affine: NDArray[Any]) -> str | None:
    if data.ndim != 3 or not data.size or data.size > MOST_VOXELS or max(data.shape) > LONGEST_AXIS:
        most = f"{MOST_VOXELS} voxels in all, {LONGEST_AXIS} along one"
        return f"an array of shape {data.shape}; give three axes of at most {most}"
    if data.dtype.kind not in "iufcb":
        return f"voxels of type {data.dtype} cannot be used; give numbers"
    if affine.shape != (4, 4) or affine.dtype.kind not in "iuf":
        return f"an affine of shape {affine.shape}; give 4 x 4 numbers"
    if problem := affine_problem(affine.astype(np.float64)):
        return f"{problem}; give the affine of the image"
    return None


def _plain_numbers(data: NDArray[Any]) -> NDArray[Any]:
    """Give float32, or integers as they are; of complex numbers the magnitude."""
    if data.dtype.kind in "iu":
        return data
    if data.dtype.kind == "c":
        data = np.abs(data)
    with np.errstate(over="ignore"):
        return data.astype(np.uint8 if data.dtype.kind == "b" else np.float32, copy=False)


def _unusable(argument: str, problem: str) -> ArgumentError:
    """Say what is wrong with an argument, in a text that may hold braces."""
    return ArgumentError(f"{{{argument}}}: {plain(problem)}", **{argument: ""})
