"""Single slices as volumes: they lie where they lay, and go back where they came from."""

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from musclesense.errors import InputError
from musclesense.imaging.grid import slice_axis, slice_count, take_slice
from musclesense.imaging.nifti import Geometry, Volume, read_volume, write_volume
from musclesense.nnunet.slices import lay_back, single_slice, slice_geometry


@st.composite
def volumes(draw: st.DrawFn) -> Volume:
    """Volumes whose axes run along any directions, tilted a little, of any codes of orientation."""
    order = draw(st.sampled_from(list(itertools.permutations(range(3)))))
    affine = np.eye(4)
    affine[:3, :3] = 0
    for direction, axis in enumerate(order):
        affine[direction, axis] = draw(st.sampled_from([-1, 1])) * draw(st.floats(0.5, 12))
    tilt = draw(st.floats(-0.3, 0.3))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    affine = turn @ affine
    affine[:3, 3] = [draw(st.floats(-500, 500)) for _ in range(3)]
    shape = draw(st.tuples(*[st.integers(2, 5)] * 3))
    geometry = Geometry.from_affine(shape, affine)
    qform, sform = draw(st.sampled_from([(0, 1), (1, 1), (1, 2), (2, 0)]))
    geometry.header.set_qform(affine, code=qform)
    geometry.header.set_sform(affine, code=sform)
    data = np.random.default_rng(0).integers(-300, 300, shape).astype(draw(st.sampled_from([np.int16, np.float32])))
    return Volume(data, geometry)


@settings(max_examples=40, deadline=None)
@given(volumes(), st.data())
def test_slices_of_a_file_go_back_where_they_came_from(volume: Volume, data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        write_volume(Path(folder) / "whole.nii.gz", volume.data, volume.geometry, volume.data.dtype)
        whole = read_volume(Path(folder) / "whole.nii.gz")
        count = slice_count(whole.geometry)
        numbers = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
        files = {}
        for number in numbers:
            slice_ = single_slice(whole, number)
            files[number] = Path(folder) / f"{number}.nii.gz"
            write_volume(files[number], slice_.data, slice_.geometry, slice_.data.dtype)
        back = lay_back(files, whole.geometry.shape, whole.geometry.affine)
    assert back.data.dtype == whole.data.dtype
    np.testing.assert_allclose(back.geometry.affine, whole.geometry.affine, atol=1e-4, rtol=0)
    assert back.geometry.header["sform_code"] == whole.geometry.header["sform_code"]
    assert back.geometry.header["qform_code"] == whole.geometry.header["qform_code"]
    for number in range(count):
        there = take_slice(back.data, back.geometry, number)
        wanted = take_slice(whole.data, whole.geometry, number)
        np.testing.assert_array_equal(there, wanted if number in numbers else np.zeros_like(wanted))


def _barely_tilted() -> Volume:
    """A tilt that the qform of a slice cannot keep."""
    tilt = 6e-4
    affine = np.diag([1.0, -1, -1, 1])
    affine[1:3, 1:3] = [[-np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), -np.cos(tilt)]]
    geometry = Geometry.from_affine((2, 3, 2), affine)
    geometry.header.set_qform(affine, code=2)
    geometry.header.set_sform(affine, code=0)
    return Volume(np.arange(12, dtype=np.int16).reshape(2, 3, 2), geometry)


@settings(max_examples=60, deadline=None)
@example(_barely_tilted())
@given(volumes())
def test_each_voxel_of_a_slice_stays_where_it_was(volume: Volume) -> None:
    number = slice_count(volume.geometry) - 1
    slice_ = single_slice(volume, number)
    assert slice_.data.shape == slice_.geometry.shape and slice_.data.shape[2] == 1
    across = slice_axis(volume.geometry)
    assert slice_axis(slice_.geometry) == 2
    # A qform keeps a quaternion in single precision, which near half a turn is good to 7e-4 radians.
    reach_mm = np.abs(volume.geometry.affine[:3, :3]).sum() * max(volume.data.shape)
    nearly = 1e-3 if volume.geometry.header["sform_code"] > 0 else 1e-3 * max(reach_mm, 1)
    for a, b, _ in np.ndindex(slice_.data.shape):
        index = np.insert([a, b], across, number)
        assert slice_.data[a, b, 0] == volume.data[tuple(index)]
        np.testing.assert_allclose(
            slice_.geometry.affine @ [a, b, 0, 1], volume.geometry.affine @ [*index, 1], atol=nearly, rtol=0
        )


@given(volumes())
@settings(max_examples=60, deadline=None)
def test_the_slice_axis_is_always_that_of_the_coarsest_spacing(volume: Volume) -> None:
    """So nnU-Net cuts its 2-D images across it; a slice that is thick enough keeps its thickness."""
    zooms = slice_geometry(volume.geometry, 0).zooms
    assert zooms[2] > 1.005 * max(zooms[:2])
    thickness = volume.geometry.zooms[slice_axis(volume.geometry)]
    if thickness > 1.02 * max(zooms[:2]):
        assert zooms[2] == pytest.approx(thickness)


def test_without_codes_the_place_is_kept_in_the_sform(tmp_path: Path) -> None:
    geometry = Geometry.from_affine((4, 5, 3), np.diag([2.0, 2.0, 5.0, 1.0]))
    geometry.header.set_qform(None, code=0)
    geometry.header.set_sform(None, code=0)
    slice_ = single_slice(Volume(np.arange(60, dtype=np.int16).reshape(4, 5, 3), geometry), 2)
    write_volume(tmp_path / "slice.nii.gz", slice_.data, slice_.geometry, np.int16)
    np.testing.assert_array_equal(read_volume(tmp_path / "slice.nii.gz").geometry.affine, slice_.geometry.affine)


def test_a_slice_of_another_place_is_refused(tmp_path: Path) -> None:
    volume = Volume(np.ones((4, 5, 3), np.int16), Geometry.from_affine((4, 5, 3), np.diag([2.0, 2.0, 5.0, 1.0])))
    slice_ = single_slice(volume, 2)
    write_volume(tmp_path / "slice.nii.gz", slice_.data, slice_.geometry, np.int16)
    with pytest.raises(InputError, match=r"slice\.nii\.gz: affine differs: corners lie up to 5 mm apart"):
        lay_back({1: tmp_path / "slice.nii.gz"}, (4, 5, 3), volume.geometry.affine)
