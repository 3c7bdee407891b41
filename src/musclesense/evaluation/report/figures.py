"""The charts of a report, each small enough to be read on a phone, in the colours of a light or a dark page."""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from musclesense.evaluation.agreement import LIMITS
from musclesense.evaluation.pooling import MeanSD, pool, select
from musclesense.evaluation.report.lettering import drawable
from musclesense.evaluation.report.tables import measured_fat_fractions, paper_dice
from musclesense.studies.study import RunStatus, Study

_WIDTH = 4.8
DPI = 200
_NARROWEST_SCALE = 0.05


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours of a page."""

    background: str
    ink: str
    faint: str
    lines: str
    first: str
    second: str


LIGHT = Theme(background="#ffffff", ink="#1f2933", faint="#66717d", lines="#dfe3e8", first="#1b6ca8", second="#b8500f")
DARK = Theme(background="#181e25", ink="#e6e9ed", faint="#9aa5b1", lines="#323c47", first="#6db3f2", second="#f0a35e")


@dataclass(frozen=True)
class Chart:
    """One chart: file name without suffix, what it shows in words, and how it is drawn."""

    name: str
    alt: str
    draw: Callable[[Theme], Figure]

    def png(self, theme: Theme) -> bytes:
        """Draw the chart; the same scores give the same bytes."""
        buffer = io.BytesIO()
        self.draw(theme).savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        return buffer.getvalue()


def charts(study: Study) -> dict[str, list[Chart]]:
    """Give the charts of each section of a page; a section with nothing to show has none."""
    overall = "Mean Dice with one standard deviation for each region, this study above the paper."
    by_label = "Mean Dice with one standard deviation in the {region} for each label."
    by_group = "Box plot of Dice in the {region} for each group, with a point for each test case."
    by_run = "Heat map of mean Dice in the {region} for each run, outer folds down, inner folds across."
    folds = Chart("folds", "Subjects of each group in each outer fold.", partial(_draw_folds, study))
    lines = "a thin line for each run and a thick one for their mean"
    scatter = "Scatter plot of mean fat fraction in the predicted mask against that in the true mask."
    difference = "Bland-Altman plot of the difference in mean fat fraction, with bias and 95 % limits of agreement."
    read = "Scatter plot of mean fat fraction of the fat and water images in the predicted mask against the given one."
    learning = [
        Chart("loss", f"Training and validation loss by epoch, {lines}.", partial(_draw_loss, study)),
        Chart("validation_dice", f"Validation Dice by epoch, {lines}.", partial(_draw_validation_dice, study)),
    ]
    fat_fraction = [
        Chart("fat_fraction", scatter, partial(_draw_fat_fraction, study)),
        Chart("fat_fraction_difference", difference, partial(_draw_bland_altman, study)),
    ]
    if measured_fat_fractions(study):
        fat_fraction.append(Chart("fat_fraction_measured", read, partial(_draw_fat_fraction, study, measured=True)))
    measured = any(case.fat_fraction_bias is not None for case in study.cases)
    return {
        "headline": [Chart("dice", overall, partial(_draw_headline, study))] if study.cases else [],
        "label": _by_region(study, "dice_by_label", by_label, _draw_labels) if study.many_labels else [],
        "group": _by_region(study, "dice_by_group", by_group, _draw_groups),
        "run": [*_by_region(study, "runs", by_run, _draw_runs), *([folds] if study.cases else [])],
        "learning": learning if any(run.epochs for run in study.runs) else [],
        "fat_fraction": fat_fraction if measured else [],
    }


def _by_region(study: Study, name: str, alt: str, draw: Callable[[Study, str, Theme], Figure]) -> list[Chart]:
    return [
        Chart(f"{name}_{region}", alt.format(region=region), partial(draw, study, region)) for region in study.regions
    ]


def _draw_headline(study: Study, theme: Theme) -> Figure:
    labels: tuple[str | None, ...] = (None,) if study.many_labels else study.labels
    rows = [
        (region if label is None or len(labels) == 1 else f"{region}, {label}", pool(cases), paper_dice(study, region))
        for label, region in product(labels, study.regions)
        if (cases := select(study.cases, region=region, label=label))
    ]
    figure, axes = begin_chart(theme, height=1.1 + 0.75 * len(rows), x="Dice", grid="x")
    for row, (_, scores, paper) in enumerate(rows):
        if scores.dice:
            folds = list(scores.dice_by_outer.values())
            axes.plot(folds, [row - 0.15] * len(folds), "|", color=theme.faint, markersize=13, zorder=1)
            _mean_sd_bar(axes, scores.dice, row - 0.15, theme.first, "o")
        if paper:
            _mean_sd_bar(axes, paper, row + 0.2, theme.second, "D")
    axes.plot([], [], "o", color=theme.first, label="this study, mean ± SD")
    axes.plot([], [], "|", color=theme.faint, markersize=10, label="outer folds")
    if any(paper for *_, paper in rows):
        axes.plot([], [], "D", color=theme.second, markersize=5, label="paper")
    legend(axes, theme, columns=3)
    name_rows(axes, [name for name, *_ in rows])
    return figure


def _mean_sd_bar(axes: Axes, value: MeanSD, row: float, colour: str, marker: str) -> None:
    axes.errorbar(value.mean, row, xerr=value.sd, fmt=marker, color=colour, markersize=6, capsize=3, linewidth=1.6)


def _draw_labels(study: Study, region: str, theme: Theme) -> Figure:
    pooled = {label: pool(select(study.cases, region=region, label=label)).dice for label in study.labels}
    rows = {label: dice for label, dice in pooled.items() if dice}
    figure, axes = begin_chart(theme, height=0.7 + 0.2 * max(len(rows), 2), x=f"Dice, {region}", grid="both")
    for row, dice in enumerate(rows.values()):
        _mean_sd_bar(axes, dice, row, theme.first, ".")
    name_rows(axes, [label.replace("_", " ") for label in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(right=1)
    return figure


def _draw_groups(study: Study, region: str, theme: Theme) -> Figure:
    groups = {
        group: dice
        for group in study.groups
        if (dice := [c.dice for c in select(study.cases, region=region, group=group) if c.dice is not None])
    }
    figure, axes = begin_chart(theme, height=1.1 + 0.45 * max(len(groups), 2), x=f"Dice, {region}", grid="x")
    if paper := paper_dice(study, region):
        axes.axvline(paper.mean, color=theme.second, linestyle="--", linewidth=1.2, label="paper, all groups")
        legend(axes, theme, columns=1)
    jitter = np.random.default_rng(0)
    for row, dice in enumerate(groups.values()):
        heights = row + jitter.uniform(-0.22, 0.22, len(dice))
        _points(axes, dice, heights, ".", theme.first, markersize=5, zorder=3)
    if groups:
        line = {"color": theme.ink, "linewidth": 1.1}
        axes.boxplot(
            list(groups.values()),
            positions=range(len(groups)),
            orientation="horizontal",
            widths=0.55,
            showfliers=False,
            boxprops=line,
            whiskerprops=line,
            capprops=line,
            medianprops={**line, "linewidth": 2.2},
        )
    lowest = min((case.dice for case in study.cases if case.dice is not None), default=0.0)
    margin = 0.04 * max(1 - lowest, _NARROWEST_SCALE)
    axes.set_xlim(lowest - margin, 1 + margin)  # the same in all regions
    name_rows(axes, [f"{group or 'no group'} ({len(dice)})" for group, dice in groups.items()])
    return figure


def _draw_runs(study: Study, region: str, theme: Theme) -> Figure:
    regions = {name: _run_means(study, name) for name in study.regions}
    means = regions[region]
    measured = [mean for values in regions.values() for mean in values[np.isfinite(values)]] or [1.0]
    figure, axes = begin_chart(theme, height=1.0 + 0.42 * study.outer_folds, x=f"inner fold ({region})", y="outer fold")
    # One scale for all regions, and not so narrow that it makes much of small differences.
    top = max(measured)
    bottom = min(*measured, top - _NARROWEST_SCALE)
    axes.imshow(means, cmap="cividis", aspect="auto", vmin=bottom, vmax=top)
    for run in study.runs:
        mean = means[run.outer, run.inner]
        if np.isnan(mean):
            text, colour = ("failed" if run.status is RunStatus.FAILED else "-"), theme.faint
        else:
            text, colour = f"{mean:.3f}", "white" if mean < (bottom + top) / 2 else "black"
        axes.text(run.inner, run.outer, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set(xticks=range(study.inner_folds), yticks=range(study.outer_folds))
    axes.tick_params(length=0)
    return figure


def _draw_folds(study: Study, theme: Theme) -> Figure:
    tested = Counter(key[:2] for key in {(case.group, case.outer, case.subject) for case in study.cases})
    counts = np.array([[tested[group, outer] for outer in range(study.outer_folds)] for group in study.groups])
    figure, axes = begin_chart(theme, height=1.0 + 0.3 * len(counts), x="outer fold")
    axes.imshow(counts, cmap="cividis", aspect="auto", vmin=0)
    for (row, outer), count in np.ndenumerate(counts):
        colour = "white" if 2 * count < counts.max() else "black"
        axes.text(outer, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    name_rows(axes, [group or "no group" for group in study.groups])
    axes.set_xticks(range(study.outer_folds))
    return figure


def _run_means(study: Study, region: str) -> NDArray[np.float64]:
    """Give the mean Dice of each run, shape (outer folds, inner folds), NaN where there is none."""
    means = np.full((study.outer_folds, study.inner_folds), np.nan)
    for run in study.runs:
        if dice := pool(select(run.cases, region=region)).dice:
            means[run.outer, run.inner] = dice.mean
    return means


def _draw_loss(study: Study, theme: Theme) -> Figure:
    figure, axes = begin_chart(theme, height=3.0, x="epoch", y="loss", grid="both")
    _curves(axes, study, "train_loss", theme.first, "training")
    _curves(axes, study, "val_loss", theme.second, "validation")
    legend(axes, theme, columns=3)
    return figure


def _draw_validation_dice(study: Study, theme: Theme) -> Figure:
    figure, axes = begin_chart(theme, height=3.0, x="epoch", y="Dice", grid="both")
    _curves(axes, study, "val_dice", theme.first, "validation")
    best = [
        (epoch.epoch, epoch.val_dice)
        for run in study.runs
        for epoch in run.epochs
        if epoch.epoch == run.best_epoch and epoch.val_dice is not None
    ]
    if best:
        axes.plot(*zip(*best, strict=True), ".", color=theme.ink, markersize=5, label="tested checkpoint", zorder=4)
    legend(axes, theme, columns=3)
    return figure


def _curves(axes: Axes, study: Study, measure: str, colour: str, label: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    known = study.curves.dropna(subset=measure)
    runs = known.groupby(["outer", "inner"])
    for _, run in runs:
        axes.plot(run["epoch"], run[measure], color=colour, alpha=0.25, linewidth=0.7)
    by_epoch = known.groupby("epoch")[measure]
    # Late epochs are reached by few runs, whose mean would jump.
    mean = by_epoch.mean()[2 * by_epoch.size() >= runs.ngroups]
    if len(mean):
        axes.plot(mean.index, mean, color=colour, linewidth=2.2, label=label, zorder=3)


def _draw_fat_fraction(study: Study, theme: Theme, *, measured: bool = False) -> Figure:
    y = "fat and water in predicted mask (%)" if measured else "in predicted mask (%)"
    figure, axes = begin_chart(theme, height=3.6, x="fat fraction in true mask (%)", y=y, grid="both")
    top = 1.0
    for region, colour, marker, true, predicted in _fat_fractions(study, theme, measured=measured):
        _points(axes, true, predicted, marker, colour, markersize=4)
        axes.plot([], [], marker, color=colour, label=region)
        top = max(top, float(true.max()), float(predicted.max()))
    axes.axline((0, 0), slope=1, color=theme.faint, linewidth=1)
    axes.set(xlim=(0, 1.05 * top), ylim=(0, 1.05 * top), aspect="equal")
    legend(axes, theme, columns=2)
    return figure


def _draw_bland_altman(study: Study, theme: Theme) -> Figure:
    figure, axes = begin_chart(
        theme, height=3.6, x="mean of the two fat fractions (%)", y="predicted - true (points)", grid="both"
    )
    for region, colour, marker, true, predicted in _fat_fractions(study, theme):
        bland_altman(axes, region, true, predicted, colour, marker)
    legend(axes, theme, columns=2)
    return figure


def bland_altman(
    axes: Axes, name: str, x: NDArray[np.float64], y: NDArray[np.float64], colour: str, marker: str
) -> None:
    """Draw y - x against the mean of both, with bias and limits of agreement."""
    difference = y - x
    _points(axes, (x + y) / 2, difference, marker, colour, markersize=4)
    axes.axhline(difference.mean(), color=colour, linewidth=1.6, label=f"{name}: {difference.mean():+.2f}")
    if difference.size > 1:
        for sign in (-1, 1):
            limit = difference.mean() + sign * LIMITS * difference.std(ddof=1)
            axes.axhline(limit, color=colour, linewidth=1, linestyle=":")


_Fractions = tuple[str, str, str, NDArray[np.float64], NDArray[np.float64]]


def _fat_fractions(study: Study, theme: Theme, *, measured: bool = False) -> Iterator[_Fractions]:
    """Give region, colour, marker, and the fat fractions in true and predicted masks, the latter as ``measured``."""
    for number, region in enumerate(study.regions):
        pairs = [
            (case.fat_fraction_true_mask, predicted)
            for case in select(study.cases, region=region)
            if (
                predicted := case.measured_fat_fraction_predicted_mask if measured else case.fat_fraction_predicted_mask
            )
            is not None
            and case.fat_fraction_true_mask is not None
        ]
        if pairs:
            true, predicted = np.array(pairs, dtype=np.float64).T
            yield region, (theme.first, theme.second)[number % 2], "o^"[number % 2], true, predicted


def _points(axes: Axes, x: ArrayLike, y: ArrayLike, marker: str, colour: str, **style: Any) -> None:
    """Draw a point for each case, the fainter the more there are."""
    alpha = float(np.clip(60 / np.size(x), 0.15, 0.7))
    axes.plot(x, y, marker, color=colour, alpha=alpha, markeredgewidth=0, **style)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a chart, the first on top."""
    shown, fonts = drawable(tuple(names))
    axes.set_yticks(range(len(names)), shown, parse_math=False, family=fonts)  # $ is no formula
    axes.set_ylim(len(names) - 0.4, -0.6)


def begin_chart(
    theme: Theme, *, height: float, x: str, y: str = "", grid: Literal["x", "both"] | None = None
) -> tuple[Figure, Axes]:
    """Begin a chart; ``x`` and ``y`` say what its axes show."""
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor=theme.background)
    axes = figure.add_subplot(facecolor=theme.background)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.faint)
    axes.tick_params(colors=theme.ink, labelsize=10)
    axes.set_xlabel(x, color=theme.ink, fontsize=10)
    axes.set_ylabel(y, color=theme.ink, fontsize=10)
    if grid:
        axes.grid(axis=grid, color=theme.lines)
    return figure, axes


def legend(axes: Axes, theme: Theme, *, columns: int) -> None:
    """Explain the marks above a chart."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=columns,
        frameon=False,
        labelcolor=theme.ink,
        fontsize=9,
        borderaxespad=0.2,
        columnspacing=1.2,
        handletextpad=0.5,
    )
