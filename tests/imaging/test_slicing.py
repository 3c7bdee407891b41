"""Across which axis slices lie: tilted ones, isotropic volumes, coronal and sagittal acquisitions, single slices."""

import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from musclesense.imaging.grid import Grid, slice_axis, slice_count, take_slice
from musclesense.imaging.nifti import Geometry
from musclesense.imaging.slicing import anatomical_axes

SHAPE, ZOOMS = (40, 30, 6), (2.0, 2.0, 9.0)
STORED = ["".join(c) for codes in itertools.product("RL", "AP", "SI") for c in itertools.permutations(codes)]


def tilted(
    degrees: float, axis: str = "x", zooms: tuple[float, ...] = ZOOMS, centre: float = 0.0
) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix() @ np.diag(zooms)
    affine[:3, 3] = centre
    return affine


@settings(deadline=None, max_examples=80)
@given(st.floats(-58, 58), st.sampled_from("xy"), st.sampled_from(STORED))
def test_thick_slices_are_found_however_tilted_and_stored(degrees: float, axis: str, codes: str) -> None:
    affine = tilted(degrees, axis)
    data = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    geometry = Geometry.from_affine(SHAPE, affine)
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes))
    turned = nib.orientations.apply_orientation(data, turn)
    other = Geometry.from_affine(turned.shape, affine @ nib.orientations.inv_ornt_aff(turn, SHAPE))
    assert slice_count(other) == 6 and other.shape[slice_axis(other)] == 6
    grid = Grid(spacing_mm=3.0, rows=40, columns=50)
    # The picture is the same, whichever way the slices are stored.
    reverse = 1 if codes[[code in "SI" for code in codes].index(True)] == "S" else -1
    for number in range(6):
        image, same = (
            take_slice(data, geometry, number),
            take_slice(turned, other, number if reverse == 1 else 5 - number),
        )
        here, there = (grid.place(place, one).to_grid(one) for place, one in ((geometry, image), (other, same)))
        assert np.allclose(here, there, atol=1e-3)


@pytest.mark.parametrize("degrees", [46, 50, 59, -52])
def test_a_steep_tilt_is_said(degrees: float) -> None:
    geometry = Geometry.from_affine(SHAPE, tilted(degrees))
    assert slice_axis(geometry) == 2
    assert list(geometry.remarks) == [f"slices are tilted by {abs(degrees)} degrees; cut along axis 3, of 9 mm"]


@pytest.mark.parametrize("degrees", [0, 5, 30, 44])
@pytest.mark.parametrize("zooms", [ZOOMS, (0.8, 0.8, 20.0), (1.25, 1.25, 2.0), (0.6, 0.9, 5.0)])
def test_a_usual_tilt_needs_no_word(degrees: float, zooms: tuple[float, float, float]) -> None:
    geometry = Geometry.from_affine(SHAPE, tilted(degrees, zooms=zooms))
    assert slice_axis(geometry) == 2 and not list(geometry.remarks)


@pytest.mark.parametrize(
    ("degrees", "across", "said"), [(0, 2, False), (30, 2, False), (60, 1, False), (45, None, True)]
)
def test_isotropic_volumes_go_by_the_angle(degrees: float, across: int | None, said: bool) -> None:
    geometry = Geometry.from_affine((40, 40, 40), tilted(degrees, zooms=(1.0, 1.0, 1.0)))
    assert across in (None, slice_axis(geometry))
    assert bool(list(geometry.remarks)) is said


@pytest.mark.parametrize("zooms", [(1.0, 8.0, 1.0), (8.0, 1.0, 1.0)])
def test_coronal_and_sagittal_acquisitions_are_cut_transversely_and_said(zooms: tuple[float, float, float]) -> None:
    geometry = Geometry.from_affine((30, 30, 30), tilted(0, zooms=zooms))
    assert slice_axis(geometry) == 2
    (said,) = geometry.remarks
    assert said.startswith("slices of 8 mm along axis") and "not transverse" in said


def test_a_single_slice_is_one_slice_however_thin_its_voxels_and_tilted() -> None:
    geometry = Geometry.from_affine((40, 30, 1), tilted(50, zooms=(1.0, 1.0, 1.0)))
    assert slice_count(geometry) == 1
    assert slice_count(Geometry.from_affine((40, 30, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))) == 1


@settings(deadline=None, max_examples=50)
@given(st.floats(-40, 40), st.floats(-40, 40), st.floats(-40, 40), st.sampled_from(STORED))
def test_other_volumes_have_the_axes_that_nibabel_finds(a: float, b: float, c: float, codes: str) -> None:
    turn = Rotation.from_euler("xyz", (a / 2, b / 2, c / 2), degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(codes), (5, 5, 5))[:3, :3]
    axes, _ = anatomical_axes((50, 50, 50), affine)
    assert np.array_equal(axes, nib.io_orientation(affine))
