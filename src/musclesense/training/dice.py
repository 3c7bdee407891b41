"""Mean DSC over cases, as a metric that several devices can share."""

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanDice(Metric):
    """Mean over cases of the Dice score coefficient, a class at a time.

    A case whose truth and prediction both lack a class is not counted for that class.

    Args:
        n_classes: Foreground classes.
    """

    full_state_update = False
    higher_is_better = True

    total: Tensor
    counted: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.add_state("total", torch.zeros(n_classes), dist_reduce_fx="sum")
        self.add_state("counted", torch.zeros(n_classes), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add a batch of class indices, each (batch, rows, columns)."""
        for index in range(1, self.n_classes + 1):
            predicted, true = (prediction == index).flatten(1), (truth == index).flatten(1)
            size = predicted.sum(1) + true.sum(1)
            dice = 2 * (predicted & true).sum(1) / size.clamp(min=1)
            self.total[index - 1] += dice.sum()
            self.counted[index - 1] += (size > 0).sum()

    def compute(self) -> Tensor:
        """Give the mean DSC of each class, NaN where no case counted."""
        return self.total / self.counted
