"""Averaged weights, which are validated, tested and kept in place of those of the last step."""

from collections.abc import Iterator

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class Averaging(WeightAveraging):
    """An exponential moving average of the weights, which is validated, tested and kept in place of them.

    Statistics of batch normalisation are averaged along. The average begins short, over about a tenth of the steps so
    far, and grows to ``decay``: a fixed decay would remember the first random weights for thousands of steps.

    Source: Polyak and Juditsky 1992, doi:10.1137/0330046; the growing decay as in TensorFlow's
    ``ExponentialMovingAverage(num_updates=...)``.

    Args:
        decay: Of the average at each step, from 0 to below 1.
    """

    def __init__(self, decay: float) -> None:
        super().__init__()
        self._decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the network to where it will train."""
        if stage == "fit":
            self._average_model = _Average(pl_module, trainer.strategy.root_device, self._decay)

    def weights(self) -> dict[str, Tensor]:
        """Give the averaged weights by their names in the network's module."""
        assert self._average_model is not None
        averaged: dict[str, Tensor] = self._average_model.module.state_dict()
        return averaged


class _Average(AveragedModel):
    """Averaged weights; a step of them takes no more than a kernel or two, and no device is waited for."""

    def __init__(self, model: nn.Module, device: torch.device | int | None, decay: float) -> None:
        super().__init__(model, device=device, use_buffers=True)
        self._decay = decay
        # Steps are counted in main memory, where they can be looked at without waiting for the device.
        self.n_averaged = self.n_averaged.cpu()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Go on with the average; the first weights are taken as they are."""
        steps = int(self.n_averaged)
        share = min((1 + steps) / (10 + steps), self._decay) if steps else 0.0
        kinds: dict[bool, tuple[list[Tensor], list[Tensor]]] = {True: ([], []), False: ([], [])}
        for averaged, current in zip(_tensors(self.module), _tensors(model), strict=True):
            for tensors, tensor in zip(kinds[averaged.is_floating_point()], (averaged, current), strict=True):
                tensors.append(tensor)
        if kinds[True][0]:
            torch._foreach_lerp_(*kinds[True], 1 - share)
        if kinds[False][0]:  # counters of batch normalisation
            torch._foreach_copy_(*kinds[False])
        self.n_averaged += 1


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return (tensor.detach() for tensor in (*model.parameters(), *model.buffers()))
