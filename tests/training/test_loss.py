"""The loss, by hand and at its edges."""

import math

import pytest
import torch

from musclesense.training.loss import DiceCrossEntropy


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
