"""What training minimises."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class DiceCrossEntropy(nn.Module):
    """Cross-entropy plus soft Dice loss over the foreground classes (Milletari et al. 2016, doi:10.1109/3DV.2016.79).

    Dice is taken over the whole batch, so that slices without a class do not count as failures.

    Args:
        dice_weight: Weight of the Dice loss beside the cross-entropy.
    """

    def __init__(self, *, dice_weight: float) -> None:
        super().__init__()
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Give the loss of logits (batch, 1 + classes, rows, columns) against class indices (batch, rows, columns)."""
        logits = logits.float()  # sums over a batch overflow or drown in half precision
        entropy = functional.cross_entropy(logits, classes)
        probability = logits.softmax(dim=1)[:, 1:]
        truth = functional.one_hot(classes, logits.shape[1])[..., 1:].movedim(-1, 1).to(probability.dtype)
        over = (0, 2, 3)
        shared = (probability * truth).sum(over)
        total = probability.sum(over) + truth.sum(over)
        dice = (2 * shared + 1) / (total + 1)
        return torch.add(entropy, 1 - dice.mean(), alpha=self.dice_weight)
