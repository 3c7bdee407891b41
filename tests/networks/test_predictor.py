"""Predictors: test-time augmentation, the mean of several, and the device."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.networks.build import build_network
from musclesense.networks.predictor import Ensemble, Predictor
from musclesense.networks.torch_predictor import TorchPredictor, at_scale, find_device

from ..shared.networks import spec_of


def predictor(**changed: object) -> TorchPredictor:
    torch.manual_seed(0)
    spec = spec_of(labels=LabelSet.from_config({"left": [1], "right": [2]}), **changed)
    return TorchPredictor(build_network(spec), spec, "cpu")


IMAGES = np.random.default_rng(0).normal(size=(2, 1, 16, 32)).astype(np.float32)


def test_probabilities_are_of_the_foreground() -> None:
    own: Predictor = predictor()
    found = own.probabilities(IMAGES)
    with torch.inference_mode():
        expected = predictor().network(torch.from_numpy(IMAGES)).softmax(dim=1)[:, 1:].numpy()
    assert found.shape == (2, 2, 16, 32) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_flipped_probabilities_of_a_flipped_image_are_flipped_and_swap_sides() -> None:
    flipped = np.ascontiguousarray(IMAGES[..., ::-1])
    with_flip, without = (
        [predictor(flip=flip).probabilities(one) for one in (IMAGES, flipped)] for flip in (True, False)
    )
    swapped = [[one[..., ::-1][:, [1, 0]] for one in given] for given in (with_flip, without)]
    np.testing.assert_allclose(with_flip[0], swapped[0][1], atol=1e-6)
    np.testing.assert_allclose(with_flip[0], (without[0] + swapped[1][1]) / 2, atol=1e-6)
    assert not np.allclose(without[0], swapped[1][1], atol=1e-3)


def test_probabilities_are_the_mean_over_sizes() -> None:
    own, large, both = (predictor(scales=scales).probabilities(IMAGES) for scales in ((1.0,), (1.5,), (1.0, 1.5)))
    assert not np.allclose(own, large, atol=1e-3)
    np.testing.assert_allclose(both, (own + large) / 2, atol=1e-6)


def test_an_ensemble_is_the_mean() -> None:
    members = [predictor(scales=scales) for scales in ((1.0,), (1.5,), (0.75,))]
    mean = np.mean([member.probabilities(IMAGES) for member in members], axis=0)
    ensemble = Ensemble(members)
    np.testing.assert_allclose(ensemble.probabilities(IMAGES), mean, atol=1e-6)
    assert ensemble.spec == members[0].spec


def test_a_device_that_is_not_here_is_named() -> None:
    assert find_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert find_device("auto").type == expected
    for name in ("cuda:99", "abacus"):
        with pytest.raises(InputError, match=f"^device={name}: there is no such device here; give auto or cpu$"):
            find_device(name)


# Other sizes


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
