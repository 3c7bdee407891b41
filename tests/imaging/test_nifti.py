"""Reading and writing NIfTI with the geometry intact."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from musclesense.errors import InputError
from musclesense.imaging.nifti import Geometry, is_complex, read_volume, write_volume

QFORM = np.array([[-0.8, 0, 0, 91.5], [0, 0.8, 0, -70.25], [0, 0, 5.0, 12], [0, 0, 0, 1]])
SFORM = np.array([[0, 0.8, 0, -33.3], [-0.8, 0, 0.1, 10], [0, 0, 5.0, -8], [0, 0, 0, 1]])
VOXELS = np.arange(5 * 6 * 3, dtype=np.int16).reshape(5, 6, 3)


def save(path: Path, data=VOXELS, *, qform=(QFORM, 1), sform=(SFORM, 2), units=("mm", "sec"), kind=nib.Nifti1Image):
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


def test_zooms_are_those_of_the_file(tmp_path):
    geometry = read_volume(save(tmp_path / "x.nii.gz")).geometry
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


def colours(path):
    save(path, np.zeros((4, 4, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def singular(path):
    save(path, qform=(None, 0), sform=(np.diag([0.8, 0, 5, 1]), 1))


def not_finite(path):
    save(path, qform=(None, 0), sform=(np.diag([0.8, np.nan, 5, 1]), 1))


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (0.5, 0.0)])
def test_of_complex_voxels_the_magnitude_is_read(tmp_path, kind, slope, inter):
    values = (VOXELS + 1j * VOXELS[::-1]).astype(kind)
    image = nib.Nifti1Image(values, np.diag([0.8, 0.8, 5, 1]))
    image.header.set_slope_inter(slope, inter)
    nib.save(image, tmp_path / "x.nii.gz")
    volume = read_volume(tmp_path / "x.nii.gz")
    assert volume.data.dtype == np.float32
    assert np.allclose(volume.data, np.abs(np.asanyarray(nib.load(tmp_path / "x.nii.gz").dataobj)), rtol=1e-6)
    assert is_complex(tmp_path / "x.nii.gz") and volume.data.any()
    save(tmp_path / "real.nii.gz", VOXELS)
    assert not is_complex(tmp_path / "real.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (not_nifti, "not a readable NIfTI file"),
        (truncated, "voxels cannot be read"),
        (short_inside_whole_gzip, "voxels cannot be read"),
        (four_axes, "has shape 4x4x3x2, not three axes"),
        (two_axes, "has shape 4x4, not three axes"),
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


# Past failures, found by `make fuzz`: accepted in silence, or ended in a traceback, a warning or a hang.


def raw(**fields) -> bytes:
    """A header with fields of any value, before the voxels."""
    header = nib.Nifti1Header()
    header.set_data_dtype(VOXELS.dtype)
    header.set_data_shape(VOXELS.shape)
    header.set_zooms((0.8, 0.8, 5.0))
    header.set_sform(SFORM, 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4) + VOXELS.tobytes(order="F")


PIXDIM = [1, 0.8, 0.8, 5, 1, 1, 1, 1]
HEADERS = {
    "huge": ({"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}, "has 32767x32767x32767 voxels, more than 512x512x512"),
    "seven_huge": ({"dim": [7, *[32767] * 7]}, "not three axes"),
    "no_axes": ({"dim": [-1, 5, 6, 3, 1, 1, 1, 1]}, "not three axes"),
    "negative_axis": ({"dim": [3, 5, -6, 3, 1, 1, 1, 1]}, "has shape 5x-6x3, not three axes"),
    "unknown_type": ({"datatype": 3}, "voxels of type code 3 cannot be used"),
    "long_double": ({"datatype": 1536}, "cannot be used; store real numbers"),
    "negative_zoom": ({"pixdim": [1, -0.8, *PIXDIM[2:]]}, "voxel size -0.8x0.8x5 mm lies outside 0.01 to 500 mm"),
    "zero_zoom": ({"pixdim": [1, 0.8, 0, *PIXDIM[3:]]}, "lies outside"),
    "no_zoom": ({"pixdim": [1, 0.8, np.nan, *PIXDIM[3:]]}, "voxel size 0.8xnanx5 mm lies outside"),
    "tiny_zoom": ({"srow_x": SFORM[0] * 1e-6, "srow_y": SFORM[1] * 1e-6}, "lies outside"),
    "sheared": ({"srow_x": [1, 1, 0, 0], "srow_y": [0, 0.1, 0, 0], "srow_z": [0, 0, 5, 0]}, "sheared"),
    "far_away": ({"srow_x": [0.8, 0, 0, 1e30]}, "affine is singular|first voxel lies"),
    "infinite_place": ({"srow_z": [0, 0, 5, np.inf]}, "not finite"),
    "no_code": ({"qform_code": 32767}, "qform_code 32767 is none"),
    "quaternion": ({"qform_code": 1, "quatern_b": 3}, "qform cannot be read"),
    "metres": ({"xyzt_units": 1}, "lengths in metres; store millimetres"),
    "micrometres": ({"xyzt_units": 3}, "lengths in micrometres"),
    "early_voxels": ({"vox_offset": 100}, "voxels cannot begin at byte 100"),
    "late_voxels": ({"vox_offset": 1e9}, "voxels cannot begin at byte 1e"),
    "no_offset": ({"vox_offset": np.nan}, "voxels cannot begin at byte nan"),
    "infinite_slope": ({"scl_slope": np.inf}, "scale factor inf and intercept"),
    "no_intercept": ({"scl_slope": 2, "scl_inter": np.nan}, "scale factor 2 and intercept nan"),
    "another_version": ({"magic": b"n+2"}, "not a readable NIfTI file"),
    "of_a_pair": ({"magic": b"ni1"}, "not a readable NIfTI file"),
    "smaller_type": ({"datatype": 2}, "holds more than the 5x6x3 voxels"),
    "larger_type": ({"datatype": 8}, "voxels cannot be read"),
}


@pytest.mark.parametrize(("fields", "message"), HEADERS.values(), ids=HEADERS)
def test_a_header_that_cannot_be_is_refused_before_voxels_are_read(tmp_path, fields, message):
    path = tmp_path / "x.nii"
    path.write_bytes(raw(**fields))
    with pytest.raises(InputError, match=message) as caught:
        read_volume(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"scl_slope": np.nan},
        {"scl_slope": 0, "scl_inter": 7},
        {"bitpix": 0},
        {"pixdim": [0, *PIXDIM[1:]]},
        {"glmax": -9},
    ],
)
def test_what_says_nothing_of_voxels_does_not_matter(tmp_path, fields):
    (tmp_path / "x.nii").write_bytes(raw(**fields))
    assert np.array_equal(read_volume(tmp_path / "x.nii").data, VOXELS)


def test_one_space_has_one_orientation(tmp_path):
    flipped = QFORM @ np.diag([-1, 1, 1, 1])
    with pytest.raises(InputError, match="sform says RAS and qform LAS of the same space"):
        read_volume(save(tmp_path / "x.nii", qform=(QFORM, 1), sform=(flipped, 1)))
    assert read_volume(save(tmp_path / "y.nii", qform=(QFORM, 1), sform=(flipped, 4))).geometry.affine[0, 0] > 0


def test_extensions_are_not_read_and_not_passed_on(tmp_path):
    content = raw(vox_offset=368)
    endless = b"\1\0\0\0" + np.array([2**31 - 1, 4], "<i4").tobytes() + b"A patient"[:8]
    (tmp_path / "x.nii").write_bytes(content[:348] + endless + content[352:])
    volume = read_volume(tmp_path / "x.nii")
    assert np.array_equal(volume.data, VOXELS)
    write_volume(tmp_path / "mask.nii", volume.data, volume.geometry, np.int16)
    assert not nib.load(tmp_path / "mask.nii").header.extensions


def test_names_of_a_patient_are_not_passed_on(tmp_path):
    (tmp_path / "x.nii").write_bytes(raw(descrip=b"A patient", db_name=b"A patient"))
    volume = read_volume(tmp_path / "x.nii")
    write_volume(tmp_path / "mask.nii", volume.data, volume.geometry, np.int16)
    assert b"A patient" not in (tmp_path / "mask.nii").read_bytes()


def test_a_gzip_bomb_is_refused_unpacked_no_further_than_its_header_says(tmp_path, monkeypatch):
    bomb = gzip.compress(raw(), mtime=0) + gzip.compress(bytes(2**20), mtime=0) * 64
    (tmp_path / "x.nii.gz").write_bytes(bomb)
    unpacked = []
    read = gzip.GzipFile.read

    def counted(self, size=-1):
        unpacked.append(len(content := read(self, size)))
        return content

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    with pytest.raises(InputError, match="holds more than the 5x6x3 voxels of type int16 of its header"):
        read_volume(tmp_path / "x.nii.gz")
    assert sum(unpacked) < 2000


def test_the_checksum_of_gzip_is_looked_at(tmp_path):
    packed = bytearray(gzip.compress(raw(), mtime=0))
    packed[-8] ^= 1
    (tmp_path / "x.nii.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"CRC check failed"):
        read_volume(tmp_path / "x.nii.gz")


def test_a_swapped_byte_order_is_read(tmp_path):
    header = nib.Nifti1Header(raw()[:348], check=False).as_byteswapped()
    (tmp_path / "x.nii").write_bytes(header.binaryblock + bytes(4) + VOXELS.byteswap().tobytes(order="F"))
    data = read_volume(tmp_path / "x.nii").data
    assert data.dtype == VOXELS.dtype and np.array_equal(data, VOXELS)


def test_half_a_pair_is_refused(tmp_path):
    save(tmp_path / "x.hdr", kind=nib.Nifti1Pair)
    assert np.array_equal(read_volume(tmp_path / "x.img").data, VOXELS)
    (tmp_path / "x.img").unlink()
    with pytest.raises(InputError, match=r"x\.img: no such file"):
        read_volume(tmp_path / "x.hdr")


def test_what_float32_cannot_hold_becomes_infinite_without_a_warning(tmp_path):
    data = read_volume(save(tmp_path / "x.nii", VOXELS * 1e300)).data
    assert np.isinf(data).any()


def test_refuses_what_is_missing_a_folder_or_another_format(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_volume(tmp_path / "x.nii.gz")
    with pytest.raises(InputError, match="no such file"):
        read_volume(tmp_path)
    nib.save(nib.MGHImage(VOXELS.astype(np.float32), np.eye(4)), tmp_path / "x.mgz")
    with pytest.raises(InputError, match="not a readable NIfTI file"):
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


def test_two_affines_of_one_space_are_said_of_the_image_and_fit_either(tmp_path: Path) -> None:
    other = QFORM.copy()
    other[1, 3] += 7
    volume = read_volume(save(tmp_path / "x.nii", qform=(QFORM, 1), sform=(other, 1)))
    (said,) = (remark for remark in volume.geometry.remarks if "sform" in remark)
    assert said == "sform and qform of the same space differ: corners lie up to 7 mm apart; sform is taken"
    for affine in (QFORM, other):
        assert volume.geometry.difference(Geometry.from_affine(volume.geometry.shape, affine)) is None
    moved = other.copy()
    moved[0, 3] += 7
    assert volume.geometry.difference(Geometry.from_affine(volume.geometry.shape, moved)) is not None
    # Of two spaces there may be two; and rounding is none of it.
    for sform in ((other, 2), (QFORM + 1e-4 * np.eye(4), 1)):
        geometry = read_volume(save(tmp_path / "y.nii", qform=(QFORM, 1), sform=sform)).geometry
        assert not [remark for remark in geometry.remarks if "sform" in remark]
