"""How long a plan would take on this machine, from a training step of its network."""

import time
from collections.abc import Mapping

import torch

from musclesense.cohort.table import CohortTable
from musclesense.launch.plan import Plan
from musclesense.studies.layout import StudyFolder
from musclesense.training import inputs
from musclesense.training.machine.hardware import choose
from musclesense.training.run import make_module
from musclesense.training.settings import Settings

_STEPS = 2


def seconds_of(plan: Plan, tables: Mapping[StudyFolder, CohortTable]) -> float:
    """Estimate the training of every unfinished run, were all epochs needed; drawing slices is not included."""
    total = 0.0
    for study, settings in plan.studies.items():
        runs = sum(run.study == study for run in plan.unfinished)
        used, config = inputs.used_rows(settings, tables[study]), settings.config
        folds, drawn = config.folds, settings.synthesis and config.synthesis
        # A validation case costs a third of a training case at most.
        trained = 0.0 if drawn and drawn.replace else len(used) * (1 - 1 / folds.outer) * (1 - 1 / folds.inner)
        validated = len(used) * (1 - 1 / folds.outer) / folds.inner
        cases = trained + (drawn.per_epoch if drawn else 0) + validated / 3
        total += runs * config.trainer.max_epochs * cases * _seconds_a_case(settings)
    return total


def _seconds_a_case(settings: Settings) -> float:
    """Time training steps on noise: one batch of two cases, the first step not counted."""
    hardware, spec = choose(settings.config.trainer), settings.spec
    module = make_module(settings).to(hardware.device)
    size = (spec.grid.rows, spec.grid.columns)
    images = torch.randn(2, len(spec.channels), *size, device=hardware.device)
    classes = torch.zeros(2, *size, dtype=torch.long, device=hardware.device)
    started = time.perf_counter()
    for step in range(_STEPS + 1):
        with torch.autocast(hardware.device.type, torch.bfloat16, enabled=hardware.precision == "bf16-mixed"):
            loss = module.loss(module(images), classes)
        loss.backward()
        loss.item()  # waits for the device
        if step == 0:
            started = time.perf_counter()
    return (time.perf_counter() - started) / _STEPS / len(images)
