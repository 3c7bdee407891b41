"""Whether a step across slices makes masks of stacks better, on phantoms that no training has drawn.

``python -m benchmarks.validity.volume OUT --model any_contrast`` draws stacks of one subject each. Thickness and
distance of slices are alike; noise and motion are each slice's own, and half of the stacks have a spoilt slice. It
writes ``OUT/stacks-MODEL.csv``, a row for each stack and step, and prints the means of even stacks, of odd ones, and by
distance:

- ``dice``: over the slices that hold muscle;
- ``islands``: pieces of the mask in a slice that touch no true muscle; ``island_cm2`` their area;
- ``flicker``: Dice between the masks of neighbouring slices less that of their truths: below 0, masks change more.
"""

import argparse
import copy
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.validity.robustness import HELD_OUT, whole_label
from musclesense.errors import report_input_errors
from musclesense.evaluation.scoring import EVERY, match_labels
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.phantom import any_contrast
from musclesense.phantom.additions import add_all
from musclesense.phantom.held import Held
from musclesense.phantom.scanner.readout import Readout
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.phantom.scanner.sequences import one_image
from musclesense.phantom.slices import draw_slice, every_muscle, whole_muscle
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.records import write_csv
from musclesense.vocabulary import Channel, Region

STREAM = 37
DISTANCES_MM = (1.0, 2.5, 5.0, 10.0, 20.0)
SLICES = 7
SPOILT = {"noise": 0.06, "motion_mm": 5.0, "ghosts": 0.15}
"""Of the slice in which somebody moved, in half of the stacks."""
LEAST_CM2 = 1.0
PARTS = ("even", "odd")
COLUMNS = ("stack", "distance_mm", "region", "spoilt", "step", "dice", "islands", "island_cm2", "flicker")
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Stacked(NamedTuple):
    """Slices of a subject: images and truths (slices, rows, columns), pixel size and distance of slices in mm."""

    images: Floats
    every: Mask
    paper: Mask
    pixel: float
    distance: float
    region: Region
    spoilt: bool


def drawn(number: int, fat: bool) -> Stacked:
    """Draw a stack: fat images, or of any contrast; in every other ten of them one slice is noisy and moved."""
    rng = np.random.default_rng([HELD_OUT, STREAM, number])
    distance, region = DISTANCES_MM[number % len(DISTANCES_MM)], tuple(Region)[int(rng.integers(2))]
    spoilt = int(rng.integers(1, SLICES - 1)) if number // 10 % 2 else None
    held = Held(
        level=float(rng.uniform(0.25, 0.75)),
        pixel_mm=float(rng.uniform(0.8, 1.6)),
        slice_mm=distance,
        sequence=Contrast.DIXON_FAT if fat else None,
    )
    states, region, limbs, _ = any_contrast.who(rng, regions=(region,), without=("cropping", "swaps"), held=held)
    limbs, stack = any_contrast._sample_frame(states, limbs, held)
    images, every, paper = [], [], []
    for place in range(SLICES):
        own = copy.deepcopy(dict(states))  # the subject and what lies about are alike in all slices
        drawing = draw_slice(stack, limbs, (place - (SLICES - 1) / 2) * distance)
        add_all(own, drawing, limbs, stack.voxel_mm)
        how = replace(held, readout=SPOILT) if place == spoilt else held
        with _read_out_by(np.random.default_rng([HELD_OUT, STREAM, number, place])):
            made, compartments, pixel = any_contrast.take_images(own, drawing, stack.voxel_mm, how, one_image)
        images.append(next(iter(made.values())))
        every.append(every_muscle(compartments, pixel) > 0)
        paper.append(whole_muscle(compartments, region, pixel) > 0)
    return Stacked(_stack(images), _stack(every), _stack(paper), pixel, distance, region, spoilt is not None)


def _read_out_by(rng: np.random.Generator) -> AbstractContextManager[object]:
    """Let noise and motion of a slice be its own."""
    magnitude = Readout.magnitude
    return mock.patch.object(Readout, "magnitude", lambda self, _, *given: magnitude(self, rng, *given))


