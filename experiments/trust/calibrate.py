"""Fit how far masks can be trusted: ``python -m experiments.trust.calibrate OUT``.

Phantoms that no training has drawn, and images spoilt on purpose, are segmented by networks of one image. What their
masks look like (`segmentation.trust.FEATURES`) is set beside their true Dice. Even subjects fit the regression and its
threshold, odd ones judge them. OUT gets the rows of each network, which are taken where they are there, ``trust.json``
and ``trust.md``. ``--write`` puts ``trust.json`` into the package.
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.validity.robustness import HELD_OUT, whole_label
from experiments.region.others import KINDS, draw_other
from numpy.typing import NDArray
from scipy import optimize

from musclesense.errors import InputError, report_input_errors
from musclesense.evaluation.scoring import EVERY, match_labels
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry
from musclesense.networks.shipped import shipped
from musclesense.networks.spec import Effort
from musclesense.phantom import any_contrast, any_scanner
from musclesense.phantom.any_scanner import SyntheticSlice
from musclesense.phantom.held import Held
from musclesense.phantom.scanner.readout import smooth_field
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.phantom.slices import every_muscle, whole_muscle
from musclesense.segmentation.place import FRAME, Place
from musclesense.segmentation.scan import Scan
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.segmentation.trust import (
    DOUBTED_BELOW,
    FEATURES,
    FORMAT,
    OTHER,
    WEIGHTS,
    Trust,
    describe,
    in_logarithms,
)
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.records import write_csv, write_text
from musclesense.vocabulary import Region

STREAM = 31
SUBJECTS = 60
EFFORTS = (Effort.DEFAULT, Effort.FAST)
GOOD, BAD, LEAST_CM2 = 0.80, 0.70, 1.0
CAUGHT, FLAGGED = 0.90, 0.10
"""The threshold flags so many of the good masks that are fitted. Where that flags fewer of the wrong ones than so many,
it lies midway to the one that flags them."""
RIDGE = 2.0
COLUMNS = ("effort", "kind", "subject", "limb", "dice", *FEATURES)
Row = Mapping[str, Any]
Floats = NDArray[np.float32]


class Drawn(NamedTuple):
    """Slices of one subject, as images and compartments in display order, all of a pixel size in mm."""

    images: Sequence[Floats]
    compartments: Sequence[NDArray[np.uint8]]
    pixel: float
    region: Region


def _one(rng: np.random.Generator, **held: Any) -> SyntheticSlice:
    return any_contrast.synthetic_slice(rng, held=Held(**held))


def _as_drawn(*slices: SyntheticSlice) -> Drawn:
    pixel, region = slices[0].geometry.zooms[0], slices[0].region
    return Drawn([one.image for one in slices], [one.compartments for one in slices], pixel, region)


def _fat(rng: np.random.Generator, **readout: float) -> Drawn:
    return _as_drawn(_one(rng, sequence=Contrast.DIXON_FAT, readout=readout))


def _stack(rng: np.random.Generator) -> Drawn:
    """Four slices of one subject, anywhere along calf or thigh."""
    state = [HELD_OUT, STREAM, int(rng.integers(2**31))]
    step, region = rng.uniform(0.03, 0.12), tuple(Region)[int(rng.integers(2))]
    start = rng.uniform(0, 1 - 3 * step)
    held = Held(sequence=Contrast.DIXON_FAT, pixel_mm=float(rng.uniform(0.8, 1.6)))
    return _as_drawn(
        *(
            any_contrast.synthetic_slice(
                np.random.default_rng(state),
                regions=[region],
                held=replace(held, level=float(start + place * step)),
                without=("cropping", "artefacts"),
            )
            for place in range(4)
        )
    )


def _swapped_limb(rng: np.random.Generator) -> Drawn:
    """Fat and water exchanged in one half of the image."""
    state = int(rng.integers(2**31))
    fat, water = (
        _one(np.random.default_rng(state), sequence=kind) for kind in (Contrast.DIXON_FAT, Contrast.DIXON_WATER)
    )
    image, middle = fat.image.copy(), fat.image.shape[1] // 2
    half = np.s_[:, :middle] if rng.random() < 0.5 else np.s_[:, middle:]
    if water.image.shape == image.shape:
        image[half] = water.image[half]
    return _as_drawn(fat)._replace(images=[image])


def _phase(rng: np.random.Generator) -> Drawn:
    drawn = _fat(rng)
    (image,) = drawn.images
    field = smooth_field(rng, image.shape, (4, 6)) * np.float32(rng.uniform(2, 20)) + image / 200
    noise = rng.uniform(0, 2 * np.pi, image.shape)
    turns = np.where(image > np.percentile(image, 60), field % (2 * np.pi), noise)
    return drawn._replace(images=[turns.astype(np.float32)])


def _turned(rng: np.random.Generator) -> Drawn:
    drawn = _fat(rng)
    (image,), (compartments,) = drawn.images, drawn.compartments
    return drawn._replace(images=[np.rot90(image).copy()], compartments=[np.rot90(compartments).copy()])


def _pixel(rng: np.random.Generator) -> Drawn:
    drawn = _fat(rng)
    return drawn._replace(pixel=drawn.pixel * float(rng.choice([0.4, 0.5, 2.0, 2.5])))


def _no_leg(rng: np.random.Generator) -> Drawn:
    kinds = (*KINDS, Place.NOTHING)
    image = draw_other(rng, kinds[int(rng.integers(len(kinds)))], FRAME)
    return Drawn([image - image.min()], [np.zeros(image.shape, np.uint8)], FRAME.grid.spacing_mm, Region.THIGH)


DRAWN: Mapping[str, tuple[float, Callable[[np.random.Generator], Drawn]]] = {
    "fat, any scanner": (2, lambda rng: _as_drawn(any_scanner.synthetic_slice(rng))),
    "fat, any body": (1.5, _fat),
    "fat, four slices": (1, _stack),
    "water": (1, lambda rng: _as_drawn(_one(rng, sequence=Contrast.DIXON_WATER))),
    "any contrast": (3, lambda rng: _as_drawn(_one(rng))),
    "much noise": (0.5, lambda rng: _fat(rng, noise=float(rng.uniform(0.1, 0.4)))),
    "phase image": (0.4, _phase),
    "swapped limb": (0.5, _swapped_limb),
    "turned by 90 degrees": (0.4, _turned),
    "wrong pixel size": (0.4, _pixel),
    "no leg": (0.6, _no_leg),
}
"""How many of each, in parts of the subjects; and how they are drawn."""


def main() -> None:
    """Read the command line, draw what is missing, fit and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="+", default=[*shipped()], metavar="MODEL", help="default: of the package")
    parser.add_argument("--subjects", type=int, default=SUBJECTS, help="of a usual kind (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help=f"also write {WEIGHTS.name} of the package")
    options = parser.parse_args()
    with report_input_errors(debug=False):
        rows = rows_of(options.models, options.out, options.subjects)
        stored, text = fitted(rows)
        for file in (options.out / WEIGHTS.name, *([WEIGHTS] if options.write else [])):
            write_text(file, stored)
        write_text(options.out / "trust.md", text)
        print(text, end="")


def rows_of(models: Sequence[str], out: Path, subjects: int) -> dict[tuple[str, str], list[Row]]:
    """Give the rows of each network, by its name and the digest of its weights; draw what is missing."""
    files, missing = {}, {}
    for model in models:
        segmenters = {effort: Segmenter.load(model, effort=effort) for effort in EFFORTS}
        spec, weights = segmenters[EFFORTS[0]].spec, segmenters[EFFORTS[0]].files
        if len(spec.channels) > 1 or len({*weights}) > 1:
            raise InputError(f"{model}: takes several images, or is of several files; give a bundle of one image")
        digest = digest_of_bytes(weights[0])
        files[model, digest] = out / f"rows-{digest[:16]}.csv"
        if not files[model, digest].is_file():
            missing[files[model, digest]] = segmenters
    found: dict[Path, list[Row]] = {file: [] for file in missing}
    for kind, (share, draw) in enumerate(DRAWN.values()) if missing else ():
        for subject in range(max(2, round(share * subjects))):
            drawn = draw(np.random.default_rng([HELD_OUT, STREAM, kind, subject]))
            for file, segmenters in missing.items():
                own = {"kind": list(DRAWN)[kind], "subject": subject}
                found[file] += [own | row for row in _scored(segmenters, drawn)]
        print(f"{list(DRAWN)[kind]}: {subject + 1} subjects", flush=True)
    for file, rows in found.items():
        write_csv(file, COLUMNS, rows)
    return {key: list(csv.DictReader(file.read_text("utf-8").splitlines())) for key, file in files.items()}


def _scored(segmenters: Mapping[Effort, Segmenter], drawn: Drawn) -> Iterator[dict[str, Any]]:
    """Segment slices, and give Dice and features of each limb in each slice."""
    labels = segmenters[EFFORTS[0]].spec.labels
    whole = whole_label(labels)
    wanted = match_labels(LabelSet.from_config({whole: []}), labels)[whole]
    images = _stacked(drawn.images)
    truths = _stacked([_truth(one, drawn, whole) for one in drawn.compartments]) > 0
    geometry = Geometry.from_affine(images.shape, np.diag([-drawn.pixel, -drawn.pixel, 10.0, 1.0]))
    scan = Scan({"fat": images}, None, geometry, {})
    for effort, segmenter in segmenters.items():
        made = segment(scan, model=segmenter, region=drawn.region, told=True)
        found = np.isin(made.classes, wanted)
        for (number, limb), features in describe(made.measured, made.looked, made.spec.threshold).items():
            half = made.halves[limb][..., number]
            mask, truth = found[..., number] & half, truths[..., number] & half
            if max(mask.sum(), truth.sum()) * drawn.pixel**2 / 100 >= LEAST_CM2:
                dice = round(float(2 * (mask & truth).sum() / (mask.sum() + truth.sum())), 4)
                rounded = (round(value, 5) for value in features)
                yield {"effort": effort, "limb": str(limb), "dice": dice} | dict(zip(FEATURES, rounded, strict=True))


def _truth(compartments: NDArray[np.uint8], drawn: Drawn, whole: str) -> NDArray[np.uint8]:
    if whole == EVERY:
        return every_muscle(compartments, drawn.pixel)
    return whole_muscle(compartments, drawn.region, drawn.pixel)


def _stacked(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Lay slices of display order in a volume, each in its middle."""
    rows, columns = np.max([array.shape for array in arrays], axis=0)
    volume = np.zeros((columns, rows, len(arrays)), arrays[0].dtype)
    for number, array in enumerate(arrays):
        top, left = (rows - array.shape[0]) // 2, (columns - array.shape[1]) // 2
        volume[left : left + array.shape[1], top : top + array.shape[0], number] = array.T
    return volume


def fitted(rows: Mapping[tuple[str, str], Sequence[Row]]) -> tuple[str, str]:
    """Fit each network, and all together for others; gives what is stored and how they are judged."""
    together = [row for own in rows.values() for row in own]
    fits, text = [], []
    for (name, digest), own in {**rows, (OTHER, OTHER): together}.items():
        for effort in EFFORTS:
            parts: tuple[list[Row], list[Row]] = ([], [])
            for row in own:
                if row["effort"] == effort:
                    parts[int(row["subject"]) % 2].append(row)
            made = fit(parts[0])
            about = {"network": name, "sha256": digest, "several_looks": effort != Effort.FAST}
            fits.append(json.dumps(about | made.to_config()))
            text.append(f"{name}, {effort}:\n\n{judged(made, parts[1])}")
    head = json.dumps({"format": FORMAT, "features": list(FEATURES)})
    return f'{head[:-1]}, "fits": [\n' + ",\n".join(fits) + "\n]}\n", "\n".join(text)


def fit(rows: Sequence[Row]) -> Trust:
    """Fit a logistic regression in which right and wrong masks weigh alike, and choose the threshold."""
    features, good = _numbers(rows)
    logarithms = in_logarithms(features)
    mean, deviation = logarithms.mean(axis=0), np.maximum(logarithms.std(axis=0), 1e-3)
    terms = Trust(mean, deviation, np.zeros(0), 0.0).terms(features)
    weight, sign = np.where(good, 0.5 / good.mean(), 0.5 / (~good).mean()), np.where(good, -1, 1)

    def loss(given: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        odds = (terms @ given[:-1] + given[-1]) * sign
        slope = weight * sign / (1 + np.exp(-odds))
        gradient = np.append(slope @ terms + RIDGE * given[:-1], slope.sum())
        return float(weight @ np.logaddexp(0, odds) + RIDGE / 2 * given[:-1] @ given[:-1]), gradient

    bounds = [(0, None) if sign > 0 else (None, 0) for sign in FEATURES.values()]
    start = np.zeros(len(FEATURES) + 1)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[*bounds, (None, None)]).x
    odds = terms @ found[:-1]
    wrong, right = np.quantile(odds[~good], CAUGHT), np.quantile(odds[good], FLAGGED)
    threshold = (max(wrong, right) + right) / 2
    return Trust(mean, deviation, found[:-1], -float(threshold))


def _numbers(rows: Sequence[Row]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    features = np.array([[float(row[name]) for name in FEATURES] for row in rows])
    return features, _dice(rows) >= GOOD


def _dice(rows: Sequence[Row]) -> NDArray[np.float64]:
    return np.array([float(row["dice"]) for row in rows])


def judged(made: Trust, rows: Sequence[Row]) -> str:
    """Say how many wrong masks are flagged, and how many right ones, by kind and of all."""
    lines = [
        "| kind | Dice below 0.70 | flagged | Dice below 0.80 | flagged | Dice 0.80 or more | flagged |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in (*DRAWN, "all"):
        own = [row for row in rows if kind in (row["kind"], "all")]
        if own:
            features, good = _numbers(own)
            flagged = made.scores(features) < DOUBTED_BELOW
            cells = [
                f"{part.sum()} | {100 * flagged[part].mean():.0f} %" if part.any() else "0 | "
                for part in (_dice(own) < BAD, ~good, good)
            ]
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
