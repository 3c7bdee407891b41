"""What a Dice on a phantom stands beside: a naive rule, and two people who draw the same scan.

``python -m benchmarks.validity.observers COHORT.csv OUT [STUDY ...]`` writes ``OUT.csv`` and ``OUT.md``: over the
acquisitions of a phantom with fat, water and masks, by region and for controls and patients, the whole-muscle Dice

- of the naive rule "water > fat within the body" beside the true mask;
- of two simulated observers beside each other, for each ``--sd``;
- of each study's test masks beside the true mask, the mean over the networks that tested the acquisition;
- and, to see which ``--sd`` is likely, of the two observers on each single muscle, the mean over muscles.

A simulated observer draws the true mask with its border moved along its normal, in the plane of the slice: by a smooth
random field (Gaussian, of that standard deviation, with the correlation ``exp(-r^2 / (2 length^2))``), and by a bias
that is the observer's own. The first of the two draws ``--bias`` outside, the second as much inside.

**Where the values come from.** No border distance between people who draw whole muscle was found in the literature, so
several SDs are shown. Single muscles of healthy thighs were drawn by three operators: Dice between operators 0.702 to
0.814, of one operator with itself 0.818 to 0.885 (Muzic et al., Acta Myologica 2021;40:116-123,
doi:10.36185/2532-1900-052). The SD whose single muscles of control thighs come near is the likely one. Operators also
take a muscle for its neighbour, and every slice was drawn there, not those at mid-thigh alone: so the likely SD is
rather too large. Length and bias were chosen.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from musclesense.cohort.images import read_reference
from musclesense.cohort.table import Acquisition, read_table
from musclesense.errors import InputError, report_input_errors
from musclesense.evaluation import statistics
from musclesense.evaluation.report.written import estimate, number, write_numbers
from musclesense.imaging.body import body_mask
from musclesense.imaging.grid import slice_zooms, slices_with, take_slice
from musclesense.imaging.nifti import read_volume
from musclesense.metrics.overlap import overlap
from musclesense.storage.records import write_text
from musclesense.studies.identity import with_edition
from musclesense.studies.reading import read_study

if TYPE_CHECKING:
    pass

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
Pair = tuple[float, float]
FINEST_MM = 0.75
NAIVE = "water > fat"
COLUMNS = ("region", "group", "compared", *statistics.STATISTIC_COLUMNS[4:6], *statistics.STATISTIC_COLUMNS[8:])


def main() -> None:
    """Read the command line, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, metavar="COHORT.csv")
    parser.add_argument("out", type=Path, help="of both files, without ending")
    parser.add_argument("studies", type=Path, nargs="*", metavar="STUDY")
    parser.add_argument("--sd", type=float, nargs="+", default=Observers.sds, metavar="MM")
    parser.add_argument("--length", type=float, default=Observers.length, metavar="MM")
    parser.add_argument("--bias", type=float, default=Observers.bias, metavar="MM")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with report_input_errors(debug=False):
        rows = read_table(options.table).acquisitions
        observers = Observers(tuple(options.sd), options.length, options.bias)
        drawn = [one for row in rows for one in measured(row, observers, options.seed)]
        described = describe([*drawn, *(one for study in options.studies for one in tested(study, rows))])
        write_numbers(options.out.with_suffix(".csv"), COLUMNS, described)
        write_text(options.out.with_suffix(".md"), as_markdown(described))


def naive_rule(fat: NDArray[Any], water: NDArray[Any]) -> Mask:
    """Call muscle what holds more water than fat within the body, in one slice."""
    return body_mask(fat + water) & (water > fat)


@dataclass(frozen=True)
class Observers:
    """Two people who draw, in mm: several SDs of their borders, how far these go together, the bias of the first."""

    sds: tuple[float, ...] = (0.5, 1.0, 1.5)
    length: float = 10.0
    bias: float = 0.25

    def dice(self, truth: Mask, zooms: Pair, random: np.random.Generator) -> dict[float, float | None]:
        """Give the Dice of the two on a slice, by SD; None where neither draws anything."""
        if not truth.any():
            return dict.fromkeys(self.sds)
        inside, sizes = finer(signed_distance(truth[self._around(truth, zooms)], zooms), zooms)
        fields = [smooth_field(inside.shape, sizes, self.length, random) for _ in range(2)]
        return {
            sd: overlap(
                *(inside + own + sd * field > 0 for own, field in zip((self.bias, -self.bias), fields, strict=True))
            ).dice
            for sd in self.sds
        }

    def _around(self, truth: Mask, zooms: Pair) -> tuple[slice, ...]:
        """Give the box of a mask, and as much more as the two may draw and as parts its sides from each other."""
        margin = max(self.length, 4 * max(self.sds) + abs(self.bias))
        (box,) = ndimage.find_objects(truth.astype(np.uint8))
        more = [math.ceil(margin / zoom) for zoom in zooms]
        return tuple(slice(max(0, side.start - by), side.stop + by) for side, by in zip(box, more, strict=True))


def finer(depth: Floats, zooms: Pair) -> tuple[Floats, Pair]:
    """Give depth at places that lie close beside what borders move by, and how far these lie apart."""
    times = [math.ceil(zoom / FINEST_MM) for zoom in zooms]
    found: Floats = ndimage.zoom(depth, times, order=1, mode="nearest", grid_mode=True)
    return found, (zooms[0] / times[0], zooms[1] / times[1])