def _stack(slices: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Lay slices on each other, each in the middle: folding makes them smaller."""
    rows, columns = np.max([one.shape for one in slices], axis=0)
    whole = np.zeros((len(slices), rows, columns), slices[0].dtype)
    for place, one in zip(whole, slices, strict=True):
        top, left = (rows - one.shape[0]) // 2, (columns - one.shape[1]) // 2
        place[top : top + one.shape[0], left : left + one.shape[1]] = one
    return whole


def probabilities(segmenter: Segmenter, stack: Stacked) -> Floats:
    """Give the probability of all wanted labels together in each pixel of each slice, as `segment` finds them."""
    (channel,) = segmenter.spec.channels
    _, rows, columns = stack.images.shape
    geometry = Geometry.from_affine((columns, rows, 1), np.diag([-stack.pixel, -stack.pixel, stack.distance, 1.0]))
    found = []
    for image in stack.images:
        prepared = segmenter.spec.frame.prepare(geometry, {channel: image.T, segmenter.spec.placed_by: image.T})
        looked = segmenter.predictor.probabilities(prepared.images[None])[0]
        found.append(prepared.placement.to_scanner(looked).sum(axis=0).T)
    return np.stack(found).astype(np.float32)


def smoothed(sigma_mm: float) -> Callable[[Floats, Stacked, float], Mask]:
    """Weigh the slices on both sides by a bell curve of their distance."""

    def step(found: Floats, stack: Stacked, threshold: float) -> Mask:
        weight = float(np.exp(-0.5 * (stack.distance / sigma_mm) ** 2))
        total, weights = found.copy(), np.ones((len(found), 1, 1), np.float32)
        total[1:] += weight * found[:-1]
        total[:-1] += weight * found[1:]
        weights[1:] += weight
        weights[:-1] += weight
        mask: Mask = total / weights >= threshold
        return mask

    return step


def held_by(low: float, high: float) -> Callable[[Floats, Stacked, float], Mask]:
    """Keep what reaches ``low`` and hangs together, in three dimensions, with what reaches ``high``."""

    def step(found: Floats, stack: Stacked, threshold: float) -> Mask:
        kept: Mask = ndimage.binary_propagation(found >= high, mask=found >= low)
        return kept

    return step


def without_islands(least_ml: float) -> Callable[[Floats, Stacked, float], Mask]:
    """Leave out pieces, hanging together in three dimensions, of less than a volume."""

    def step(found: Floats, stack: Stacked, threshold: float) -> Mask:
        mask = found >= threshold
        pieces, _ = ndimage.label(mask)
        sizes = np.bincount(pieces.ravel()) * stack.pixel**2 * stack.distance / 1000
        kept: Mask = mask & (sizes[pieces] >= least_ml)
        return kept

    return step


def median_of_three(found: Floats, stack: Stacked, threshold: float) -> Mask:
    """Take the middle one of the probabilities of a slice and of those beside it."""
    middle = np.median([found[:-2], found[1:-1], found[2:]], axis=0)
    mask: Mask = np.concatenate([found[:1], middle, found[-1:]]) >= threshold
    return mask


STEPS: Mapping[str, Callable[[Floats, Stacked, float], Mask]] = {
    "none": lambda found, stack, threshold: found >= threshold,
    **{f"smoothed by {sigma:g} mm": smoothed(sigma) for sigma in (1, 2, 4, 8, 16)},
    "median of three": median_of_three,
    **{f"held by {low:g} to {high:g}": held_by(low, high) for low, high in ((0.5, 0.8), (0.5, 0.95), (0.4, 0.6))},
    **{f"pieces of {least:g} ml": without_islands(least) for least in (0.5, 2, 5)},
}


def scored(mask: Mask, truth: Mask, pixel: float) -> dict[str, float]:
    """Compare the masks of a stack with their truths."""
    dices = [_dice(*pair) for pair in zip(mask, truth, strict=True) if pair[1].sum() * pixel**2 / 100 >= LEAST_CM2]
    islands = [mask_ & np.isin(pieces, strange) for mask_, pieces, strange in _pieces(mask, truth)]
    counts = [len(strange) for _, _, strange in _pieces(mask, truth)]
    beside = [_dice(*pair) for pair in pairwise(mask)]
    truly = [_dice(*pair) for pair in pairwise(truth)]
    return {
        "dice": float(np.mean(dices)) if dices else float("nan"),
        "islands": float(np.mean(counts)),
        "island_cm2": float(np.mean([one.sum() for one in islands])) * pixel**2 / 100,
        "flicker": float(np.nanmean(beside) - np.nanmean(truly)),
    }


def _pieces(mask: Mask, truth: Mask) -> Iterator[tuple[Mask, NDArray[np.int32], list[int]]]:
    """Give each slice, its pieces, and the numbers of those that touch no true muscle."""
    for own, true in zip(mask, truth, strict=True):
        pieces, count = ndimage.label(own)
        yield own, pieces, sorted({*range(1, count + 1)} - {*np.unique(pieces[true]).tolist()})


def _dice(one: Mask, other: Mask) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else float("nan")


def rows_of(segmenter: Segmenter, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Draw stacks, find the probabilities of each once, and score what each step makes of them."""
    labels = segmenter.spec.labels
    whole = whole_label(labels)
    wanted = match_labels(LabelSet.from_config({whole: []}), labels)[whole]
    fat = segmenter.spec.channels[0] == Channel.FAT
    assert [*wanted] == [*range(1, labels.n_classes + 1)], "labels that are no part of whole muscle"
    for number in numbers:
        stack = drawn(number, fat)
        found = probabilities(segmenter, stack)
        about = {"stack": number, "distance_mm": stack.distance, "region": str(stack.region), "spoilt": stack.spoilt}
        for name, step in STEPS.items():
            mask = step(found, stack, segmenter.spec.threshold)
            own = scored(mask, stack.every if whole == EVERY else stack.paper, stack.pixel)
            yield about | {"step": name} | {key: round(value, 4) for key, value in own.items()}


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give the means of each step: of even stacks, by which one is chosen, of odd ones, and by distance of all."""
    parts = {f"{name} stacks": [row for row in rows if int(row["stack"]) % 2 == odd] for odd, name in enumerate(PARTS)}
    parts |= {f"{mm:g} mm": [row for row in rows if float(row["distance_mm"]) == mm] for mm in DISTANCES_MM}
    head = "| step | Dice | change, a slice spoilt | change, none spoilt | worst change | islands a slice | flicker |"
    return "\n\n".join(
        "\n".join([f"{name}:\n", head, "|---" * 7 + "|", *(_line(step, own) for step in STEPS)])
        for name, own in parts.items()
    )


def _line(step: str, rows: Sequence[Mapping[str, Any]]) -> str:
    none = {row["stack"]: float(row["dice"]) for row in rows if row["step"] == "none"}
    own = [row for row in rows if row["step"] == step]
    change = np.array([float(row["dice"]) - none[row["stack"]] for row in own])
    spoilt = np.array([row["spoilt"] == "True" for row in own])
    dice, islands, flicker = (np.nanmean([float(row[name]) for row in own]) for name in ("dice", "islands", "flicker"))
    parts = [float(np.nanmean(change[spoilt])), float(np.nanmean(change[~spoilt])), float(np.nanmin(change))]
    shown = " | ".join(f"{one:+.4f}" for one in parts)
    return f"| {step} | {dice:.4f} | {shown} | {islands:.2f} | {flicker:+.4f} |"


def main() -> None:
    """Read the command line, draw what is missing, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="any_contrast", help="of one image (default: %(default)s)")
    parser.add_argument("--stacks", type=int, default=120, help="(default: %(default)s)")
    options = parser.parse_args()
    with report_input_errors(debug=False):
        file = options.out / f"stacks-{Path(options.model).name}.csv"
        if not file.is_file():
            segmenter = Segmenter.load(options.model)
            rows = []
            for row in rows_of(segmenter, range(options.stacks)):
                rows.append(row)
                if row["step"] == [*STEPS][-1]:
                    print(row["stack"], flush=True)
            write_csv(file, COLUMNS, rows)
        print(tables([*csv.DictReader(file.read_text("utf-8").splitlines())]))


if __name__ == "__main__":
    main()
