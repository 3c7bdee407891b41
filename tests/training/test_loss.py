"""The loss, by hand and at its edges; mean DSC as a metric, against numpy."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.training.loss import DiceCrossEntropy, MeanDice


def test_by_hand_on_two_pixels():
    """Foreground probabilities 0.8 and 0.4, of which the first pixel is muscle."""
    probability = torch.tensor([0.8, 0.4])
    logits = torch.stack([(1 - probability).log(), probability.log()])[None, :, None, :]
    truth = torch.tensor([[[1, 0]]])
    entropy = -(math.log(0.8) + math.log(0.6)) / 2
    dice = (2 * 0.8 + 1) / (0.8 + 0.4 + 1 + 1)
    for weight in (0.0, 1.0, 2.5):
        loss = DiceCrossEntropy(dice_weight=weight)(logits, truth)
        assert float(loss) == pytest.approx(entropy + weight * (1 - dice), rel=1e-5)


def test_dice_is_averaged_over_classes_and_taken_over_the_batch():
    """A slice without a class is no failure: two slices count as one big one."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 6, generator=random)
    truth = torch.randint(0, 3, (2, 4, 6), generator=random)
    truth[0][truth[0] == 2] = 0
    joined = torch.cat([*logits], dim=1)[None], truth.reshape(1, 8, 6)
    loss = DiceCrossEntropy(dice_weight=1.0)
    torch.testing.assert_close(loss(logits, truth), loss(*joined))


def test_perfect_prediction_costs_nothing_and_a_wrong_one_does():
    truth = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    logits = 50 * torch.nn.functional.one_hot(truth, 3).movedim(-1, 1).float()
    loss = DiceCrossEntropy(dice_weight=1.0)
    assert float(loss(logits, truth)) < 1e-4
    assert float(loss(logits, (truth + 1) % 3)) > 10


def test_a_class_that_the_batch_lacks_does_not_dilute_the_others():
    random = torch.Generator().manual_seed(0)
    logits, truth = torch.randn(2, 2, 4, 6, generator=random), torch.randint(0, 2, (2, 4, 6), generator=random)
    more = torch.cat([logits, torch.full((2, 3, 4, 6), -30.0)], dim=1)
    loss = DiceCrossEntropy(dice_weight=1.0)
    torch.testing.assert_close(loss(more, truth), loss(logits, truth))


def test_a_class_that_nobody_has_is_no_nan():
    truth = torch.zeros(2, 8, 8, dtype=torch.long)
    logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
    loss = DiceCrossEntropy(dice_weight=1.0)(logits, truth)
    loss.backward()
    assert loss.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_32_bit(dtype):
    """A sum over 2 x 300 x 300 pixels overflows 16-bit floats and stalls in bf16 long before."""
    logits = torch.zeros(2, 2, 300, 300, dtype=dtype)
    truth = torch.ones(2, 300, 300, dtype=torch.long)
    loss = DiceCrossEntropy(dice_weight=1.0)(logits, truth)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(math.log(2) + 1 - 2 * 0.5 / 1.5, rel=1e-4)


def by_numpy(prediction: np.ndarray, truth: np.ndarray, n_classes: int) -> list[float]:
    """Mean DSC of each class over the cases that have it in truth or prediction."""
    means = []
    for index in range(1, n_classes + 1):
        scores = []
        for one, other in zip(prediction == index, truth == index, strict=True):
            if one.any() or other.any():
                scores.append(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))
        means.append(float(np.mean(scores)) if scores else np.nan)
    return means


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), cases=st.integers(1, 9), n_classes=st.integers(1, 3), size=st.integers(1, 4))
def test_is_the_mean_over_cases_by_numpy(seed, cases, n_classes, size):
    random = np.random.default_rng(seed)
    prediction, truth = random.integers(0, n_classes + 1, (2, cases, size, size))
    metric = MeanDice(n_classes)
    for start in range(0, cases, 2):
        metric.update(torch.from_numpy(prediction[start : start + 2]), torch.from_numpy(truth[start : start + 2]))
    np.testing.assert_allclose(metric.compute().numpy(), by_numpy(prediction, truth, n_classes), rtol=1e-6)


def test_empty_truth_and_prediction_are_not_counted_and_the_count_is_kept():
    empty, full = torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(1, 4, 4, dtype=torch.long)
    metric = MeanDice(2)
    metric.update(empty, empty)
    metric.update(full, full)
    metric.update(empty, full)
    assert metric.counted.tolist() == [2, 0]
    assert metric.compute()[0].item() == 0.5
    assert metric.compute()[1].isnan()


def test_states_of_two_devices_add_up():
    random = np.random.default_rng(5)
    prediction, truth = torch.from_numpy(random.integers(0, 3, (2, 7, 5, 5)))
    whole, first, second = MeanDice(2), MeanDice(2), MeanDice(2)
    whole.update(prediction, truth)
    first.update(prediction[:2], truth[:2])
    second.update(prediction[2:], truth[2:])
    merged = MeanDice(2)
    reductions: dict[str, Any] = merged._reductions
    for name, reduce in reductions.items():
        setattr(merged, name, reduce(torch.stack([getattr(first, name), getattr(second, name)])))
    merged._update_count = 1
    torch.testing.assert_close(merged.compute(), whole.compute())
    assert float(whole.compute().mean()) != pytest.approx(float((first.compute() + second.compute()).mean() / 2))


def test_reset_forgets():
    metric = MeanDice(1)
    metric.update(torch.zeros(3, 2, 2), torch.ones(3, 2, 2))
    metric.reset()
    metric.update(torch.ones(1, 2, 2), torch.ones(1, 2, 2))
    assert metric.compute().item() == 1.0


def test_a_class_that_cannot_be_does_not_count_whatever_is_predicted():
    prediction, truth = torch.tensor([[[1, 2]], [[1, 2]]]), torch.tensor([[[1, 0]], [[1, 2]]])
    metric = MeanDice(2)
    metric.update(prediction, truth, torch.tensor([[True, False], [True, True]]))
    assert metric.compute().tolist() == [1.0, 1.0]
    assert metric.counted.tolist() == [2, 1]