def signed_distance(mask: Mask, zooms: Pair) -> Floats:
    """Give how deep each voxel lies in a mask, in mm; outside less than 0. The border runs between voxels."""
    inside, outside = (ndimage.distance_transform_edt(side, sampling=zooms) for side in (mask, ~mask))
    half = sum(zooms) / 4
    depth: Floats = np.where(mask, inside - half, half - outside)
    return depth


def smooth_field(shape: tuple[int, ...], zooms: Pair, length: float, random: np.random.Generator) -> Floats:
    """Draw a Gaussian random field of mean 0 and variance 1, the same at all places, of a correlation length in mm."""
    field = random.standard_normal(shape)
    for axis, (size, zoom) in enumerate(zip(shape, zooms, strict=True)):
        smoothed, pulse = (
            ndimage.gaussian_filter1d(one, length / math.sqrt(2) / zoom, min(axis, one.ndim - 1), mode="wrap")
            for one in (field, np.eye(1, size)[0])
        )
        field = smoothed / np.linalg.norm(pulse)
    return field


def measured(row: Acquisition, observers: Observers, seed: int) -> Iterator[dict[str, Any]]:
    """Compare the naive rule and observers on an acquisition, whose labelled slices count as one."""
    random, scores = np.random.default_rng([seed, row.line]), dict[str, list[float | None]]()
    for truth, muscles, fat, water, zooms in slices_of(row):
        scores.setdefault(NAIVE, []).append(overlap(truth, naive_rule(fat, water)).dice)
        for sd, dice in observers.dice(truth, zooms, random).items():
            scores.setdefault(f"observers, {sd:g} mm", []).append(dice)
        for value in np.unique(muscles[muscles > 0]):
            for sd, dice in observers.dice(muscles == value, zooms, random).items():
                scores.setdefault(f"observers, {sd:g} mm, single muscles", []).append(dice)
    for name, own in scores.items():
        if known := [dice for dice in own if dice is not None]:
            yield scored(row, name, float(np.mean(known)))


def slices_of(row: Acquisition) -> Iterator[tuple[Mask, NDArray[Any], NDArray[Any], NDArray[Any], tuple[float, float]]]:
    """Give the labelled slices of an acquisition: true mask, labels of single muscles (or zeros), fat, water, mm."""
    if row.mask is None or not {"fat", "water"} <= row.channels.keys():
        raise InputError(f"line {row.line}: lacks fat, water or a mask; give the table of a phantom with all three")
    truth = read_reference(row, "mask")
    muscles = truth.data * 0 if row.compartments is None else read_reference(row, "compartments").data
    images = [read_volume(row.channels[name]).data.astype(np.float32) for name in ("fat", "water")]
    numbers = slices_with(truth.data > 0, truth.geometry) if row.slice is None else [row.slice]
    for at in numbers:
        mask, single, fat, water = (take_slice(one, truth.geometry, at) for one in (truth.data > 0, muscles, *images))
        yield mask, single, fat, water, slice_zooms(truth.geometry)


def tested(folder: Path, rows: Sequence[Acquisition]) -> Iterator[dict[str, Any]]:
    """Give the Dice of a study on each acquisition of its table, by its edition.

    Raises:
        InputError: It was trained on other rows.
    """
    study, by_line = read_study(folder), {row.line: row for row in rows}
    edition = str(with_edition(study.config)["edition"]["name"])
    for one in statistics.acquisitions(study).itertuples():
        row = by_line.get(one.line)
        if row is None or (row.subject, row.session, row.region) != (one.subject, one.session, one.region):
            raise InputError(f"{folder}: tested {one.subject} in line {one.line}, who is not there; give its own table")
        yield scored(row, edition if len(study.labels) < 2 else f"{edition}, {one.label}", one.dice)


def scored(row: Acquisition, compared: str, dice: float) -> dict[str, Any]:
    """Give a row for `musclesense.evaluation.statistics`, in which what is compared stands for a label."""
    group = "controls" if row.group == "control" else "patients"
    own = {"line": row.line, "subject": row.subject, "region": row.region.value, "group": group}
    return own | {"label": compared, "missed": False, **dict.fromkeys(statistics.MEASURES), "dice": dice}


def describe(scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Describe the Dice of all that is compared: all subjects of a region first, then controls and patients."""
    from pandas import DataFrame

    frame = DataFrame(scores)
    parts: list[tuple[str, DataFrame]] = [("all", frame), *((str(name), own) for name, own in frame.groupby("group"))]
    return [
        {**row, "group": group, "compared": row["name"]}
        for group, own in parts
        for row in statistics.statistics(own, ["label"])
        if row["measure"] == "dice"
    ]


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Write a table for people."""
    heads = ("region", "of", "compared", "subjects", "acquisitions", "Dice, mean (95 %)", "SD", "worst decile")
    cells = [
        (
            *(row[name] for name in ("region", "group", "compared", "subjects", "acquisitions")),
            estimate(row, "mean", ".3f"),
            *(number(row[name], ".3f") for name in ("sd", "worst_decile")),
        )
        for row in rows
    ]
    lines = [heads, ("---",) * len(heads), *cells]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


if __name__ == "__main__":
    main()
