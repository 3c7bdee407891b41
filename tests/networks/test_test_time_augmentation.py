"""Images at another size: what is found comes back where it lies, whatever the size and the network's depth."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from musclesense.networks.test_time_augmentation import at_scale


def bright(images: Tensor) -> Tensor:
    """A segmenter of one class that takes what is bright, and no side that cannot be halved four times."""
    assert all(side % 16 == 0 for side in images.shape[-2:])
    return (images[:, :1] > 0.5).float()


@settings(deadline=None, max_examples=30)
@given(
    scale=st.floats(0.5, 2),
    rows=st.integers(2, 5),
    columns=st.integers(2, 5),
    top=st.integers(0, 20),
    left=st.integers(0, 20),
)
def test_a_block_comes_back_where_it_lies(scale: float, rows: int, columns: int, top: int, left: int) -> None:
    images = torch.zeros(1, 2, 16 * rows, 16 * columns)
    images[..., top : top + 12, left : left + 12] = 1
    found = at_scale(bright, images, scale)
    assert found.shape == (1, 1, 16 * rows, 16 * columns)
    assert found.min() > -1e-5 and found.max() < 1 + 1e-5
    # Borders move by less than a pixel of either size.
    core, far = images[:, :1], functional.max_pool2d(images[:, :1], 5, stride=1, padding=2)
    eroded = -functional.max_pool2d(-functional.pad(core, (2,) * 4), 5, stride=1)
    assert ((found > 0.5).float() >= eroded).all()
    assert ((found > 0.5).float() <= far).all()


def test_the_own_size_is_left_as_it_is() -> None:
    images = torch.randn(2, 1, 16, 32)
    seen = []

    def keep(given: Tensor) -> Tensor:
        seen.append(given)
        return given

    assert at_scale(keep, images, 1.0) is images and seen == [images]


@pytest.mark.parametrize("scale", [0.7, 1.3])
def test_what_is_padded_is_no_border(scale: float) -> None:
    images = torch.ones(1, 1, 48, 80)
    torch.testing.assert_close(at_scale(bright, images, scale), images)
