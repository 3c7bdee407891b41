"""Dice of a network on phantoms against one factor at a time, all others held at a usual value.

``python -m benchmarks.validity.robustness MODEL OUT`` writes ``slices.csv``, ``robustness.csv`` (the mean of each value
with its interval, by the bootstrap over subjects), ``robustness.png`` and ``below.md``: what falls below 0.9. The
subjects are the same at every value. ``--contrast`` is what the other factors are measured in.

Whole muscle is scored: every muscle where the network gives every one, else those of the paper's mask.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from musclesense.errors import InputError, report_input_errors
from musclesense.evaluation.intervals import interval_by_subject
from musclesense.evaluation.scoring import EVERY, PAPER, RECORD, files_of, match_labels
from musclesense.imaging.labels import LabelSet
from musclesense.messages import log, to_console
from musclesense.metrics.overlap import overlap
from musclesense.phantom.anatomy.builds import BUILDS
from musclesense.phantom.any_contrast import synthetic_slice
from musclesense.phantom.any_scanner import SyntheticSlice
from musclesense.phantom.disease.patterns import Pattern
from musclesense.phantom.held import Held
from musclesense.phantom.scanner.artefacts import wrapped
from musclesense.phantom.scanner.readout import warped
from musclesense.phantom.scanner.sequences import Sequence as Contrast
from musclesense.phantom.slices import every_muscle, whole_muscle
from musclesense.segmentation.segmenter import Segmenter
from musclesense.storage.atomic import atomic_path
from musclesense.storage.records import write_csv, write_json, write_text
from musclesense.version import __version__
from musclesense.vocabulary import Region

LEAST = 0.9
HELD_OUT = 20261130
"""Of the random states: no training draws from it."""
Pair = tuple[NDArray[np.float32], NDArray[np.uint8]]
MIXED = Pattern(involvement={}, others=1.0, scatter=0.15)
"""A disease that takes all muscles, somewhat unlike."""
STEADY: Mapping[str, Any] = {
    "keep": (1.0, 1.0),
    "ghosts": 0.0,
    "motion_mm": 0.0,
    "finer": 1.0,
    "fat_shift_mm": (0.0, 0.0),
}
USUAL = Held(
    build="usual",
    disease=(MIXED, 0.2),
    level=0.5,
    pixel_mm=1.0,
    slice_mm=5.0,
    sequence=Contrast.DIXON_FAT,
    readout={**STEADY, "noise": 0.01},
)
WITHOUT = (
    *("pose", "surroundings", "swaps", "cropping", "artefacts", "hips"),
    *("sides", "arms", "masses", "implants", "fluid"),
)
WITH = {
    "pose": "any pose",
    "surroundings": "table, pads",
    "cropping": "cut or masked",
    "sides": "unlike limbs",
    "masses": "masses",
    "implants": "implants",
    "fluid": "fluid",
}
"""Ingredients of the generator that are brought in alone, as often as it draws them."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A factor at a value."""

    shown: float | str
    held: Held
    without: tuple[str, ...] = WITHOUT
    spoilt: Callable[[np.random.Generator, Pair], Pair] | None = None
    regions: tuple[Region, ...] = tuple(Region)


