"""The body in a slice: where it ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from musclesense.imaging.body import _otsu, background_level, body_mask


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), low=st.floats(0, 50), high=st.floats(60, 5000), share=st.floats(0.02, 0.98))
def test_the_threshold_is_scikit_images(seed: int, low: float, high: float, share: float) -> None:
    random = np.random.default_rng(seed)
    drawn = np.where(random.random((40, 50)) < share, high, low) + random.normal(0, 9, (40, 50))
    image = np.sqrt(np.abs(drawn)).astype(np.float32)
    assert _otsu(image) == float(threshold_otsu(image))


def test_a_body_that_is_known_is_not_looked_for() -> None:
    image = np.zeros((30, 30), np.float32)
    image[8:22, 8:22] = 100
    image[:3] = 7
    body = body_mask(image)
    assert background_level(image, body) == background_level(image) == 0
    assert background_level(image, ~body) == pytest.approx(100)
