"""Real scans segmented by networks that were trained on phantoms alone.

``MUSCLESENSE_REAL_DATA=DIR python -m experiments.any_scanner_fat.real_scans RUN OUT`` writes into OUT, of a run:

- ``slices.csv``: whole-muscle Dice on each slice of ``ideal_thigh``, from its fat image alone, by ``best.ckpt``, with
  the part of the labels that is found (sensitivity) and the part of what is found that is labelled (precision), beside
  the naive rule "water > fat within the body", which needs both images;
- ``curve.csv`` and ``.png``: the mean over slices 2..8 of the checkpoints kept while training, by training time;
- ``ideal_thigh.png``, ``siemens_thigh.png``, ``siemens_calf.png``: what was segmented, on the fat image. That of
  ``siemens_calf``, whose phases were not kept, is approximated from magnitudes (``magnitude_fat.py``).

``--one-view`` segments single images at their own size, whatever the networks were trained to test by.

The labels of ``ideal_thigh`` are another network's. Nothing here is used to choose a checkpoint or a setting.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from benchmarks.validity.observers import naive_rule
from experiments.any_scanner_fat.magnitude_fat import approximate_fat
from numpy.typing import NDArray

from musclesense.imaging.body import body_mask
from musclesense.imaging.grid import slice_count, take_slice
from musclesense.imaging.nifti import Geometry, Volume, read_volume
from musclesense.metrics.overlap import Overlap, overlap
from musclesense.networks.bundle import read_trained
from musclesense.networks.torch_predictor import TorchPredictor
from musclesense.segmentation.scan import from_echoes
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.atomic import atomic_path
from musclesense.storage.records import write_csv
from musclesense.studies.layout import RunFolder
from musclesense.studies.reading import read_epochs

SCORED = range(2, 9)
"""The slices of ``ideal_thigh`` whose mean is reported."""
LABELLED = range(2, 11)
ECHOES = ("te345", "te460", "te575")


def main() -> None:
    """Read the command line, score and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--one-view", action="store_true")
    options = parser.parse_args()
    data = Path(os.environ["MUSCLESENSE_REAL_DATA"])
    options.out.mkdir(parents=True, exist_ok=True)
    best = load(RunFolder(options.run).checkpoints.best, one_view=options.one_view)

    fat, water, labels = (read_volume(data / "ideal_thigh" / f"{name}.nii.gz") for name in ("fat", "water", "muscles"))
    predicted = segment(best, fat)
    by_rule = naive(fat, water)
    rows = []
    for number in LABELLED:
        found = compare(predicted, labels, number)
        rows.append(
            {
                "slice": number,
                "dice": found.dice,
                "sensitivity": found.tp / (found.tp + found.fn),
                "precision": found.tp / (found.tp + found.fp),
                "naive_dice": compare(by_rule, labels, number).dice,
            }
        )
    write_csv(options.out / "slices.csv", tuple(rows[0]), rows)
    for name in list(rows[0])[1:]:
        scored = [value for row in rows if row["slice"] in SCORED and (value := row[name]) is not None]
        print(f"ideal_thigh, slices {SCORED[0]}..{SCORED[-1]}: mean {name} {np.mean(scored):.4f}")
    points = curve(RunFolder(options.run), fat, labels, one_view=options.one_view)
    write_csv(options.out / "curve.csv", ("epoch", "minutes", "val_dice", "real_dice"), points)
    plot(options.out / "curve.png", points)

    draw(options.out / "ideal_thigh.png", fat, predicted, LABELLED, truth=labels)
    thigh = from_phases(data / "siemens_thigh")
    draw(options.out / "siemens_thigh.png", thigh, segment(best, thigh), range(slice_count(thigh.geometry)))
    calf = from_magnitudes(data / "siemens_calf")
    every_second = range(10, slice_count(calf.geometry) - 4, 2)  # no limb further out
    draw(options.out / "siemens_calf.png", calf, segment(best, calf), every_second, columns=6)


def load(checkpoint: Path, *, one_view: bool) -> Segmenter:
    """Load a network, to see each image once or as often as it was trained to test."""
    return augmented(checkpoint, flip=False, scales=(1.0,)) if one_view else Segmenter.load(checkpoint)


def augmented(checkpoint: Path, *, flip: bool, scales: tuple[float, ...]) -> Segmenter:
    """Load a network with a test-time augmentation of its own."""
    trained = read_trained(checkpoint)
    return Segmenter(TorchPredictor(trained.network, replace(trained.spec, flip=flip, scales=scales)), (checkpoint,))


def segment(segmenter: Segmenter, fat: Volume) -> NDArray[np.uint8]:
    """Segment every slice of a fat image."""
    return segmenter.segment({"fat": fat.data.astype(np.float32)}, fat.geometry)


