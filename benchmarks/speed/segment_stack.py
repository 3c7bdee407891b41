"""Seconds, those of the processor and memory of ``musclesense segment`` as a stack grows.

``python -m benchmarks.speed.segment_stack FAT MODEL`` prints them for each number of slices.

Cuts the first slices off an image, as many as each number says, and segments them by the command, in a process of its
own; more than once, the sizes taking turns. Memory is the most that the process held in RAM, imports among it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
from rich.console import Console
from rich.table import Table

from musclesense.imaging.grid import slice_axis, slice_count
from musclesense.imaging.nifti import read_volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fat", type=Path, help="any image that the model may take for fat")
    parser.add_argument("model")
    parser.add_argument("--region", default="calf")
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 12, 24, 48, 96])
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    volume = read_volume(options.fat)
    axis, whole = slice_axis(volume.geometry), slice_count(volume.geometry)
    taken: dict[int, list[tuple[float, float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        stacks = {}
        for count in sorted({min(count, whole) for count in options.slices}):
            part = tuple(slice(count) if other == axis else slice(None) for other in range(3))
            cut = nib.nifti1.Nifti1Image(volume.data, volume.geometry.affine).slicer[part]
            stacks[count] = Path(folder) / f"{count}.nii.gz"
            cut.to_filename(stacks[count])
        for _ in range(options.turns):
            for count, stack in stacks.items():
                command = [str(Path(sys.executable).with_name("musclesense")), "segment", "--fat", str(stack)]
                command += ["--model", str(options.model), "--region", options.region, "--out", f"{folder}/out"]
                taken.setdefault(count, []).append(cost(command))
    table = Table("slices", "seconds", "ms for each slice more", "of the processor, s", "memory, MB")
    before: tuple[int, float] | None = None
    for count, runs in taken.items():
        seconds, megabytes, processor = (statistics.median(kind) for kind in zip(*runs, strict=True))
        more = "" if before is None else f"{1000 * (seconds - before[1]) / (count - before[0]):.0f}"
        table.add_row(str(count), f"{seconds:.1f}", more, f"{processor:.1f}", f"{megabytes:.0f}")
        before = (count, seconds)
    Console().print(table)


def cost(command: list[str]) -> tuple[float, float, float]:
    """Give the seconds on the wall, the megabytes and the seconds of the processor that a command takes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    return time.perf_counter() - started, used.ru_maxrss * 1024 / 1e6, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
