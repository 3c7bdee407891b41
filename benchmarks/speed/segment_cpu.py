"""What a slice costs on a processor, by library and by how often a network looks at it, and the whole command.

``python -m benchmarks.speed.segment_cpu FAT [MODEL] [--checkpoint FILE] [--beside OPTION=FILE ...]`` prints two tables,
each of one run; the command alone where the network takes more images than one:

- networks alone, in turns on the same slices: ONNX Runtime, PyTorch and, where they are installed (``make baselines``),
  the sliding windows of MONAI and nnU-Net over the same network of PyTorch (one window of the whole frame a slice,
  without test-time augmentation), and the network that nnU-Net itself would plan for these slices, without training;
- ``musclesense segment`` from the shell, each in a process of its own, in turns: by the bundle, which ONNX Runtime
  computes, and by a checkpoint of the same network, which PyTorch does.

Where other work runs beside, seconds of the processor are steadier than those on the wall. ``OMP_NUM_THREADS`` says how
many threads a library takes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.speed.others import Run, others
from benchmarks.speed.segment_stack import cost
from musclesense.imaging.grid import slice_axis, slice_count, take_slice
from musclesense.imaging.nifti import Volume, read_volume
from musclesense.networks.shipped import place_of
from musclesense.networks.spec import Effort, NetworkSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fat", type=Path, help="an image that the model may take for fat")
    parser.add_argument(
        "model", nargs="?", default="any_scanner_fat", help="a bundle of one network that takes these images"
    )
    parser.add_argument(
        "--beside", nargs="*", default=[], metavar="OPTION=FILE", help="more images, such as te345=FILE"
    )
    parser.add_argument("--checkpoint", type=Path, help="of the same network, to be timed from the shell, too")
    parser.add_argument("--region", default="calf")
    parser.add_argument("--slices", type=int, default=11)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    volume = read_volume(options.fat)
    print_commands(options, volume)  # first: a process counts the memory of the one that starts it, which is small yet
    if not options.beside:
        print_networks(place_of(options.model), volume, options.slices, options.turns)


def print_networks(bundle: Path, volume: Volume, slices: int, turns: int) -> None:
    """Time the networks alone."""
    numbers = range(min(slices, slice_count(volume.geometry)))
    stack = np.stack([take_slice(volume.data, volume.geometry, n) for n in numbers])
    runs, spec = runners(bundle, stack[:, np.newaxis].astype(np.float32))
    frames = [spec.frame.prepare(volume.geometry, dict.fromkeys(spec.images, one)) for one in stack]
    images = np.stack([frame.images for frame in frames])
    for run in runs.values():
        run(images[:1])
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run(images)
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    table = Table("network alone", "wall, ms a slice", "processor, ms a slice")
    for name, pairs in taken.items():
        medians = (1000 * statistics.median(kind) / len(images) for kind in zip(*pairs, strict=True))
        table.add_row(name, *(f"{median:.0f}" for median in medians))
    Console().print(table)


def runners(bundle: Path, stack: NDArray[np.float32]) -> tuple[dict[str, Run], NetworkSpec]:
    """Give what is timed, by its name; ``stack``: the slices in the scan's own voxels."""
    from musclesense.networks.bundle import read_networks
    from musclesense.networks.onnx_predictor import read_onnx
    from musclesense.networks.torch_predictor import TorchPredictor

    (trained,) = read_networks(bundle)
    runs: dict[str, Run] = {}
    for effort in Effort:
        own = read_onnx(bundle, effort)
        assert own, "ONNX Runtime does not take this bundle"
        runs[f"ONNX Runtime, {effort}"] = own[0].probabilities
        runs[f"PyTorch, {effort}"] = TorchPredictor(trained.network, trained.spec.at(effort), "cpu").probabilities
    return runs | others(trained.network, stack), trained.spec


def print_commands(options: argparse.Namespace, volume: Volume) -> None:
    """Time the command, from the shell."""
    axis = slice_axis(volume.geometry)
    part = tuple(slice(options.slices) if other == axis else slice(None) for other in range(3))
    by: dict[str, list[str]] = {f"bundle, {effort}": ["--model", options.model] for effort in Effort}
    by |= {} if options.checkpoint is None else {"checkpoint, default": ["--model", str(options.checkpoint)]}
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in by}
    with tempfile.TemporaryDirectory() as folder:
        images: list[str] = []
        for name, file in {"fat": options.fat, **dict(one.split("=", 1) for one in options.beside)}.items():
            images += [f"--{name}", f"{folder}/{name}.nii.gz"]
            one = read_volume(Path(file))
            nib.nifti1.Nifti1Image(one.data, one.geometry.affine).slicer[part].to_filename(images[-1])
        for _ in range(options.turns):
            for name, chosen in by.items():
                command = [str(Path(sys.executable).with_name("musclesense")), "segment", *images, *chosen]
                flags = [] if name.endswith(Effort.DEFAULT) else [f"--{name.split()[-1]}"]
                out = ["--device", "cpu", "--region", options.region, "--out", f"{folder}/out"]
                taken[name].append(cost([*command, *flags, *out]))
    table = Table(f"{options.slices} slices, from the shell", "wall, s", "processor, s", "memory, MB")
    for name, runs in taken.items():
        wall, megabytes, processor = (statistics.median(kind) for kind in zip(*runs, strict=True))
        table.add_row(name, f"{wall:.1f}", f"{processor:.1f}", f"{megabytes:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
