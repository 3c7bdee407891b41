"""Reading and writing NIfTI with the geometry intact."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry, read_geometry, read_volume, write_volume

QFORM = np.array([[-0.8, 0, 0, 91.5], [0, 0.8, 0, -70.25], [0, 0, 5.0, 12], [0, 0, 0, 1]])
SFORM = np.array([[0, 0.8, 0, -33.3], [-0.8, 0, 0.1, 10], [0, 0, 5.0, -8], [0, 0, 0, 1]])
VOXELS = np.arange(5 * 6 * 3, dtype=np.int16).reshape(5, 6, 3)


def save(path: Path, data=VOXELS, *, qform=(QFORM, 1), sform=(SFORM, 1), units=("mm", "sec"), kind=nib.Nifti1Image):
    image = kind(data, None)
    image.header.set_zooms((0.8, 0.8, 5.0, *[1.0] * (data.ndim - 3)))
    image.header.set_qform(*qform)
    image.header.set_sform(*sform)
    image.header.set_xyzt_units(*units)
    nib.save(kind(data, None, image.header), path)
    return path


# Codes


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti1Pair, nib.Nifti2Image])
@pytest.mark.parametrize("units", [("mm", "sec"), ("unknown", "unknown"), ("mm", "msec")])
@pytest.mark.parametrize(
    ("qform", "sform", "used"),
    [
        ((None, 0), (None, 0), None),
        ((QFORM, 1), (None, 0), QFORM),
        ((None, 0), (SFORM, 2), SFORM),
        ((QFORM, 1), (SFORM, 4), SFORM),
        ((QFORM, 2), (QFORM, 2), QFORM),
    ],
    ids=["neither", "qform", "sform", "different", "same"],
)
def test_a_mask_keeps_codes_zooms_and_units(tmp_path, qform, sform, used, units, kind):
    name = "image.hdr" if kind is nib.Nifti1Pair else "image.nii.gz"
    path = save(tmp_path / name, qform=qform, sform=sform, units=units, kind=kind)
    volume = read_volume(path)
    write_volume(tmp_path / "mask.nii.gz", volume.data > 40, volume.geometry, np.uint8)
    image, mask = nib.load(path), nib.load(tmp_path / "mask.nii.gz")
    before, after = image.header, mask.header
    if used is not None:
        assert np.allclose(volume.geometry.affine, used, atol=1e-5)
    assert np.allclose(mask.affine, image.affine, atol=1e-6)
    assert (int(after["qform_code"]), int(after["sform_code"])) == (qform[1], sform[1])
    assert np.allclose(after.get_qform(), before.get_qform(), atol=1e-6)
    assert np.allclose(after.get_sform(), before.get_sform(), atol=1e-6)
    assert np.allclose(after.get_zooms(), (0.8, 0.8, 5))
    assert after.get_xyzt_units() == units
    assert mask.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(mask.dataobj), VOXELS > 40)


def test_scaling_and_display_window_of_the_image_do_not_reach_the_mask(tmp_path):
    header = nib.Nifti1Header()
    header["cal_max"] = 900
    image = nib.Nifti1Image(VOXELS, QFORM, header)
    image.header.set_slope_inter(2.5, 10)
    nib.save(image, tmp_path / "image.nii")
    volume = read_volume(tmp_path / "image.nii")
    write_volume(tmp_path / "mask.nii", np.ones(VOXELS.shape), volume.geometry, np.uint8)
    mask = nib.load(tmp_path / "mask.nii")
    assert float(mask.header["cal_max"]) == 0
    assert np.unique(mask.get_fdata()) == [1]


def test_the_same_data_give_the_same_bytes(tmp_path):
    geometry = Geometry.from_affine(VOXELS.shape, QFORM)
    write_volume(tmp_path / "a" / "x.nii.gz", VOXELS, geometry, np.int16)
    write_volume(tmp_path / "b" / "x.nii.gz", VOXELS, geometry, np.int16)
    assert (tmp_path / "a" / "x.nii.gz").read_bytes() == (tmp_path / "b" / "x.nii.gz").read_bytes()


def test_writing_refuses_another_shape(tmp_path):
    geometry = Geometry.from_affine(VOXELS.shape, QFORM)
    with pytest.raises(ValueError, match=r"must have shape \(5, 6, 3\), got \(6, 5, 3\)"):
        write_volume(tmp_path / "x.nii", VOXELS.transpose(1, 0, 2), geometry, np.uint8)
    assert list(tmp_path.iterdir()) == []


# Reading


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16])
def test_integers_stay_integers(tmp_path, dtype):
    volume = read_volume(save(tmp_path / "x.nii.gz", VOXELS.astype(dtype)))
    assert volume.data.dtype == dtype
    assert np.array_equal(volume.data, VOXELS)


def test_scaled_integers_and_doubles_become_float32(tmp_path):
    image = nib.Nifti1Image(VOXELS, QFORM)
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "scaled.nii.gz")
    stored = nib.load(tmp_path / "scaled.nii.gz")
    scaled = read_volume(tmp_path / "scaled.nii.gz").data
    assert scaled.dtype == np.float32
    assert np.allclose(scaled, stored.get_fdata(), rtol=1e-6)
    double = read_volume(save(tmp_path / "double.nii.gz", VOXELS + 0.25)).data
    assert double.dtype == np.float32
    assert np.array_equal(double, VOXELS + 0.25)


def test_trailing_axes_of_one_are_dropped(tmp_path):
    path = save(tmp_path / "x.nii.gz", VOXELS[..., None, None])
    volume = read_volume(path)
    assert volume.data.shape == volume.geometry.shape == (5, 6, 3)
    write_volume(tmp_path / "mask.nii.gz", volume.data, volume.geometry, np.int16)
    assert nib.load(tmp_path / "mask.nii.gz").shape == (5, 6, 3)


def test_geometry_without_voxels_is_that_of_the_volume(tmp_path):
    path = save(tmp_path / "x.nii.gz")
    geometry = read_geometry(path)
    assert geometry.difference(read_volume(path).geometry) is None
    assert geometry.zooms == pytest.approx((0.8, 0.8, 5.001), abs=1e-5)


def test_geometry_of_a_new_volume_reaches_the_file(tmp_path):
    write_volume(tmp_path / "x.nii.gz", VOXELS, Geometry.from_affine(VOXELS.shape, QFORM), np.int16)
    header = nib.load(tmp_path / "x.nii.gz").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 1)
    assert np.allclose(header.get_best_affine(), QFORM)
    assert header.get_xyzt_units() == ("mm", "sec")


# Refusals


def not_nifti(path):
    path.write_text("no image at all")


def truncated(path):
    save(path, np.random.default_rng(0).integers(0, 999, (40, 40, 20)).astype(np.int16))
    path.write_bytes(path.read_bytes()[:9000])


def short_inside_whole_gzip(path):
    save(path)
    with gzip.open(path) as file:
        content = file.read()
    with gzip.open(path, "wb") as file:
        file.write(content[:-50])


def four_axes(path):
    save(path, np.zeros((4, 4, 3, 2), dtype=np.int16))


def two_axes(path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4), dtype=np.int16), np.eye(4)), path)


def complex_voxels(path):
    save(path, VOXELS.astype(np.complex64))


def colours(path):
    save(path, np.zeros((4, 4, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def singular(path):
    save(path, qform=(None, 0), sform=(np.diag([0.8, 0, 5, 1]), 1))


def not_finite(path):
    save(path, qform=(None, 0), sform=(np.diag([0.8, np.nan, 5, 1]), 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (not_nifti, "not a readable NIfTI file"),
        (truncated, "voxels cannot be read"),
        (short_inside_whole_gzip, "voxels cannot be read"),
        (four_axes, "has shape 4x4x3x2, not three axes"),
        (two_axes, "has shape 4x4, not three axes"),
        (complex_voxels, "voxels of type complex64 cannot be used"),
        (colours, "cannot be used; store real numbers"),
        (singular, "affine is singular or not finite"),
        (not_finite, "affine is singular or not finite"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refuses_in_one_line(tmp_path, spoil, message):
    path = tmp_path / "x.nii.gz"
    spoil(path)
    with pytest.raises(InputError, match=message) as caught:
        read_volume(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_refuses_what_is_missing_a_folder_or_another_format(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_volume(tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match="no such file"):
        read_geometry(tmp_path)
    nib.save(nib.MGHImage(VOXELS.astype(np.float32), np.eye(4)), tmp_path / "x.mgz")
    with pytest.raises(InputError, match="is MGHImage, not NIfTI"):
        read_volume(tmp_path / "x.mgz")


# Comparison


def test_geometries_differ_by_shape_or_by_corners():
    geometry = Geometry.from_affine((5, 6, 3), QFORM)
    assert geometry.difference(Geometry.from_affine((5, 6, 3), QFORM + 1e-5)) is None
    assert geometry.difference(Geometry.from_affine((6, 5, 3), QFORM)) == "shape 6x5x3 differs from 5x6x3"
    flipped = QFORM @ np.diag([-1, 1, 1, 1])
    difference = geometry.difference(Geometry.from_affine((5, 6, 3), flipped))
    assert difference is not None
    assert "6.4 mm apart" in difference
