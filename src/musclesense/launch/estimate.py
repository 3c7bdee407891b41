"""How long a plan would take on this machine, from a training step of its network."""

import time

import torch

from musclesense.cohort.table import CohortTable
from musclesense.launch.plan import Plan
from musclesense.training import inputs
from musclesense.training.config import Config
from musclesense.training.folders import study_folder
from musclesense.training.machine.hardware import choose
from musclesense.training.run import make_module

_STEPS = 2


def seconds_of(plan: Plan, tables: dict[str, CohortTable]) -> float:
    """Estimate the training of every unfinished run, were all epochs needed; drawing slices is not included.

    Args:
        plan: The runs.
        tables: Table of each study's cohort, by the name of the study's folder.
    """
    total = 0.0
    for folder, config in plan.studies.items():
        runs = sum(study_folder(run) == folder for run in plan.unfinished)
        used = inputs.used_rows(config, tables[folder.name])
        share = (1 - 1 / config.folds.outer) * (1 - 1 / config.folds.inner)
        # D4 costs a third of a training pass at most a case, D3 a whole one.
        d3 = 0.0 if config.synthesis.replace else len(used) * share
        drawn = 0 if config.synthesis.name == "none" else config.synthesis.per_epoch
        cases = d3 + drawn + len(used) * (1 - 1 / config.folds.outer) / config.folds.inner / 3
        total += runs * config.trainer.max_epochs * cases * _seconds_a_case(config)
    return total


def _seconds_a_case(config: Config) -> float:
    """Time training steps on noise: one batch of two cases, the first step not counted."""
    hardware = choose(config.trainer)
    module = make_module(config).to(hardware.device)
    grid = module.spec.grid
    images = torch.randn(2, len(module.spec.channels), grid.rows, grid.columns, device=hardware.device)
    classes = torch.zeros(2, grid.rows, grid.columns, dtype=torch.long, device=hardware.device)
    started = time.perf_counter()
    for step in range(_STEPS + 1):
        with torch.autocast(hardware.device.type, torch.bfloat16, enabled=hardware.precision == "bf16-mixed"):
            loss = module.loss(module(images), classes)
        loss.backward()
        loss.item()  # waits for the device
        if step == 0:
            started = time.perf_counter()
    return (time.perf_counter() - started) / _STEPS / len(images)
