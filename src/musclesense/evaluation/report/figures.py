"""The charts of a report, each small enough to be read on a phone, in the colours of a light or a dark page."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from musclesense.evaluation.pooling import MeanSD, pool, select
from musclesense.evaluation.report.tables import paper_dice
from musclesense.metrics.case import Case
from musclesense.studies.study import Epoch, RunStatus, Study

_WIDTH = 4.8
_DPI = 200
_LIMITS_OF_AGREEMENT = 1.96
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


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One chart: file name without suffix, what it shows in words, and how it is drawn."""

    name: str
    alt: str
    draw: Callable[[Theme], Figure]

    def png(self, theme: Theme) -> bytes:
        """Draw the chart; the same scores give the same bytes."""
        buffer = io.BytesIO()
        self.draw(theme).savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        return buffer.getvalue()


def headline_charts(study: Study) -> list[Chart]:
    """Dice by region beside the paper's."""
    return [
        Chart(
            name="dice",
            alt="Mean Dice with one standard deviation for each region, this study above the paper.",
            draw=lambda theme: _draw_headline(study, theme),
        )
    ]


def label_charts(study: Study) -> list[Chart]:
    """Dice by label, a chart for each region, where there are too many labels for the other charts."""
    if not study.many_labels:
        return []
    return [
        Chart(
            name=f"dice_by_label_{region}",
            alt=f"Mean Dice with one standard deviation in the {region} for each label.",
            draw=lambda theme, region=region: _draw_labels(study, region, theme),  # type: ignore[misc]
        )
        for region in study.regions
    ]


def group_charts(study: Study) -> list[Chart]:
    """Dice by group, a chart for each region."""
    return [
        Chart(
            name=f"dice_by_group_{region}",
            alt=f"Box plot of Dice in the {region} for each group, with a point for each test case.",
            draw=lambda theme, region=region: _draw_groups(study, region, theme),  # type: ignore[misc]
        )
        for region in study.regions
    ]


def run_charts(study: Study) -> list[Chart]:
    """Mean Dice of each run, outer by inner folds, a chart for each region."""
    return [
        Chart(
            name=f"runs_{region}",
            alt=f"Heat map of mean Dice in the {region} for each run, outer folds down, inner folds across.",
            draw=lambda theme, region=region: _draw_runs(study, region, theme),  # type: ignore[misc]
        )
        for region in study.regions
    ]


def learning_charts(study: Study) -> list[Chart]:
    """Loss and validation Dice by epoch; none where no run has written curves."""
    if not any(run.epochs for run in study.runs):
        return []
    return [
        Chart(
            name="loss",
            alt="Training and validation loss by epoch, a thin line for each run and a thick one for their mean.",
            draw=lambda theme: _draw_loss(study, theme),
        ),
        Chart(
            name="validation_dice",
            alt="Validation Dice by epoch, a thin line for each run and a thick one for their mean.",
            draw=lambda theme: _draw_validation_dice(study, theme),
        ),
    ]


def fat_fraction_charts(study: Study) -> list[Chart]:
    """Fat fraction in the true and the predicted mask; none where the cohort has no fat fractions."""
    if not any(case.fat_fraction_bias is not None for case in study.cases):
        return []
    return [
        Chart(
            name="fat_fraction",
            alt="Scatter plot of mean fat fraction in the predicted mask against that in the true mask.",
            draw=lambda theme: _draw_fat_fraction(study, theme),
        ),
        Chart(
            name="fat_fraction_difference",
            alt="Bland-Altman plot of the difference in mean fat fraction, with bias and 95 % limits of agreement.",
            draw=lambda theme: _draw_bland_altman(study, theme),
        ),
    ]


def _draw_headline(study: Study, theme: Theme) -> Figure:
    labels: tuple[str | None, ...] = (None,) if study.many_labels else study.labels
    rows = [
        (region if label is None or len(labels) == 1 else f"{region}, {label}", pool(cases), paper_dice(study, region))
        for label, region in product(labels, study.regions)
        if (cases := select(study.cases, region=region, label=label))
    ]
    figure, axes = _axes(theme, height=1.1 + 0.75 * len(rows))
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
    _legend(axes, theme, columns=3)
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color=theme.lines)
    axes.set_xlabel("Dice")
    return figure


