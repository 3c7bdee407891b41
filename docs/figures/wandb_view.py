"""Draw what wandb is given of a study, as the view lays it out: ``python -m docs.figures.wandb_view OUT.png STUDY``.

The panels are those of the script that ``musclesense dashboard`` writes. wandb draws them on its server alone; here
they are drawn of the run folders, which hold the same numbers and images.
"""

import argparse
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from musclesense.storage.atomic import atomic_path
from musclesense.studies.overlays import KeptSlice, read_kept
from musclesense.studies.reading import read_study
from musclesense.studies.study import Run, Study

CASES = 4
"""Slices of the first run that are shown, as ``logger.overlays`` has it by default."""
COLUMNS = ("subject", "group", "region", "slice", "label", "dice", "hd95_mm", "volume_true_ml", "volume_predicted_ml")
SUMMARY = ("region", "group", "label", "cases", "dice_mean", "hd95_mm_mean", "volume_bias_ml")


def draw_view(out: Path, study: Study) -> None:
    """Draw curves and scores of all runs, cases of the first one, and the study's summary."""
    runs = [run for run in study.runs if run.cases]
    figure = Figure(figsize=(14, 12.5), layout="constrained")
    sections: Any = figure.subfigures(4, height_ratios=(3, 2.2, 4, 2))
    validation, test, cases, summary = sections
    validation.suptitle("Validation", x=0.01, ha="left", weight="bold")
    for axes, names in zip(validation.subplots(1, 2), (("val_dice",), ("train_loss", "val_loss")), strict=True):
        _curves(axes, runs, names)
    test.suptitle("Test", x=0.01, ha="left", weight="bold")
    for axes, region in zip(test.subplots(1, len(study.regions), squeeze=False)[0], study.regions, strict=True):
        _bars(axes, runs, region)
    cases.suptitle(f"Cases: test/cases and test/overlays of {runs[0].name}", x=0.01, ha="left", weight="bold")
    _cases(cases, runs[0])
    summary.suptitle("Study: tables/summary of the run summary", x=0.01, ha="left", weight="bold")
    _table(summary.subplots(), SUMMARY, _summary(study))
    with atomic_path(out) as draft:
        figure.savefig(draft, dpi=100)


def _curves(axes: Axes, runs: list[Run], names: tuple[str, ...]) -> None:
    for run in runs:
        for name, style in zip(names, ("-", "--"), strict=False):
            values = [getattr(epoch, name) for epoch in run.epochs]
            axes.plot(
                [epoch.epoch for epoch in run.epochs], values, style, color=f"C{run.outer}", label=f"{run.name} {name}"
            )
    axes.set(title=", ".join(names), xlabel="epoch")
    axes.legend(fontsize=7, ncols=len(names))


def _bars(axes: Axes, runs: list[Run], region: str) -> None:
    for place, run in enumerate(runs):
        dice = [case.dice for case in run.cases if case.region == region and case.dice is not None]
        bar = axes.barh(place, sum(dice) / len(dice), color=f"C{run.outer}")
        axes.bar_label(bar, fmt="%.3f", label_type="center", color="white")
    axes.set(title=f"test/dice_{region}", xlim=(0, 1), yticks=range(len(runs)), yticklabels=[run.name for run in runs])
    axes.invert_yaxis()


def _cases(figure: Any, run: Run) -> None:
    shown = list({(case.line, case.slice): case for case in run.cases}.values())[:CASES]
    kept = read_kept(run.folder, [(case.line, case.slice) for case in shown])
    pictures, rows = figure.subfigures(2, height_ratios=(3, 2))
    for axes, case, overlay in zip(pictures.subplots(1, CASES), shown, kept, strict=False):
        _overlay(axes, overlay)
        axes.set_title(f"{case.subject} {case.session} {case.region} slice {case.slice}", fontsize=8)
    cells = [[_cell(getattr(case, name)) for name in COLUMNS] for case in shown]
    _table(rows.subplots(), COLUMNS, cells)


def _overlay(axes: Axes, kept: KeptSlice) -> None:
    axes.imshow(kept.image, cmap="gray")
    for mask, colour in ((kept.truth, "tab:green"), (kept.prediction, "tab:red")):
        axes.imshow(mask > 0, cmap=ListedColormap(["none", colour]), alpha=0.35, interpolation="nearest")
    axes.set(xticks=[], yticks=[])


def _summary(study: Study) -> list[list[str]]:
    from pandas import read_csv

    table = read_csv(study.folder.report.summary, keep_default_na=False)
    return [[_cell(value) for value in row] for row in table[list(SUMMARY)].itertuples(index=False)]


def _table(axes: Axes, columns: tuple[str, ...], cells: list[list[str]]) -> None:
    axes.axis("off")
    table = axes.table(cells, colLabels=columns, loc="upper center", cellLoc="left")
    table.auto_set_font_size(False)
    table.set_fontsize(8)


def _cell(value: Any) -> str:
    try:
        return str(value) if isinstance(value, int) else f"{float(value):.3f}"
    except (TypeError, ValueError):
        return str(value)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=draw_view.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("study", type=Path, help="folder of a study with a report")
    options = parser.parse_args()
    draw_view(options.out, read_study(options.study))


if __name__ == "__main__":
    main()
