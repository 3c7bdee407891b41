"""Changes of intensity: what each does, to which image, and what it depends on."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from musclesense.training.augmentation import Augmentation
from musclesense.training.intensity import AS_IT_IS, FACTORS, vary

ROWS, COLUMNS = 12, 20
SOME = Augmentation(intensity=0.5, brightness=[0.75, 1.25], contrast=[0.75, 1.25], gamma=[0.7, 1.5], bias_field=0.3)


def images(channels: int = 2) -> Tensor:
    """Two slices, (2, channels, rows, columns), all of them different."""
    return torch.randn(2, channels, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))


def changes_of(channels: int = 2, **factors: float) -> Tensor:
    """The same change of every image of two slices; the bias field by its first coefficients."""
    row = np.array(AS_IT_IS)
    row[: len(FACTORS)] = [factors.pop(name, 1.0) for name in FACTORS]
    for name, value in factors.items():
        row[len(FACTORS) + int(name.removeprefix("bias"))] = value
    return torch.tensor(np.tile(row, (2, channels)), dtype=torch.float32)


AIR = torch.tensor([[-1.0, -2.0], [-3.0, 0.5]])


def test_without_changes_images_are_as_they_were():
    own = images()
    assert vary(own, AIR, torch.zeros(2, 0)) is own
    torch.testing.assert_close(vary(own, AIR, changes_of()), own, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.2, 2.0])
def test_brightness_scales_what_lies_above_air(factor):
    level = AIR[:, :, None, None]
    expected = (images() - level) * factor + level
    torch.testing.assert_close(vary(images(), AIR, changes_of(brightness=factor)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.2, 2.0])
def test_contrast_stretches_about_the_mean_within_the_range(factor):
    mean, low, high = (getattr(images(), name)((2, 3), keepdim=True) for name in ("mean", "amin", "amax"))
    expected = ((images() - mean) * factor + mean).clamp(low, high)
    torch.testing.assert_close(vary(images(), AIR, changes_of(contrast=factor)), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("exponent", [0.5, 0.8, 1.25, 2.0])
def test_gamma_bends_keeps_the_order_and_mean_and_deviation(exponent):
    bent = vary(images(), AIR, changes_of(gamma=exponent))
    for own, before in zip(bent.flatten(0, 1), images().flatten(0, 1), strict=True):
        assert torch.equal(
            own.flatten()[before.flatten().argsort()].diff() >= -1e-5, torch.ones(ROWS * COLUMNS - 1) > 0
        )
        assert float(own.mean()) == pytest.approx(float(before.mean()), abs=1e-4)
        assert float(own.std()) == pytest.approx(float(before.std()), rel=1e-4)
        unit = (before - before.min()) / (before.max() - before.min())
        assert np.corrcoef(own.flatten(), unit.flatten() ** exponent)[0, 1] == pytest.approx(1, abs=1e-5)
        assert not torch.allclose(own, before, atol=0.05)


def test_a_bias_field_is_smooth_and_leaves_air_alone():
    flat = torch.full((2, 2, ROWS, COLUMNS), 4.0)
    flat[:, :, :2] = AIR[:, :, None, None]
    along_columns = vary(flat, AIR, changes_of(bias0=0.5))
    torch.testing.assert_close(along_columns[:, :, :2], flat[:, :, :2], rtol=0, atol=1e-5)
    # By hand: the first Legendre polynomial runs from -1 to 1.
    expected = (4.0 - AIR)[:, :, None] * torch.exp(0.5 * torch.linspace(-1, 1, COLUMNS)) + AIR[:, :, None]
    torch.testing.assert_close(along_columns[:, :, 5], expected, rtol=0, atol=1e-4)


def test_each_image_is_changed_by_its_own_numbers():
    changes = changes_of().unflatten(1, (2, -1))
    changes[1, 0, 0] = 1.5
    varied = vary(images(), AIR, changes.flatten(1))
    unlike = (varied - images()).abs().amax((2, 3)) > 0.01
    assert unlike.tolist() == [[False, False], [True, False]]


def test_a_constant_image_stays_finite():
    flat = torch.zeros(2, 2, ROWS, COLUMNS)
    varied = vary(flat, torch.zeros(2, 2), changes_of(brightness=1.2, contrast=0.8, gamma=1.5, bias0=0.3))
    assert torch.isfinite(varied).all() and not varied.any()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 300), samples=st.integers(1, 9), more=st.integers(0, 9))
def test_draws_depend_on_seed_epoch_and_sample_alone(seed, epoch, samples, more):
    drawn = SOME.draw_intensity(samples, 3, seed=seed, epoch=epoch)
    assert drawn.shape == (samples, 3 * len(AS_IT_IS)) == (samples, SOME.intensity_columns(3))
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, SOME.draw_intensity(samples + more, 3, seed=seed, epoch=epoch)[:samples])
    assert torch.isfinite(vary(images(3)[:1], AIR[:1, :1].expand(1, 3), torch.from_numpy(drawn[:1]))).all()


def test_draws_fill_their_ranges_and_each_change_has_its_own_chance():
    drawn = SOME.draw_intensity(4000, 2, seed=1, epoch=2).reshape(8000, -1)
    for column, (low, high) in enumerate([(0.75, 1.25), (0.75, 1.25), (0.7, 1.5)]):
        assert low <= drawn[:, column].min() < low + 0.01 and high - 0.01 < drawn[:, column].max() <= np.float32(high)
        assert np.mean(drawn[:, column] == 1) == pytest.approx(0.5, abs=0.03)
    bias = drawn[:, len(FACTORS) :]
    assert -0.3 <= bias.min() < -0.29 and 0.29 < bias.max() <= np.float32(0.3)
    assert np.mean(~bias.any(axis=1)) == pytest.approx(0.5, abs=0.03), "a field is there as a whole or not"
    happens = np.column_stack([drawn[:, :3] != 1, bias.any(axis=1)])
    assert np.abs(np.corrcoef(happens.T) - np.eye(4)).max() < 0.05


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(0.5, bias_field=0.3, gamma=[0.5, 2])])
def test_without_a_chance_there_is_nothing_drawn(augmentation):
    assert augmentation.draw_intensity(3, 4, seed=0, epoch=0).shape == (3, 0) == (3, augmentation.intensity_columns(4))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"intensity": 1.1}, "intensity=1.1 is no probability"),
        ({"intensity": float("nan")}, "intensity=nan is no probability"),
        ({"brightness": [0, 1]}, "brightness=[0, 1] is no range"),
        ({"contrast": [1.2, 0.8]}, "contrast=[1.2, 0.8] is no range"),
        ({"gamma": [1, float("inf")]}, "gamma=[1, inf] is no range"),
        ({"gamma": [1]}, "gamma=[1] is no range"),
        ({"bias_field": -0.1}, "bias_field=-0.1 is no coefficient"),
    ],
)
def test_ranges_without_sense_are_named(wrong, named):
    (problem,) = Augmentation(**wrong).problems()
    assert named in problem
