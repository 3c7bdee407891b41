"""Within a box, distances are those of the whole slice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from musclesense.imaging.boxes import box_around, grown

MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS, st.integers(0, 3))
def test_it_holds_the_mask_and_its_margin(mask: np.ndarray, margin: int) -> None:
    box = box_around(mask, margin)
    assert mask[box].sum() == mask.sum()
    for part, length, axis in zip(box, mask.shape, (1, 0), strict=True):
        inside = np.flatnonzero(mask.any(axis=axis))
        wanted = (max(inside[0] - margin, 0), min(inside[-1] + 1 + margin, length)) if inside.size else (0, 0)
        assert (part.start, part.stop) == wanted


@given(MASKS)
def test_depths_are_those_of_the_whole_slice(mask: np.ndarray) -> None:
    if mask.all() or not mask.any():
        return
    box = box_around(mask)
    assert np.array_equal(ndimage.distance_transform_edt(mask)[box], ndimage.distance_transform_edt(mask[box]))


def test_margins_may_differ() -> None:
    assert grown((slice(3, 5), slice(0, 2)), (1, 4), (9, 5)) == (slice(2, 6), slice(0, 5))