def main() -> None:
    """Read the command line, draw, segment and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--subjects", type=int, default=12, help="slices at each value, regions in turn")
    parser.add_argument("--contrast", choices=[kind.value for kind in Contrast], default=USUAL.sequence)
    parser.add_argument("--factors", nargs="+", choices=list(factors_of(USUAL)), help="some of them (default: all)")
    options = parser.parse_args()
    with report_input_errors(debug=False):
        to_console()
        factors = factors_of(replace(USUAL, sequence=Contrast(options.contrast)))
        chosen = {name: factors[name] for name in options.factors or factors}
        segmenter = Segmenter.load(options.model)
        if len(segmenter.spec.channels) > 1:
            raise InputError(f"{options.model}: takes several images; give a network of one image")
        measure(segmenter, options.out, chosen, options.subjects)


def measure(segmenter: Segmenter, out: Path, factors: Mapping[str, Sequence[Value]], subjects: int) -> None:
    """Score every value of the factors, and write tables and picture."""
    rows = list(_scored(segmenter, factors, subjects))
    means = list(summarised(rows))
    write_csv(out / "slices.csv", tuple(rows[0]), rows)
    write_csv(out / "robustness.csv", tuple(means[0]), means)
    write_text(out / "below.md", below(means))
    write_json(out / RECORD, {"musclesense": __version__, "subjects": subjects, "files": files_of(segmenter.files)})
    figure = drawn(means)
    with atomic_path(out / "robustness.png") as draft:
        figure.savefig(draft)
    print(below(means), end="")


def factors_of(usual: Held) -> dict[str, list[Value]]:
    """Give the values of every factor, the others held as usual."""

    def held(name: str, values: Sequence[Any]) -> list[Value]:
        return [Value(shown=value, held=replace(usual, **{name: value})) for value in values]

    def read_out(**fields: Any) -> Held:
        return replace(usual, readout={**usual.readout, **fields})

    levels = [
        Value(shown=f"{region} {level:g}", held=replace(usual, level=level), regions=(region,))
        for region in Region
        for level in (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    ]
    artefacts = [
        Value(shown="none", held=usual),
        Value(shown="ringing", held=read_out(keep=(0.55, 0.55))),
        Value(shown="ghosts", held=read_out(ghosts=0.06)),
        Value(shown="motion 3 mm", held=read_out(motion_mm=3.0)),
        Value(shown="fat off by 4 mm", held=read_out(fat_shift_mm=(0.0, 4.0))),
        Value(shown="wrapped", held=usual, spoilt=_wrap),
        Value(shown="bent", held=usual, spoilt=_bend),
        *(
            Value(shown=shown, held=usual, without=tuple(name for name in WITHOUT if name != ingredient))
            for ingredient, shown in WITH.items()
        ),
    ]
    return {
        "contrast": held("sequence", list(Contrast)),
        "noise": [Value(shown=noise, held=read_out(noise=noise)) for noise in (0.0, 0.01, 0.02, 0.04, 0.07, 0.1)],
        "shading": held("shading", (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)),
        "pixel_mm": held("pixel_mm", (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)),
        "slice_mm": held("slice_mm", (1.0, 3.0, 5.0, 10.0, 15.0, 20.0, 25.0)),
        "level": levels,
        "severity": [
            Value(shown=severity, held=replace(usual, disease=(MIXED, severity)))
            for severity in (0.0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0)
        ],
        "body": held("build", list(BUILDS)),
        "artefact": artefacts,
    }


def _scored(segmenter: Segmenter, factors: Mapping[str, Sequence[Value]], subjects: int) -> Iterator[dict[str, Any]]:
    """Give the Dice of every slice at every value."""
    known = {Region(region) for region in segmenter.spec.regions}
    whole = whole_label(segmenter.spec.labels)
    for factor, values in factors.items():
        log.info(f"robustness: {factor}, {len(values)} values")
        for value in values:
            regions = [region for region in value.regions if region in known]
            for subject in range(subjects if regions else 0):
                rng = np.random.default_rng([HELD_OUT, subject])
                region = regions[subject % len(regions)]
                one = synthetic_slice(rng, regions=(region,), without=value.without, held=value.held)
                dice = score(segmenter, one, whole, value.spoilt and _spoilt(rng, value.spoilt, one))
                yield {"factor": factor, "value": value.shown, "subject": subject, "region": region.value, "dice": dice}


def score(segmenter: Segmenter, one: SyntheticSlice, whole: str, pair: Pair | None = None) -> float | None:
    """Give the Dice of whole muscle in a slice, whose image and compartments may be given."""
    (channel,) = segmenter.spec.channels
    image, compartments = pair or (one.image, one.compartments)
    pixel = one.geometry.zooms[0]
    if whole == EVERY:
        truth = every_muscle(compartments, pixel) > 0
    else:
        truth = whole_muscle(compartments, one.region, pixel) > 0
    classes = match_labels(LabelSet.from_config({whole: []}), segmenter.spec.labels)[whole]
    geometry = type(one.geometry).from_affine((*image.shape[::-1], 1), one.geometry.affine)
    found = segmenter.segment({channel: one.stored(image)[..., None]}, geometry)
    return overlap(truth, np.isin(found[..., 0].T, classes)).dice


def whole_label(labels: LabelSet) -> str:
    """Tell whether a network gives every muscle or those of the paper's mask."""
    every, paper = (match_labels(LabelSet.from_config({name: []}), labels)[name] for name in (EVERY, PAPER))
    return EVERY if len(every) > len(paper) else PAPER


