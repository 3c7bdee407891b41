"""Whether torch.compile pays: ``python -m benchmarks.compiled_step`` times bare steps with and without it.

A step is forward, loss, backward and AdamW in bf16 on random data, as `benchmarks.training_step` has it. Both kinds
take turns; what compiling takes is told apart. Needs a C++ compiler on a CPU.
"""

import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from musclesense.training.loss import DiceCrossEntropy
from musclesense.training.unet import UNet

TURNS, STEPS_A_TURN = 6, 4
CHANNELS = 4
NETWORKS = {"unet_small, 160 x 80": (12, 4, 8, (80, 160)), "unet_16, 320 x 160": (16, 5, 8, (160, 320))}
"""Width, depth, batch, rows and columns."""


def main() -> None:
    """Time each network and print."""
    table = Table("network", "eager, ms", "compiled, ms", "eager / compiled", "compiling, s")
    for name, (width, depth, batch, shape) in NETWORKS.items():
        images = torch.randn(batch, CHANNELS, *shape).contiguous(memory_format=torch.channels_last)
        classes = torch.randint(0, 2, (batch, *shape))
        steps, compiling = [], 0.0
        for compiled in (False, True):
            network = UNet(in_channels=CHANNELS, out_channels=2, width=width, depth=depth)
            step = make_step(network.to(memory_format=torch.channels_last), images, classes, compiled=compiled)
            started = time.perf_counter()
            step()
            compiling = time.perf_counter() - started
            steps.append(step)
        taken: list[list[float]] = [[], []]
        for _ in range(TURNS):
            for own, step in zip(taken, steps, strict=True):
                started = time.perf_counter()
                for _ in range(STEPS_A_TURN):
                    step()
                own.append((time.perf_counter() - started) * 1000 / STEPS_A_TURN)
        eager, fast = map(statistics.median, taken)
        ratio = statistics.median(one / other for one, other in zip(*taken, strict=True))
        table.add_row(name, f"{eager:.0f}", f"{fast:.0f}", f"{ratio:.2f}", f"{compiling:.0f}")
    Console().print(f"cpu, bf16, {torch.get_num_threads()} threads", table)


def make_step(network: UNet, images: torch.Tensor, classes: torch.Tensor, *, compiled: bool) -> Callable[[], None]:
    """Give a training step of a network, the network compiled or not."""
    optimizer, loss = torch.optim.AdamW(network.parameters(), lr=1e-3), DiceCrossEntropy(dice_weight=1.0)
    forward = torch.compile(network) if compiled else network

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = forward(images)
        loss(logits, classes).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
