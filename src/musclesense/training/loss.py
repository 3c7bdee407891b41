"""What training minimises, and by what its epochs are compared."""

import torch
from torch import Tensor, nn
from torchmetrics import Metric


class DiceCrossEntropy(nn.Module):
    """Cross-entropy plus soft Dice loss over the foreground classes (Milletari et al. 2016, doi:10.1109/3DV.2016.79).

    Dice weighs ``dice_weight`` and is taken over the whole batch, so that slices without a class do not count as
    failures. A class that the whole batch lacks, such as a muscle of the calf in thighs, has none.
    """

    def __init__(self, *, dice_weight: float) -> None:
        super().__init__()
        self.dice_weight = dice_weight

    def forward(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Give the loss of logits (batch, 1 + classes, rows, columns) against class indices (batch, rows, columns)."""
        logits = logits.float()  # sums over a batch overflow or drown in half precision
        log_probability = logits.log_softmax(dim=1)
        # A byte for each pixel and class: with many classes, numbers would take the most memory and time of a step.
        own = classes[:, None] == torch.arange(logits.shape[1], device=classes.device)[:, None, None]
        # As functional.cross_entropy, whose sums on a GPU differ from run to run.
        entropy = -log_probability.where(own, 0).sum(dim=1).mean()
        probability = log_probability.exp()
        shared, size, total = (part.sum((0, 2, 3))[1:] for part in (probability.where(own, 0), own, probability))
        lost = 1 - (2 * shared + 1) / (total + size + 1)
        there = size > 0
        return torch.add(entropy, (lost * there).sum() / there.sum().clamp(min=1), alpha=self.dice_weight)


class MeanDice(Metric):
    """Mean over cases of the Dice score coefficient, a class at a time.

    A case whose truth and prediction both lack a class is not counted for that class.
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

        A class that is not ``possible``, (batch, classes) boolean, does not count whatever is predicted.
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
