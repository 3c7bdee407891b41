"""A bare PyTorch step against our whole training loop, with data, augmentation, metrics and logging.

``python -m benchmarks.training_step [OVERRIDES]``, such as ``experiment=demo`` (the default) or ``model.width=32``.
The two are timed in turn, several times, and compared pair by pair, since machines are noisy.
"""

import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from lightning import Trainer

from musclesense.training import inputs
from musclesense.training.augmentation import Augmentation
from musclesense.training.config import Config, active_channels, register
from musclesense.training.datamodule import NestedFoldDataModule
from musclesense.training.hardware import choose
from musclesense.training.run import make_module

PAIRS = 5
EPOCHS = 3


def main() -> None:
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    register()
    with initialize_config_dir(str(Path(__file__).parents[1] / "conf"), version_base="1.3"):
        config = compose("train", ["logger=none", *(sys.argv[1:] or ["experiment=demo"])])
    with tempfile.TemporaryDirectory() as runs:
        config.runs = runs
        data = inputs.prepare(config)
        ours(config, data)
        pairs = [(bare(config, data), ours(config, data)) for _ in range(PAIRS)]
    print(f"{choose(config.trainer)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"bare step   {statistics.median(pair[0] for pair in pairs):8.1f} samples/s")
    print(f"our loop    {statistics.median(pair[1] for pair in pairs):8.1f} samples/s")
    print(f"ours / bare {statistics.median(pair[1] / pair[0] for pair in pairs):8.3f} (median of {PAIRS} pairs)")


def bare(config: Config, data: inputs.Inputs) -> float:
    """Samples a second of forward, backward and optimizer step on random data that lies on the device."""
    hardware = choose(config.trainer)
    module = make_module(config).to(hardware.device).train()
    optimizer = torch.optim.AdamW(module.parameters())
    size, steps = config.loader.batch_size, EPOCHS * -(-_cases(config, data) // config.loader.batch_size)
    images = torch.randn(size, len(module.channels), module.grid.rows, module.grid.columns, device=hardware.device)
    classes = torch.zeros(size, module.grid.rows, module.grid.columns, dtype=torch.long, device=hardware.device)
    started = time.perf_counter()
    for _ in range(steps):
        with torch.autocast(hardware.device.type, torch.bfloat16, enabled=hardware.precision == "bf16-mixed"):
            loss = module.loss(module(images), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()
    return steps * size / (time.perf_counter() - started)


def ours(config: Config, data: inputs.Inputs) -> float:
    """Samples a second of our loop over D3; validation left out, since a bare step has none."""
    hardware = choose(config.trainer)
    datamodule = NestedFoldDataModule(
        data.slices,
        data.split,
        channels=active_channels(config),
        labels=inputs.labels(config),
        augmentation=Augmentation(0.1, (0.9, 1.1), 0.5, 0.5),
        batch_size=config.loader.batch_size,
        workers=config.loader.workers,
        seed=0,
        overfit_cases=None,
        pin_memory=hardware.accelerator == "cuda",
    )
    trainer = Trainer(
        accelerator=hardware.accelerator,
        devices=1,
        precision=hardware.precision,
        max_epochs=EPOCHS,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    started = time.perf_counter()
    trainer.fit(make_module(config), datamodule=datamodule)
    return EPOCHS * _cases(config, data) / (time.perf_counter() - started)


def _cases(config: Config, data: inputs.Inputs) -> int:
    subjects = frozenset(data.split.d3)
    return sum(case.acquisition.subject in subjects for case in data.slices.cases)


if __name__ == "__main__":
    main()
