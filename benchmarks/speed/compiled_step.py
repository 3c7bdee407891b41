"""Whether torch.compile pays: ``python -m benchmarks.speed.compiled_step [NAMES]``.

Prints, for each run, cases a second of bare steps with and without it, the seconds of the first step, in which the
network is compiled, and after how many cases these are made up for (``trainer.compile=auto`` goes by that).

The steps are those of `benchmarks.speed.training_step`. Both kinds take turns. With
``TORCHINDUCTOR_CACHE_DIR=EMPTY`` compiling starts from nothing, else from PyTorch's cache on disk. Needs a C++ compiler
on a CPU. Names are those of `RUNS`; without any, all are timed.
"""

import statistics
import sys
import time

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.speed.training_step import Bare
from musclesense.training.composition import compose
from musclesense.training.machine.hardware import choose

TURNS, CASES_A_TURN = 5, 32
RUNS = {
    "the demo's": ("experiment=demo",),
    "the default": (),
    "experiment=fast": ("experiment=fast",),
    "experiment=any_scanner_fat": ("experiment=any_scanner_fat",),
}


def main() -> None:
    """Time the network of each run and print."""
    table = Table("network", "eager, cases/s", "compiled, cases/s", "ratio", "compiling, s", "pays from, cases")
    for name in sys.argv[1:] or RUNS:
        settings = compose(*RUNS[name])
        hardware = choose(settings.config.trainer)
        device = torch.device(hardware.accelerator)
        kinds = [Bare(settings, hardware.precision, device, compiled=compiled) for compiled in (False, True)]
        compiling = [seconds(bare, settings.config.loader.batch_size) for bare in kinds][1]
        pairs = [[CASES_A_TURN / seconds(bare, CASES_A_TURN) for bare in kinds] for _ in range(TURNS)]
        eager, compiled = (statistics.median(rates) for rates in zip(*pairs, strict=True))
        ratio = statistics.median(compiled / eager for eager, compiled in pairs)
        saved = 1 / eager - 1 / compiled  # s a case
        pays = f"{compiling / saved:.0f}" if saved > 0 else "never"
        table.add_row(name, f"{eager:.1f}", f"{compiled:.1f}", f"{ratio:.2f}", f"{compiling:.0f}", pays)
    Console().print(f"{hardware.accelerator}, {hardware.precision}, {torch.get_num_threads()} threads", table)


def seconds(bare: Bare, cases: int) -> float:
    """Train on so many cases; give the seconds on the wall."""
    started = time.perf_counter()
    bare.train(cases)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
