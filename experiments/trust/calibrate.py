"""Fit how far masks can be trusted: ``python -m experiments.trust.calibrate OUT``.

Phantoms that no training has drawn, and images spoilt on purpose, are segmented by networks of one image. What their
masks look like (`segmentation.trust.FEATURES`) is set beside their true Dice. Even subjects fit the regression and its
threshold, odd ones judge them. OUT gets the rows of each network, which are taken where they are there, ``trust.json``
and ``trust.md``. ``--write`` puts ``trust.json`` into the package.
"""

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from experiments.trust.drawn import KINDS, Drawn, count_of, draw, segmented
from numpy.typing import NDArray
from scipy import optimize

from musclesense.errors import InputError, report_input_errors
from musclesense.networks.shipped import shipped
from musclesense.networks.spec import Effort
from musclesense.segmentation.segmenter import Segmenter
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

STREAM = 34
SUBJECTS = 60
EFFORTS = (Effort.DEFAULT, Effort.FAST)
GOOD, BAD = 0.80, 0.70
CAUGHT, FLAGGED = 0.90, 0.10
"""The threshold flags so many of the good masks that are fitted. Where that flags fewer of the wrong ones than so many,
it lies midway to the one that flags them."""
RIDGE = 2.0
COLUMNS = ("effort", "kind", "subject", "limb", "dice", *FEATURES)
Row = Mapping[str, Any]


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
    for kind in KINDS if missing else ():
        for subject in range(count_of(kind, subjects)):
            drawn = draw(kind, STREAM, subject)
            for file, segmenters in missing.items():
                own = {"kind": kind, "subject": subject}
                found[file] += [own | row for row in _scored(segmenters, drawn)]
        print(f"{kind}: {count_of(kind, subjects)} subjects", flush=True)
    for file, rows in found.items():
        write_csv(file, COLUMNS, rows)
    return {key: list(csv.DictReader(file.read_text("utf-8").splitlines())) for key, file in files.items()}


def _scored(segmenters: Mapping[Effort, Segmenter], drawn: Drawn) -> Iterator[dict[str, Any]]:
    """Segment slices, and give Dice and features of each limb in each slice."""
    for effort, segmenter in segmenters.items():
        made, dice = segmented(segmenter, drawn)
        for (number, limb), features in describe(made.measured, made.looked, made.spec.threshold).items():
            if (number, limb) in dice:
                own = {"effort": effort, "limb": str(limb), "dice": round(dice[number, limb], 4)}
                yield own | {name: round(value, 5) for name, value in zip(FEATURES, features, strict=True)}


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
    """Say how many wrong masks are flagged, and how many right ones, by kind and of all; and how well scores rank."""
    lines = [
        "| kind | Dice below 0.70 | flagged | Dice below 0.80 | flagged | Dice 0.80 or more | flagged |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in (*KINDS, "all"):
        own = [row for row in rows if kind in (row["kind"], "all")]
        if own:
            features, good = _numbers(own)
            flagged = made.scores(features) < DOUBTED_BELOW
            cells = [
                f"{part.sum()} | {100 * flagged[part].mean():.0f} %" if part.any() else "0 | "
                for part in (_dice(own) < BAD, ~good, good)
            ]
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    features, good = _numbers(rows)
    scores = made.scores(features)
    pairs = scores[~good][:, None] - scores[good]
    lines += [
        "",
        f"Of a wrong and a right mask, the wrong one has the lower score in {100 * (pairs < 0).mean():.1f} %.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
