"""One door for images: a path, a nibabel image, or an array with its affine."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.nifti import Volume, read_volume, write_volume
from musclesense.imaging.reader import ImageLike, image_file, image_name, parts_of_complex, read_image

AFFINE = np.array([[-1.5, 0, 0, 30], [0, 2, 0.25, -40], [0, -0.5, 10, 7], [0, 0, 0, 1]])
DATA = np.random.default_rng(0).integers(-300, 3000, (6, 5, 4)).astype(np.int16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An image as a scanner stores it: integers, with both codes."""
    image = nib.Nifti1Image(DATA, AFFINE)
    image.header.set_qform(AFFINE, code=1)
    image.header.set_sform(AFFINE, code=2)
    nib.save(image, tmp_path / "fat.nii.gz")
    return tmp_path / "fat.nii.gz"


def assert_same(one: Volume, other: Volume) -> None:
    assert one.data.dtype == other.data.dtype and np.array_equal(one.data, other.data)
    assert one.geometry.shape == other.geometry.shape
    np.testing.assert_allclose(one.geometry.affine, other.geometry.affine, atol=1e-5)


def test_a_path_a_text_and_a_nibabel_image_are_one_image(file: Path, tmp_path: Path) -> None:
    expected = read_volume(file)
    for given in (file, str(file), nib.load(file), nib.Nifti1Image.from_filename(file)):
        found = read_image(given, "fat")
        assert_same(found, expected)
        assert np.array_equal(found.geometry.affine, expected.geometry.affine)
        # The mask keeps the geometry, codes among it, whichever way the image came.
        write_volume(tmp_path / "mask.nii", DATA > 0, found.geometry, np.uint8)
        written = nib.load(tmp_path / "mask.nii")
        assert (int(written.header["qform_code"]), int(written.header["sform_code"])) == (1, 2)
        assert np.array_equal(written.affine, nib.load(file).affine)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.uint8, bool])
def test_an_array_and_its_affine_are_an_image(dtype: type) -> None:
    data: NDArray[Any] = np.abs(DATA).astype(dtype)
    found = read_image((data, AFFINE), "fat")
    kept = np.dtype(np.uint8) if dtype is bool else np.dtype(np.float32) if data.dtype.kind == "f" else data.dtype
    assert found.data.dtype == kept
    assert np.array_equal(found.data, data.astype(kept))
    assert np.array_equal(found.geometry.affine, AFFINE)


def test_a_nibabel_image_in_memory_is_read_as_its_file(tmp_path: Path) -> None:
    for image in (
        nib.Nifti1Image(DATA.astype(np.float32), AFFINE),
        nib.Nifti2Image(DATA[..., None], AFFINE),
        nib.MGHImage(DATA.astype(np.float32), AFFINE),
    ):
        found = read_image(image, "fat")
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), AFFINE), tmp_path / "same.nii")
        assert_same(found, read_volume(tmp_path / "same.nii"))


def scaled(tmp_path: Path) -> Path:
    image = nib.Nifti1Image(DATA, AFFINE)
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "scaled.nii")
    return tmp_path / "scaled.nii"


def test_scale_factors_are_obeyed(tmp_path: Path) -> None:
    file = scaled(tmp_path)
    found = read_image(nib.load(file), "fat")
    assert found.data.dtype == np.float32
    np.testing.assert_allclose(found.data, read_volume(file).data, rtol=1e-6)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (3, "water=int: cannot be read as an image; give a path, a nibabel image, or an array with its affine"),
        (None, "water=NoneType: cannot be read as an image"),
        (DATA, "water=ndarray: cannot be read as an image"),
        ((DATA,), "water=tuple: cannot be read as an image"),
        ((DATA[0], AFFINE), r"water: an array of shape \(5, 4\); give three axes"),
        ((DATA[:0], AFFINE), r"water: an array of shape \(0, 5, 4\)"),
        ((DATA.astype("U4"), AFFINE), "water: voxels of type <U4 cannot be used"),
        ((DATA, AFFINE[:3]), r"water: an affine of shape \(3, 4\); give 4 x 4 numbers"),
        ((DATA, np.zeros((4, 4))), "water: affine is singular or not finite; give the affine of the image"),
        ((DATA, np.diag([900.0, 1, 1, 1])), "water: voxel size 900x1x1 mm lies outside"),
        (nib.Nifti1Image(DATA[..., None].repeat(2, 3), AFFINE), "water: has shape 6x5x4x2, not three axes"),
        (nib.AnalyzeImage(DATA, None), "water: Analyze does not tell left from right; give NIfTI"),
    ],
)
def test_what_is_no_image_is_refused_by_its_argument(image: object, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}") as raised:
        read_image(image, "water")
    assert "\n" not in str(raised.value)
    assert raised.value.at_command_line[0].startswith("--water")


def test_a_folder_is_refused_for_now(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"^{tmp_path}: is a folder; convert its images to NIfTI"):
        read_image(tmp_path, "fat")


def test_a_file_that_ends_too_soon_is_named_by_its_argument(tmp_path: Path) -> None:
    file = scaled(tmp_path)
    image = nib.load(file)
    file.write_bytes(file.read_bytes()[:400])
    with pytest.raises(InputError, match=r"^fat: cannot be read \(.*\); load it again") as raised:
        read_image(image, "fat")
    assert "\n" not in str(raised.value)


def test_images_are_named_by_file_or_argument(file: Path) -> None:
    assert image_name(str(file), "fat") == str(file) and image_file(str(file)) == file
    assert image_name((DATA, AFFINE), "fat") == "fat" and image_file((DATA, AFFINE)) is None


def test_an_axis_longer_than_any_scan_is_refused_before_it_is_read(tmp_path: Path) -> None:
    shape = (2, 5000, 1)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match="has 2x5000x1 voxels, more than 512x512x512, or than 4096 along an axis"):
        read_image(tmp_path / "x.nii.gz", "fat")
    with pytest.raises(InputError, match="give three axes of at most"):
        read_image((np.zeros(shape), np.eye(4)), "fat")
    assert read_image((np.zeros((2, 4096, 1)), np.eye(4)), "fat").data.shape == (2, 4096, 1)


COMPLEX = (DATA * np.exp(1j * DATA)).astype(np.complex64)


@pytest.mark.parametrize("given", ["array", "nibabel", "file"])
def test_a_complex_image_is_its_magnitude_and_has_two_parts(tmp_path: Path, given: str) -> None:
    nib.save(nib.Nifti1Image(COMPLEX, AFFINE), tmp_path / "x.nii.gz")
    images: dict[str, ImageLike] = {
        "array": (COMPLEX, AFFINE),
        "nibabel": nib.Nifti1Image(COMPLEX, AFFINE),
        "file": tmp_path / "x.nii.gz",
    }
    image = images[given]
    assert np.allclose(read_image(image, "water").data, np.abs(COMPLEX), rtol=1e-6)
    both: dict[bool, tuple[Any, Any]] = {False: (np.abs, np.angle), True: (np.real, np.imag)}
    for real_imaginary, wanted in both.items():
        parts = parts_of_complex(image, real_imaginary)
        assert parts is not None
        for part, function in zip(parts, wanted, strict=True):
            volume = read_image(part, "water")
            assert np.allclose(volume.data, function(COMPLEX), atol=1e-5)
            assert np.allclose(volume.geometry.affine, AFFINE)
    for real in ((DATA, AFFINE), nib.Nifti1Image(DATA.astype(np.float32), AFFINE)):
        assert parts_of_complex(real) is None