def compare(predicted: NDArray[Any], labels: Volume, number: int) -> Overlap:
    """Count the voxels of whole muscle in one slice."""
    truth, mask = (take_slice(data, labels.geometry, number) > 0 for data in (labels.data, predicted))
    return overlap(truth, mask)


def mean_dice(predicted: NDArray[Any], labels: Volume) -> float:
    """Give the mean Dice of the slices that are scored."""
    return float(np.mean([compare(predicted, labels, number).dice for number in SCORED]))


def naive(fat: Volume, water: Volume) -> NDArray[np.bool_]:
    """Call muscle what holds more water than fat within the body, in each slice."""
    muscle = np.zeros(fat.geometry.shape, bool)
    for number in range(slice_count(fat.geometry)):
        own_fat, own_water = (take_slice(one.data.astype(np.float32), fat.geometry, number) for one in (fat, water))
        take_slice(muscle, fat.geometry, number)[:] = naive_rule(own_fat, own_water)
    return muscle


def curve(run: RunFolder, fat: Volume, labels: Volume, *, one_view: bool) -> list[dict[str, Any]]:
    """Score the checkpoints that were kept while training."""
    epochs = {row.epoch: row for row in read_epochs(run)}
    rows = []
    for epoch, checkpoint in run.checkpoints.epochs().items():
        predicted = segment(load(checkpoint, one_view=one_view), fat)
        rows.append(
            {
                "epoch": epoch,
                "minutes": round((epochs[epoch].seconds or 0) / 60, 1),
                "val_dice": epochs[epoch].val_dice,
                "real_dice": mean_dice(predicted, labels),
            }
        )
    return rows


def plot(out: Path, points: list[dict[str, Any]]) -> None:
    """Plot validation Dice and on the real scan against training time."""
    figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
    minutes = [point["minutes"] for point in points]
    axis.plot(minutes, [point["real_dice"] for point in points], "o-", label="ideal_thigh, slices 2..8 (real)")
    axis.plot(minutes, [point["val_dice"] for point in points], "s--", label="validation (phantoms, any scanner)")
    axis.set(xlabel="training time, minutes", ylabel="whole-muscle Dice")
    axis.legend()
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=80)
    plt.close(figure)


def from_phases(folder: Path) -> Volume:
    """Separate fat from the echoes of a folder."""
    scan = from_echoes(*((folder / f"{echo}_magnitude.nii.gz", folder / f"{echo}_phase.nii.gz") for echo in ECHOES))
    return Volume(scan.channels["fat"], scan.geometry)


def from_magnitudes(folder: Path) -> Volume:
    """Approximate fat from the magnitudes of the echoes of a folder, whose phases were not kept."""
    volumes = [read_volume(folder / f"{echo}_magnitude.nii.gz") for echo in ECHOES]
    geometry = volumes[0].geometry
    numbers = range(slice_count(geometry))
    echoes = [[take_slice(each.data, geometry, one).astype(np.float32) for one in numbers] for each in volumes]
    fat = np.zeros(geometry.shape, np.float32)
    for number, image in zip(numbers, approximate_fat(echoes, geometry.zooms[0]), strict=True):
        take_slice(fat, geometry, number)[:] = image
    return Volume(fat, geometry)


def draw(
    out: Path,
    fat: Volume,
    predicted: NDArray[np.uint8],
    numbers: Sequence[int],
    *,
    truth: Volume | None = None,
    columns: int = 2,
) -> None:
    """Draw slices with the outline of the mask (cyan) and of the reference (red)."""
    shown = [display(take_slice(fat.data, fat.geometry, number), fat.geometry) for number in numbers]
    covered = np.nonzero(np.any([body_mask(image) for image in shown], axis=0))
    window = tuple(slice(at.min(), at.max() + 1) for at in covered)
    height, width = (part.stop - part.start for part in window)
    rows = -(-len(shown) // columns)
    size = (16, 16 / columns * (height / width + 0.04) * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for axis, number, image in zip(axes.flat, numbers, shown, strict=False):
        axis.imshow(image[window], cmap="gray", vmin=0, vmax=np.percentile(image, 99.5))
        outlines = [(predicted, "tab:cyan")] + ([(truth.data, "tab:red")] if truth else [])
        for classes, colour in outlines:
            mask = display(take_slice(classes, fat.geometry, number), fat.geometry) > 0
            if mask.any():
                axis.contour(mask[window], [0.5], colors=colour, linewidths=1.0)
        axis.set_title(f"slice {number}", fontsize=9)
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=60)
    plt.close(figure)


def display(stored: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Turn a slice of an axis-aligned scan into radiological display."""
    affine = geometry.affine
    shown = stored.T
    return shown[:: -1 if affine[1, 1] > 0 else 1, :: -1 if affine[0, 0] > 0 else 1]


if __name__ == "__main__":
    main()
