"""What training minimises."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class DiceCrossEntropy(nn.Module):
    """Cross-entropy plus soft Dice loss over the foreground classes (Milletari et al. 2016, doi:10.1109/3DV.2016.79).

    Dice is taken over the whole batch, so that slices without a class do not count as failures. A class that the whole
    batch lacks, such as a muscle of the calf in thighs, has none.

    Args:
        dice_weight: Weight of the Dice loss beside the cross-entropy.
    """

    def __init__(self, *, dice_weight: float) -> None:
        super().__init__()
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Give the loss of logits (batch, 1 + classes, rows, columns) against class indices (batch, rows, columns)."""
        logits = logits.float()  # sums over a batch overflow or drown in half precision
        log_probability = logits.log_softmax(dim=1)
        one_hot = functional.one_hot(classes, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
        # As functional.cross_entropy, whose sums on a GPU differ from run to run.
        entropy = -(log_probability * one_hot).sum(dim=1).mean()
        probability, truth = log_probability.exp()[:, 1:], one_hot[:, 1:]
        over = (0, 2, 3)
        shared = (probability * truth).sum(over)
        total = probability.sum(over) + truth.sum(over)
        lost = 1 - (2 * shared + 1) / (total + 1)
        there = truth.sum(over) > 0
        return torch.add(entropy, (lost * there).sum() / there.sum().clamp(min=1), alpha=self.dice_weight)