def _mean_sd_bar(axes: Axes, value: MeanSD, row: float, colour: str, marker: str) -> None:
    axes.errorbar(value.mean, row, xerr=value.sd, fmt=marker, color=colour, markersize=6, capsize=3, linewidth=1.6)


def _draw_labels(study: Study, region: str, theme: Theme) -> Figure:
    pooled = ((label, pool(select(study.cases, region=region, label=label)).dice) for label in study.labels)
    rows = [(label, dice) for label, dice in pooled if dice]
    figure, axes = _axes(theme, height=0.7 + 0.2 * max(len(rows), 2))
    for row, (_, dice) in enumerate(rows):
        _mean_sd_bar(axes, dice, row, theme.first, ".")
    axes.set_yticks(range(len(rows)), [label.replace("_", " ") for label, _ in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(right=1)
    axes.grid(color=theme.lines)
    axes.set_xlabel(f"Dice, {region}")
    return figure


def _draw_groups(study: Study, region: str, theme: Theme) -> Figure:
    groups = {
        group: [c.dice for c in select(study.cases, region=region, group=group) if c.dice is not None]
        for group in study.groups
    }
    groups = {group: dice for group, dice in groups.items() if dice}
    figure, axes = _axes(theme, height=1.1 + 0.45 * max(len(groups), 2))
    if paper := paper_dice(study, region):
        axes.axvline(paper.mean, color=theme.second, linestyle="--", linewidth=1.2, label="paper, all groups")
        _legend(axes, theme, columns=1)
    jitter = np.random.default_rng(0)
    for row, dice in enumerate(groups.values()):
        heights = row + jitter.uniform(-0.22, 0.22, len(dice))
        axes.plot(
            dice, heights, ".", color=theme.first, alpha=_alpha(len(dice)), markersize=5, markeredgewidth=0, zorder=3
        )
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
    axes.set_yticks(range(len(groups)), [f"{group or 'no group'} ({len(dice)})" for group, dice in groups.items()])
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.grid(axis="x", color=theme.lines)
    axes.set_xlabel(f"Dice, {region}")
    return figure


def _draw_runs(study: Study, region: str, theme: Theme) -> Figure:
    regions = {name: _run_means(study, name) for name in study.regions}
    means = regions[region]
    measured = [mean for values in regions.values() for mean in values[np.isfinite(values)]] or [1.0]
    figure, axes = _axes(theme, height=1.0 + 0.42 * study.outer_folds)
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
    axes.set_xticks(range(study.inner_folds))
    axes.set_yticks(range(study.outer_folds))
    axes.set_xlabel(f"inner fold ({region})")
    axes.set_ylabel("outer fold")
    axes.tick_params(length=0)
    return figure


def _run_means(study: Study, region: str) -> NDArray[np.float64]:
    """Give the mean Dice of each run, shape (outer folds, inner folds), NaN where there is none."""
    means = np.full((study.outer_folds, study.inner_folds), np.nan)
    for run in study.runs:
        if dice := pool(select(run.cases, region=region)).dice:
            means[run.outer, run.inner] = dice.mean
    return means


def _draw_loss(study: Study, theme: Theme) -> Figure:
    figure, axes = _axes(theme, height=3.0)
    _curves(axes, study, lambda epoch: epoch.train_loss, theme.first, "training")
    _curves(axes, study, lambda epoch: epoch.val_loss, theme.second, "validation")
    _label_epochs(axes, theme, "loss")
    return figure


def _draw_validation_dice(study: Study, theme: Theme) -> Figure:
    figure, axes = _axes(theme, height=3.0)
    _curves(axes, study, lambda epoch: epoch.val_dice, theme.first, "validation")
    best = [
        (epoch.epoch, epoch.val_dice)
        for run in study.runs
        for epoch in run.epochs
        if epoch.epoch == run.best_epoch and epoch.val_dice is not None
    ]
    if best:
        axes.plot(*zip(*best, strict=True), ".", color=theme.ink, markersize=5, label="tested checkpoint", zorder=4)
    _label_epochs(axes, theme, "Dice")
    return figure


def _curves(axes: Axes, study: Study, measure: Callable[[Epoch], float | None], colour: str, label: str) -> None:
    by_epoch: dict[int, list[float]] = {}
    trained = 0
    for run in study.runs:
        points = [(epoch.epoch, value) for epoch in run.epochs if (value := measure(epoch)) is not None]
        if points:
            trained += 1
            axes.plot(*zip(*points, strict=True), color=colour, alpha=0.25, linewidth=0.7)
        for epoch, value in points:
            by_epoch.setdefault(epoch, []).append(value)
    # Late epochs are reached by few runs, whose mean would jump.
    mean = [(epoch, np.mean(values)) for epoch, values in sorted(by_epoch.items()) if 2 * len(values) >= trained]
    if mean:
        axes.plot(*zip(*mean, strict=True), color=colour, linewidth=2.2, label=label, zorder=3)


def _label_epochs(axes: Axes, theme: Theme, quantity: str) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    axes.grid(color=theme.lines)
    _legend(axes, theme, columns=3)


def _draw_fat_fraction(study: Study, theme: Theme) -> Figure:
    figure, axes = _axes(theme, height=3.6)
    top = 1.0
    for region, colour, marker, true, predicted in _fat_fractions(study, theme):
        axes.plot(true, predicted, marker, color=colour, alpha=_alpha(len(true)), markersize=4, markeredgewidth=0)
        axes.plot([], [], marker, color=colour, label=region)
        top = max(top, float(true.max()), float(predicted.max()))
    axes.axline((0, 0), slope=1, color=theme.faint, linewidth=1)
    axes.set_xlim(0, 1.05 * top)
    axes.set_ylim(0, 1.05 * top)
    axes.set_aspect("equal")
    axes.set_xlabel("fat fraction in true mask (%)")
    axes.set_ylabel("in predicted mask (%)")
    axes.grid(color=theme.lines)
    _legend(axes, theme, columns=2)
    return figure


def _draw_bland_altman(study: Study, theme: Theme) -> Figure:
    figure, axes = _axes(theme, height=3.6)
    for region, colour, marker, true, predicted in _fat_fractions(study, theme):
        mean, difference = (true + predicted) / 2, predicted - true
        axes.plot(mean, difference, marker, color=colour, alpha=_alpha(len(mean)), markersize=4, markeredgewidth=0)
        axes.axhline(difference.mean(), color=colour, linewidth=1.6, label=f"{region}: {difference.mean():+.2f}")
        if difference.size > 1:
            for sign in (-1, 1):
                limit = difference.mean() + sign * _LIMITS_OF_AGREEMENT * difference.std(ddof=1)
                axes.axhline(limit, color=colour, linewidth=1, linestyle=":")
    axes.set_xlabel("mean of the two fat fractions (%)")
    axes.set_ylabel("predicted - true (points)")
    axes.grid(color=theme.lines)
    _legend(axes, theme, columns=2)
    return figure


_Fractions = tuple[str, str, str, NDArray[np.float64], NDArray[np.float64]]


def _fat_fractions(study: Study, theme: Theme) -> Iterator[_Fractions]:
    """Give region, colour, marker, and the fat fractions in true and predicted masks."""
    for number, region in enumerate(study.regions):
        pairs = np.array(
            [_pair(case) for case in select(study.cases, region=region) if case.fat_fraction_bias is not None]
        )
        if pairs.size:
            yield region, (theme.first, theme.second)[number % 2], "o^"[number % 2], pairs[:, 0], pairs[:, 1]


def _pair(case: Case) -> Sequence[float | None]:
    return case.fat_fraction_true_mask, case.fat_fraction_predicted_mask


def _alpha(points: int) -> float:
    return float(np.clip(60 / points, 0.15, 0.7))


def _axes(theme: Theme, *, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained", facecolor=theme.background)
    axes = figure.add_subplot(facecolor=theme.background)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    axes.tick_params(colors=theme.ink, labelsize=10)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(theme.ink)
        label.set_fontsize(10)
    return figure, axes


def _legend(axes: Axes, theme: Theme, *, columns: int) -> None:
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
