"""torch.compile in training: where it pays, and what happens where it cannot be had."""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec

import torch
import torch._functorch.config as functorch
from lightning import Callback, Trainer
from torch import Tensor, nn

from musclesense.errors import InputError, first_line
from musclesense.messages import log
from musclesense.training.config import TrainerConfig
from musclesense.training.machine.hardware import Hardware
from musclesense.training.module import SegmentationModule

PAYS_FROM = 10_000
"""Cases over all epochs from which ``auto`` compiles on a CPU: more than make up for the compiling with any network
that was measured (docs/reference/performance.md); shorter trainings, such as the demo's, are left as they are."""
_COMPILER = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")  # which PyTorch calls where CXX names none


def wanted(config: TrainerConfig, hardware: Hardware, *, cases: int, devices: int) -> bool:
    """Tell whether a training compiles its network.

    ``auto`` does so where it was measured to pay: on one CPU with a C++ compiler, in a training that is long enough.
    ``cases`` are those of an epoch, over all devices.

    Raises:
        InputError: ``always`` on a machine that has no compiler.
    """
    if config.compile == "never":
        return False
    lacks = _lacks(hardware.accelerator)
    if config.compile == "always":
        if lacks:
            raise InputError(f"trainer.compile=always: no {lacks} is found here; install one or give auto")
        return True
    long = cases * config.max_epochs >= PAYS_FROM
    return hardware.accelerator == "cpu" and devices == 1 and long and not lacks


def _lacks(accelerator: str) -> str | None:
    """Name what torch.compile needs on an accelerator and this machine lacks."""
    if accelerator == "cuda":
        return None if find_spec("triton") else "triton"
    return None if shutil.which(os.environ.get("CXX", _COMPILER)) else "C++ compiler"


class Compilation(Callback):
    """Lets steps of training run the network compiled; validation, tests and checkpoints have it as it is."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size

    def on_train_start(self, trainer: Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Begin; the first step then compiles."""
        pl_module.compiled = CompiledNetwork(pl_module.network, self._batch_size)

    def on_train_end(self, trainer: Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Let what was compiled go."""
        pl_module.compiled = None


class CompiledNetwork:
    """A network as torch.compile runs it, on batches of one size.

    The last batch of an epoch may be smaller, for which a network would be compiled again; it is run as it is. So are
    all batches, and it is said, where the first compiling fails.

    Kernels are chosen by rules instead of by timing them, so that a run that goes on in another process ends as one
    that was not interrupted.
    """

    def __init__(self, network: nn.Module, batch_size: int) -> None:
        self._network = network
        self._batch_size = batch_size
        self._compiled: Callable[[Tensor], Tensor] = torch.compile(
            network, dynamic=False, options={"deterministic": True}
        )
        self._proven = False

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (batch, channels, rows, columns) to logits (batch, 1 + classes, rows, columns)."""
        if len(images) != self._batch_size:
            return self._network(images)  # type: ignore[no-any-return]
        return self._compiled(images) if self._proven else self._first(images)

    def _first(self, images: Tensor) -> Tensor:
        """Compile, or give it up."""
        self._proven = True
        try:
            # Forward and backward at once, or a backward that cannot be compiled would fail outside of this block.
            with functorch.patch(force_non_lazy_backward_lowering=True):
                return self._compiled(images)
        except Exception as error:  # compilers fail in many ways; where the network itself does, it fails again below
            self._compiled = self._network
            reason = first_line(getattr(error, "inner_exception", None) or error)
            logits = self._network(images)
            log.warning(f"torch.compile failed ({reason[:200]}); training goes on without it")
            return logits  # type: ignore[no-any-return]
