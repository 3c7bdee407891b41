"""Learning rates over a training of a known number of steps."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler


class Cosine(CosineAnnealingLR):
    """Half a cosine from the optimizer's rate down to ``min_lr`` (Loshchilov and Hutter 2017, arXiv:1608.03983)."""

    def __init__(self, optimizer: Optimizer, *, total_steps: int, min_lr: float = 0.0) -> None:
        super().__init__(optimizer, T_max=total_steps, eta_min=min_lr)


class Constant(LRScheduler):
    """The optimizer's own rate all along, however many steps there are."""

    def __init__(self, optimizer: Optimizer, *, total_steps: int) -> None:
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """Give the rate of each group of parameters."""
        return [group["lr"] for group in self.optimizer.param_groups]
