"""Overlap and surface distance against brute force and hand-made cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from musclesense.metrics.overlap import Overlap, SurfaceDistances, oracle_dice, overlap, volume_ml

Mask = NDArray[np.bool_]


def hd95_mm(truth: Mask, prediction: Mask, spacing: tuple[float, ...]) -> float | None:
    distances = SurfaceDistances.between(truth, prediction, spacing)
    return None if distances is None else distances.hd95_mm


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask, tuple[float, ...]]:
    shape = draw(array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=7))
    truth, prediction = draw(arrays(bool, shape)), draw(arrays(bool, shape))
    return truth, prediction, tuple(draw(st.sampled_from([0.5, 0.8, 1.25, 10.0])) for _ in shape)


def boundary_points(mask: Mask, spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Voxels with a face neighbour outside, found one voxel at a time."""
    points = []
    for voxel in map(tuple, np.argwhere(mask)):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                neighbour = (*voxel[:axis], voxel[axis] + step, *voxel[axis + 1 :])
                inside = all(0 <= n < length for n, length in zip(neighbour, mask.shape, strict=True))
                if not inside or not mask[neighbour]:
                    points.append(voxel)
    return np.unique(np.array(points), axis=0) * np.array(spacing)


def brute_force(truth: Mask, prediction: Mask, spacing: tuple[float, ...]) -> tuple[float, float]:
    """HD95 and average surface distance, from every pair of boundary points."""
    apart = cdist(boundary_points(truth, spacing), boundary_points(prediction, spacing))
    there, back = apart.min(axis=1), apart.min(axis=0)
    average = (there.sum() + back.sum()) / (there.size + back.size)
    return max(np.percentile(there, 95), np.percentile(back, 95)), average


def test_overlap_counts_by_hand() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0]], dtype=bool)
    prediction = np.array([[0, 1, 1], [1, 0, 1]], dtype=bool)
    assert overlap(truth, prediction) == Overlap(tp=2, fp=2, fn=1)
    assert overlap(truth, prediction).dice == pytest.approx(4 / 7)


def test_dice_of_two_empty_masks_is_undefined_and_of_one_is_zero() -> None:
    empty, full = np.zeros((3, 3), dtype=bool), np.ones((3, 3), dtype=bool)
    assert overlap(empty, empty).dice is None
    assert overlap(empty, full).dice == overlap(full, empty).dice == 0


@settings(deadline=None, max_examples=60)
@given(mask_pairs())
def test_dice_is_symmetric_in_range_and_one_only_for_identical(pair: tuple[Mask, Mask, tuple[float, ...]]) -> None:
    truth, prediction, _ = pair
    dice = overlap(truth, prediction).dice
    assert dice == overlap(prediction, truth).dice
    if dice is None:
        assert not truth.any() and not prediction.any()
    else:
        assert 0 <= dice <= 1
        assert (dice == 1) == np.array_equal(truth, prediction)


@settings(deadline=None, max_examples=100)
@given(mask_pairs())
def test_distances_equal_brute_force_and_are_symmetric(pair: tuple[Mask, Mask, tuple[float, ...]]) -> None:
    truth, prediction, spacing = pair
    distances = SurfaceDistances.between(truth, prediction, spacing)
    back = SurfaceDistances.between(prediction, truth, spacing)
    if not truth.any() or not prediction.any():
        assert distances is None and back is None
        return
    assert distances is not None and back is not None
    assert (distances.hd95_mm, distances.average_mm) == pytest.approx(brute_force(truth, prediction, spacing))
    assert (back.hd95_mm, back.average_mm) == pytest.approx((distances.hd95_mm, distances.average_mm))


def test_hd95_of_identical_masks_is_zero_and_of_shifted_masks_is_the_shift() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:20, 10:20] = True
    assert hd95_mm(mask, mask, (1.25, 1.25)) == 0
    assert hd95_mm(mask, np.roll(mask, 12, axis=0), (1.25, 1.25)) == 15.0


def test_hd95_ignores_a_far_speck_that_makes_less_than_five_percent_of_the_boundary() -> None:
    truth = np.zeros((100, 100), dtype=bool)
    truth[30:60, 30:60] = True
    prediction = truth.copy()
    prediction[95, 95] = True
    assert hd95_mm(truth, prediction, (1, 1)) == 0


def test_hd95_of_a_slice_is_the_same_with_and_without_its_third_axis() -> None:
    truth = np.zeros((20, 20), dtype=bool)
    truth[2:18, 2:18] = True
    prediction = np.zeros_like(truth)
    prediction[5:15, 2:18] = True
    flat = hd95_mm(truth, prediction, (0.6, 0.6))
    assert flat == pytest.approx(1.8)
    assert hd95_mm(truth[:, :, None], prediction[:, :, None], (0.6, 0.6, 10)) == flat


def test_volume_of_a_mask() -> None:
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[:5] = True
    assert volume_ml(mask, 0.6 * 0.6 * 10) == pytest.approx(1.8)


@pytest.mark.parametrize("measure", [overlap, lambda a, b: hd95_mm(a, b, (1, 1))])
def test_masks_of_different_shapes_or_types_are_refused(measure) -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2\) and \(2, 3\)"):
        measure(np.ones((2, 2), dtype=bool), np.ones((2, 3), dtype=bool))
    with pytest.raises(ValueError, match="boolean, got int64 and bool"):
        measure(np.ones((2, 2), dtype=np.int64), np.ones((2, 2), dtype=bool))


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0)])
def test_spacing_that_does_not_fit_is_refused(spacing: tuple[float, ...]) -> None:
    mask = np.ones((2, 2), dtype=bool)
    with pytest.raises(ValueError, match="2 positive sizes"):
        hd95_mm(mask, mask, spacing)


@settings(deadline=None, max_examples=60)
@given(
    truth=arrays(bool, (5, 6)),
    probability=arrays(
        np.float32,
        (5, 6),
        elements=st.one_of(
            st.floats(0, 1, width=32), st.sampled_from([np.float32(n / 100) for n in range(101)]), st.just(-1.0)
        ),
    ),
)
def test_the_oracle_is_the_best_of_all_thresholds_tried_one_by_one(truth: Mask, probability) -> None:
    tried = [overlap(truth, probability >= np.float32(n / 100)).dice for n in range(101)]
    assert oracle_dice(truth, probability) == (
        pytest.approx(max(dice for dice in tried if dice is not None)) if truth.any() else None
    )


@pytest.mark.parametrize(("probability", "best"), [(np.nan, 0), (-1, 0), (0, 1), (1, 1), (1 + 1e-6, 1)])
def test_the_oracle_finds_what_some_threshold_finds(probability: float, best: float) -> None:
    truth = np.ones((3, 3), bool)
    assert oracle_dice(truth, np.full((3, 3), probability, np.float32)) == best
