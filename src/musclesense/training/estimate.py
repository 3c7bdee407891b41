"""How long a run would take on this machine, from a training step of its network."""

from timeit import timeit

import torch

from musclesense.cohort.table import CohortTable
from musclesense.training import inputs
from musclesense.training.machine.hardware import choose
from musclesense.training.session import make_module
from musclesense.training.settings import Settings

_STEPS = 2


def seconds_of(settings: Settings, table: CohortTable) -> float:
    """Estimate the training of one run of a study, were all epochs needed; drawing slices is not included."""
    used, config = inputs.used_rows(settings, table), settings.config
    folds, drawn = config.folds, settings.synthesis and config.synthesis
    # A validation case costs a third of a training case at most.
    trained = 0.0 if drawn and drawn.replace else len(used) * (1 - 1 / folds.outer) * (1 - 1 / folds.inner)
    validated = len(used) * (1 - 1 / folds.outer) / folds.inner
    cases = trained + (drawn.per_epoch if drawn else 0) + validated / 3
    return config.trainer.max_epochs * cases * _seconds_a_case(settings)


def _seconds_a_case(settings: Settings) -> float:
    """Time training steps on noise: one batch of two cases, the first step not counted."""
    hardware, spec = choose(settings.config.trainer), settings.spec
    module = make_module(settings).to(hardware.device)
    size = (spec.grid.rows, spec.grid.columns)
    images = torch.randn(2, len(spec.channels), *size, device=hardware.device)
    classes = torch.zeros(2, *size, dtype=torch.long, device=hardware.device)

    def step() -> None:
        with torch.autocast(hardware.device.type, torch.bfloat16, enabled=hardware.precision == "bf16-mixed"):
            loss = module.loss(module(images), classes)
        loss.backward()
        loss.item()  # waits for the device

    step()
    return timeit(step, number=_STEPS) / _STEPS / len(images)
