"""Mean DSC as a metric, against numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musclesense.training.dice import MeanDice


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
