"""The same voxels as another program stores them."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.imaging.nifti import Geometry, Volume
from musclesense.imaging.turning import turned, whole_labels

SHAPE = (7, 5, 4)
AFFINE = np.array([[-1.2, 0.02, 0, 40.123456], [0.02, 1.2, 0.1, -33.987654], [0, -0.05, 8, 5.5], [0, 0, 0, 1]])
DATA = np.arange(140).reshape(SHAPE)
PLACE = Geometry.from_affine(SHAPE, AFFINE)
STORED = ["".join(c) for codes in itertools.product("RL", "AP", "SI") for c in itertools.permutations(codes)]


def stored(codes: str) -> Volume:
    turn = nib.orientations.ornt_transform(nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(codes))
    data = nib.orientations.apply_orientation(DATA, turn)
    return Volume(data, Geometry.from_affine(data.shape, AFFINE @ nib.orientations.inv_ornt_aff(turn, SHAPE)))


@pytest.mark.parametrize("codes", STORED)
def test_all_ways_of_storing_the_same_voxels_are_turned_back(codes: str) -> None:
    volume = turned(stored(codes), PLACE)
    assert np.array_equal(volume.data, DATA) and PLACE.difference(volume.geometry) is None


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(STORED), st.integers(3, 6))
def test_so_are_those_whose_affines_are_rounded(codes: str, decimals: int) -> None:
    volume = stored(codes)
    rounded = Geometry.from_affine(volume.geometry.shape, volume.geometry.affine.round(decimals))
    assert np.array_equal(turned(Volume(volume.data, rounded), PLACE).data, DATA)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_other_voxels_stay_and_are_told_apart(axis: int) -> None:
    volume = stored("PSL")
    moved = volume.geometry.affine.copy()
    moved[:3, 3] += moved[:3, axis] * 0.3
    other = Volume(volume.data, Geometry.from_affine(volume.geometry.shape, moved))
    assert turned(other, PLACE) is other and PLACE.difference(other.geometry) is not None
    # A mirror image of the same shape is none of the same voxels.
    mirrored = Geometry.from_affine(SHAPE, AFFINE * np.where(np.arange(4) == axis, -1, 1))
    assert turned(Volume(DATA, mirrored), PLACE).geometry is mirrored


@pytest.mark.parametrize(("shift", "same"), [(0.0, True), (0.09, True), (0.11, False), (1.0, False)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tenth_of_a_voxel_is_rounding(shift: float, same: bool, axis: int) -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += AFFINE[:3, axis] * shift
    assert (PLACE.difference(Geometry.from_affine(SHAPE, moved)) is None) is same


@given(st.integers(1, 400), st.integers(0, 2**31))
def test_labels_of_a_file_with_a_scale_factor_are_whole(largest: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, largest + 1, SHAPE).astype(float)
    slope = largest / 65535
    stored = Volume((np.round(labels / slope) * slope).astype(np.float32), PLACE)
    if slope < 2e-3:
        assert np.array_equal(whole_labels(stored).data, labels)


@pytest.mark.parametrize("odd", [2.5, 2.99, 0.004, np.nan, np.inf])
def test_other_values_stay_to_be_refused(odd: float) -> None:
    volume = Volume(np.full(SHAPE, 1.0, np.float32), PLACE)
    volume.data[1, 2, 3] = odd
    assert whole_labels(volume) is volume
