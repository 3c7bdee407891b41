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

    def update(self, prediction: Tensor, truth: Tensor, possible: Tensor | None = None) -> None:
        """Add a batch of class indices, each (batch, rows, columns).

        Args:
            prediction: What the network says.
            truth: What is right.
            possible: (batch, classes) boolean, False where a class does not count whatever is predicted.
        """
        classes = self.n_classes + 1
        # A number for each case and class, so that one count serves all of them.
        case = torch.arange(len(truth), device=truth.device)[:, None] * classes
        predicted, true = (case + part.flatten(1).long() for part in (prediction, truth))

        def count(values: Tensor) -> Tensor:
            return torch.bincount(values.flatten(), minlength=len(truth) * classes).view(-1, classes)[:, 1:]

        size = count(predicted) + count(true)
        counted = size > 0 if possible is None else (size > 0) & possible
        dice = 2 * count(true[predicted == true]) / size.clamp(min=1)
        self.total += (dice * counted).sum(0)
        self.counted += counted.sum(0)

    def compute(self) -> Tensor:
        """Give the mean DSC of each class, NaN where no case counted."""
        return self.total / self.counted
