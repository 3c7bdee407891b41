"""Differences with their intervals or against means, as figures, and figures as files."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from musclesense.evaluation.intervals import Floats
from musclesense.evaluation.report.figures import DPI, LIGHT, begin_chart, bland_altman, legend, name_rows
from musclesense.storage.atomic import atomic_path

_STYLES = ((LIGHT.first, "o"), (LIGHT.second, "^"), (LIGHT.faint, "s"))


def draw_forest(
    names: Sequence[str],
    rows: Sequence[tuple[float, float | None, float | None]],
    *,
    title: str,
    margin: float | None = None,
) -> Figure:
    """Draw a row for each number with its interval.

    Args:
        names: Of the rows, the first on top.
        rows: Each a number, and the ends of its interval where there is one.
        title: Of the axis.
        margin: Drawn as a band around 0.
    """
    figure, axes = begin_chart(LIGHT, height=0.9 + 0.35 * max(len(rows), 1), x="", grid="x")
    figure.supxlabel(title, color=LIGHT.ink, fontsize=10, parse_math=False)  # below the names, too, which leave no room
    if margin is not None:
        axes.axvspan(-margin, margin, color=LIGHT.lines, alpha=0.6, linewidth=0)
    axes.axvline(0, color=LIGHT.faint, linewidth=1)
    for place, (value, low, high) in enumerate(rows):
        if low is not None and high is not None:
            axes.plot([low, high], [place, place], "-", color=LIGHT.first, linewidth=1.6)
        axes.plot(value, place, "o", color=LIGHT.first, markersize=6)
    name_rows(axes, names)
    axes.xaxis.set_major_locator(MaxNLocator(4))  # names take the room of numbers
    return figure


def draw_differences(ways: Mapping[str, tuple[Floats, Floats]], *, x: str, y: str) -> Figure:
    """Draw a Bland-Altman plot of two readings of each pair, with bias and limits of each way to read.

    Args:
        ways: First and second readings, by the name of the way; as many ways as there are styles.
        x: What the axis of means shows.
        y: What the axis of differences shows.
    """
    figure, axes = begin_chart(LIGHT, height=3.6, x=x, y=y, grid="both")
    for (way, (first, second)), (colour, marker) in zip(ways.items(), cycle(_STYLES), strict=False):
        bland_altman(axes, way, first, second, colour, marker)
        axes.plot([], [], marker, color=colour)
    legend(axes, LIGHT, columns=1)
    return figure


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG, SVG and PDF, under a name without its ending; the same figure gives the same bytes."""
    undated = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    written = []
    for kind, metadata in undated.items():
        written.append(path.with_suffix(f".{kind}"))
        with atomic_path(written[-1]) as draft, rc_context({"svg.hashsalt": path.name}):
            figure.savefig(draft, format=kind, dpi=DPI, metadata=metadata)
    return written
