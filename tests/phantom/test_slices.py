"""Points of voxels, and what a voxel then is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from musclesense.phantom.anatomy.limbs import Body, sample_limbs, sample_poses
from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.anatomy.templates import compartment_values
from musclesense.phantom.cohorts.presets import Stack
from musclesense.phantom.disease.infiltration import sample_infiltration
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.slices import PlacedLimb, draw_slice, every_muscle, most_common, voxel_points, whole_muscle
from musclesense.vocabulary import Region


@pytest.mark.parametrize("count", range(1, 9))
def test_points_fill_the_voxel_about_its_centre(count: int) -> None:
    points = np.array(voxel_points(count))
    assert points.shape == (count, 3)
    assert points.mean(axis=0) == pytest.approx([0, 0, 0])
    assert np.abs(points).max() < 0.75
    assert np.sort(points[:, 2]) == pytest.approx((np.arange(count) + 0.5) / count - 0.5)


@given(arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(4), st.just(5)), elements=st.sampled_from([0, 1, 2, 101])))
def test_voxels_go_to_the_compartment_of_most_points(points: np.ndarray) -> None:
    voxels = most_common(points)
    for row, column in np.ndindex(4, 5):
        own = points[:, row, column]
        muscle = own[own > 0]
        if 2 * len(muscle) < len(own) or (2 * len(muscle) == len(own) and own[0] == 0):
            assert voxels[row, column] == 0
        else:
            counts = {int(value): int((own == value).sum()) for value in muscle}
            assert counts[int(voxels[row, column])] == max(counts.values())


def test_one_point_is_the_voxel() -> None:
    points = np.array([[[0, 3], [7, 0]]], np.uint8)
    assert np.array_equal(most_common(points), points[0])


@pytest.fixture(scope="module")
def limbs() -> list[PlacedLimb]:
    rng = np.random.default_rng(1)
    pair = sample_limbs(rng, Body.sample(rng), Region.THIGH)
    infiltrations = sample_infiltration(rng, PATTERNS["DMD"], 0.7, Region.THIGH)
    return [PlacedLimb(*limb) for limb in zip(pair, sample_poses(rng, pair), infiltrations, strict=True)]


def test_fat_and_oedema_lie_in_muscle_alone(limbs: list[PlacedLimb]) -> None:
    drawing = draw_slice(Stack(rows=80, columns=160, voxel_mm=2.5, slices=1, points=2), limbs, 0.0)
    flesh = drawing.tissue == Tissue.MUSCLE
    for fraction in (drawing.muscle_fat, drawing.oedema):
        assert not fraction[~flesh].any()
        assert 0 < fraction.max() <= 1
    assert (drawing.compartment[flesh] > 0).all()
    values = compartment_values(Region.THIGH)
    assert set(np.unique(drawing.compartment)) - {0} <= set(values.values())


def test_mask_leaves_out_what_the_paper_leaves_out() -> None:
    values = compartment_values(Region.THIGH)
    compartments = np.array([[0] * 6 + [values["adductor_longus_left"], values["gracilis_right"]]], np.uint8)
    assert whole_muscle(compartments, Region.THIGH, 0.6).tolist() == [[0] * 7 + [1]]


@pytest.mark.parametrize(
    ("gap", "voxel_mm", "filled"),
    [
        *[(1, 1.0, True), (2, 1.0, True), (3, 1.0, False), (2, 0.6, True), (3, 0.6, False)],
        *[(1, 1.6, True), (2, 1.6, False), (1, 2.5, False)],
    ],
)
def test_mask_fills_gaps_that_nobody_draws(gap: int, voxel_mm: float, filled: bool) -> None:
    value = compartment_values(Region.THIGH)["vastus_lateralis_left"]
    compartments = np.full((1, 40, 40), value, np.uint8)
    compartments[:, :, 20 : 20 + gap] = 0
    mask = whole_muscle(compartments, Region.THIGH, voxel_mm)
    assert mask[0, 20, 20 : 20 + gap].all() == filled
    assert mask[0, :, :20].all()


def test_partial_volume_along_the_limb_softens_edges(limbs: list[PlacedLimb]) -> None:
    """A thick slice holds points of muscle and of other tissue in more voxels than a thin one."""

    def mixed(slice_mm: float) -> int:
        stack = Stack(rows=160, columns=320, voxel_mm=1.25, slices=1, slice_mm=slice_mm, points=4)
        flesh = draw_slice(stack, limbs, 0.0).tissue == Tissue.MUSCLE
        return int(np.count_nonzero(flesh.any(axis=0) & ~flesh.all(axis=0)))

    assert mixed(30.0) > 1.05 * mixed(0.1)


def test_every_muscle_is_one_or_two_with_narrow_gaps_filled() -> None:
    values = compartment_values(Region.THIGH)
    section = np.zeros((40, 60), np.uint8)
    section[5:35, 5:20] = values["vastus_lateralis_right"]
    section[5:35, 22:38] = values["adductor_longus_right"]  # a gap of two pixels
    section[5:35, 48:55] = values["sartorius_right"]  # a wide gap
    for voxel_mm, filled in ((1.0, True), (0.5, True), (2.5, False)):
        kinds = every_muscle(section, voxel_mm)
        assert (kinds[section == values["adductor_longus_right"]] == 2).all()
        assert (kinds[section == values["vastus_lateralis_right"]] == 1).all()
        assert (kinds[10:30, 20:22] > 0).all() == filled
        assert not kinds[10:30, 40:46].any() and not kinds[0].any()
    assert not every_muscle(np.zeros_like(section), 1.0).any()
