"""The commands that are tried, as functions of their arguments; training itself is left out."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import hydra
import matplotlib.figure  # noqa: F401  (imported once, before the processes of the commands are forked)
import skimage.restoration  # noqa: F401
import torch

from musclesense.cli import main as cli
from musclesense.evaluation.report.figures import LIGHT, Chart
from musclesense.launch import main as launching
from musclesense.launch.main import command
from musclesense.launch.plan import Plan
from musclesense.training.machine.hardware import choose
from musclesense.training.session import make_module, make_trainer

_MOST_PROVED = 3


def musclesense(arguments: Sequence[str]) -> None:
    """Run ``musclesense`` with these arguments; charts are drawn for a light page and not once more for a dark one."""
    sys.path.insert(0, "")  # as python -m musclesense: a module in the working folder could be imported
    draw = Chart.png
    with patch.object(Chart, "png", lambda chart, theme: draw(chart, theme) if theme is LIGHT else b""):
        cli.main(arguments)


def train(arguments: Sequence[str], conf: Path) -> None:
    """Run ``train.py`` with these arguments as far as its plan, and prove that the plan could be carried out."""
    sys.argv = ["train.py", *arguments]
    decorated = hydra.main(config_path=str(conf), config_name="train", version_base="1.3")
    with patch.object(launching, "announce", _prove), patch.object(launching, "conclude", lambda plan: 0):
        command(decorated(lambda config: 0.0))


def _prove(plan: Plan) -> None:
    """Make what a run makes before its first batch: network, loss, optimizer, schedule, trainer."""
    # Lightning speaks of itself when a trainer is made; a run keeps it quiet likewise.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
    for settings in list(plan.studies.values())[:_MOST_PROVED]:
        module = make_module(settings)
        grid = module.spec.grid
        hardware = choose(settings.config.trainer)
        module.make_optimizer(steps=7 * settings.config.trainer.max_epochs)
        if grid.rows * grid.columns <= 160 * 320 and sum(p.numel() for p in module.parameters()) < 10**7:
            size = (2, len(module.spec.channels), grid.rows // 4 or 1, grid.columns // 4 or 1)
            module.loss(module(torch.randn(size)), torch.zeros(2, *size[2:], dtype=torch.long)).item()
        make_trainer(settings, hardware, (0,), [])
