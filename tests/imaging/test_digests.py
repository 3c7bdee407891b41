"""Equal images have equal digests, however they are stored; others have others."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import DTypeLike

from musclesense.imaging.digests import image_digest, voxel_digest, voxels_of
from musclesense.imaging.nifti import Geometry, Volume, read_volume

_AFFINE = np.diag([-0.9375, 0.9375, 5, 1]) + np.array([[0, 0, 0, 7.25], [0, 0, 0, -3], [0, 0, 0, 1 / 3], [0] * 4])


def _save(path: Path, data: np.ndarray, affine: np.ndarray = _AFFINE, dtype: DTypeLike = np.int16) -> Path:
    nib.save(nib.Nifti1Image(data.astype(dtype), affine), path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Give an image of whole numbers in three slices."""
    return _save(tmp_path / "image.nii.gz", np.random.default_rng(0).integers(0, 900, (8, 6, 3)))


def _voxels(path: Path) -> np.ndarray:
    return np.asarray(read_volume(path).data)


def _copy(image: Path, other: Path) -> None:
    shutil.copy(image, other)


def _unpacked(image: Path, other: Path) -> None:
    other.write_bytes(gzip.decompress(image.read_bytes()))


def _less_packed(image: Path, other: Path) -> None:
    other.write_bytes(gzip.compress(gzip.decompress(image.read_bytes()), compresslevel=1))


def _resaved(image: Path, other: Path) -> None:
    loaded = nib.load(image)
    nib.save(nib.Nifti1Image(np.asarray(loaded.dataobj), loaded.affine, loaded.header), other)


_ALIKE: list[tuple[str, Callable[[Path, Path], object]]] = [
    ("copy.nii.gz", _copy),
    ("hard.nii.gz", lambda image, other: os.link(image, other)),
    ("soft.nii.gz", lambda image, other: other.symlink_to(image)),
    ("unpacked.nii", _unpacked),
    ("level.nii.gz", _less_packed),
    ("resaved.nii", _resaved),
    ("uint16.nii", lambda image, other: _save(other, _voxels(image), dtype=np.uint16)),
    ("float.nii.gz", lambda image, other: _save(other, _voxels(image), dtype=np.float32)),
    ("double.nii.gz", lambda image, other: _save(other, _voxels(image), dtype=np.float64)),
]


@pytest.mark.parametrize(("name", "make"), _ALIKE)
def test_equal_images_have_one_digest(image: Path, name: str, make: Callable[[Path, Path], object]) -> None:
    other = image.with_name(name)
    make(image, other)
    assert image_digest(other) == image_digest(image)


def test_voxels_in_another_order_are_the_same_image(image: Path) -> None:
    turned = nib.load(image).as_reoriented(nib.io_orientation(_AFFINE))
    nib.save(turned, other := image.with_name("turned.nii.gz"))
    assert voxels_of(image_digest(other)) == voxels_of(image_digest(image))
    assert image_digest(other) != image_digest(image)


@pytest.mark.parametrize("moved", [0.5, 5.0])
def test_the_place_counts_in_the_digest_of_an_image(image: Path, moved: float) -> None:
    affine = _AFFINE.copy()
    affine[2, 3] += moved
    other = _save(image.with_name("moved.nii.gz"), _voxels(image), affine)
    assert voxels_of(image_digest(other)) == voxels_of(image_digest(image))
    assert image_digest(other) != image_digest(image)


@given(st.integers(0, 7), st.integers(0, 5), st.integers(0, 2), st.sampled_from([-1, 1, 100]))
def test_one_voxel_changes_the_digest(i: int, j: int, k: int, step: int) -> None:
    data = np.arange(8 * 6 * 3, dtype=np.int16).reshape(8, 6, 3)
    changed = data.copy()
    changed[i, j, k] += step
    geometry = Geometry.from_affine((8, 6, 3), _AFFINE)
    assert voxel_digest(Volume(changed, geometry)) != voxel_digest(Volume(data, geometry))


def test_shape_counts() -> None:
    data = np.ones((4, 6, 1), dtype=np.int16)
    volumes = [
        Volume(data.reshape(shape), Geometry.from_affine(shape, np.eye(4)))
        for shape in ((4, 6, 1), (6, 4, 1), (2, 12, 1))
    ]
    assert len({voxel_digest(volume) for volume in volumes}) == 3


def test_zero_has_one_sign_and_nan_one_form() -> None:
    geometry = Geometry.from_affine((2, 1, 1), np.eye(4))
    one, other = np.array([0.0, np.nan], "f4"), np.array([-0.0, -np.nan], "f4")
    other.view("u4")[1] ^= 1
    assert voxel_digest(Volume(one.reshape(2, 1, 1), geometry)) == voxel_digest(
        Volume(other.reshape(2, 1, 1), geometry)
    )