def summarised(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Give the mean Dice of each value with its interval, and the lowest."""
    for factor, value in dict.fromkeys((row["factor"], row["value"]) for row in rows):
        own = [row for row in rows if (row["factor"], row["value"]) == (factor, value)]
        dice = [row["dice"] for row in own if row["dice"] is not None]
        if not dice:
            continue
        low, high = interval_by_subject(dice, [str(n) for n in range(len(dice))]) or (dice[0], dice[0])
        figures = {"dice": float(np.mean(dice)), "dice_low": low, "dice_high": high, "dice_worst": min(dice)}
        yield {"factor": factor, "value": value, "slices": len(dice)} | {k: round(v, 4) for k, v in figures.items()}


def below(means: Sequence[Mapping[str, Any]]) -> str:
    """List what lies below `LEAST`, the worst first."""
    low = sorted((row for row in means if row["dice"] < LEAST), key=lambda row: float(row["dice"]))
    lines = ["| factor | value | Dice | 95 % interval | worst |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['factor']} | {row['value']} | {row['dice']:.3f} | {row['dice_low']:.3f} to {row['dice_high']:.3f} "
        f"| {row['dice_worst']:.3f} |"
        for row in low
    ]
    return "\n".join([*lines, ""]) if low else f"Nothing lies below {LEAST}.\n"


def drawn(means: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw a panel for each factor."""
    factors = list(dict.fromkeys(row["factor"] for row in means))
    columns = min(3, len(factors))
    rows = -(-len(factors) // columns)
    figure = Figure(figsize=(5 * columns, 3.6 * rows), dpi=90, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for number, factor in enumerate(factors):
        _panel(axes[number], factor, [row for row in means if row["factor"] == factor])
    for number in range(len(factors), rows * columns):
        axes[number].set_axis_off()
    return figure


def _panel(axes: Axes, factor: str, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [row["value"] for row in rows]
    dice, low, high, worst = (
        np.array([row[name] for row in rows]) for name in ("dice", "dice_low", "dice_high", "dice_worst")
    )
    numbers = all(isinstance(value, float) for value in values)
    at = np.array(values if numbers else range(len(values)), float)
    axes.errorbar(at, dice, yerr=(dice - low, high - dice), fmt="o-" if numbers else "o", capsize=3, markersize=4)
    axes.plot(at, worst, "v", color="tab:red", markersize=4)
    axes.axhline(LEAST, color="0.6", linewidth=0.8, linestyle="--")
    axes.set(title=factor, ylabel="Dice", ylim=(min(0.6, float(worst.min()) - 0.02), 1.0))
    if not numbers:
        axes.set_xticks(at, values, rotation=60, ha="right", fontsize=7)


def _spoilt(rng: np.random.Generator, spoil: Callable[[np.random.Generator, Pair], Pair], one: SyntheticSlice) -> Pair:
    return spoil(rng, (one.image, one.compartments))


def _wrap(rng: np.random.Generator, pair: Pair) -> Pair:
    image, compartments = pair
    overlap_ = max(2, int(0.1 * image.shape[0]))
    return wrapped(image, axis=0, overlap=overlap_), compartments[overlap_:-overlap_]


def _bend(rng: np.random.Generator, pair: Pair) -> Pair:
    image, compartments = pair
    bent, labels = warped(rng, image[None], compartments, 0.03 * min(image.shape))
    return bent[0], labels


if __name__ == "__main__":
    main()
