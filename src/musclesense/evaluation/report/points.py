"""Each acquisition as a point of a chart, which opens its overlay: of Dice, a row for each region and group."""

import io
from base64 import b64encode
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self

import numpy as np
from PIL import Image

from musclesense.evaluation.report.overlays import draw, kept_slices
from musclesense.metrics.case import Case
from musclesense.studies.overlays import KeptSlice, read_kept
from musclesense.studies.study import Run, Study

WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 1000, 190, 20, 38, 30
"""Of the chart, in its own units."""
_TICKS = 5
_NARROWEST = 0.05
_PICTURE_WIDTH, _QUALITY = 480, 50
_MOST_PICTURES = 800
"""So that a page stays small; of more acquisitions the best have none."""


@dataclass(frozen=True)
class Point:
    """An acquisition.

    Attributes:
        x: Where its Dice is.
        y: In the row of its region and group.
        says: Whose it is, and its Dice.
        line: Of the table, where it stands.
        picture: Its overlay as WebP in Base64; empty where there is none.
    """

    x: float
    y: float
    says: str
    line: int
    picture: str


@dataclass(frozen=True)
class Points:
    """The chart: rows and ticks by name and place, and the points, the worst first."""

    height: int
    rows: tuple[tuple[str, float], ...]
    ticks: tuple[tuple[str, float], ...]
    points: tuple[Point, ...]

    @classmethod
    def of(cls, study: Study) -> Self | None:
        """Make the chart of a study; None where nothing has a Dice."""
        found = sorted(_acquisitions(study), key=lambda one: (_dice(one), one[0].line))
        if not found:
            return None
        names = sorted({_row(own[0]) for own in found})
        low = min(_dice(found[0]), 1 - _NARROWEST)
        pictures = dict(_pictures(study, {own[0].line for own in found[:_MOST_PICTURES]}))
        jitter = np.random.default_rng(0).uniform(-0.32, 0.32, len(found)) * _ROW

        def x(dice: float) -> float:
            return round(_LEFT + (dice - low) / (1 - low) * (WIDTH - _LEFT - _RIGHT), 1)

        heights = {name: _TOP + _ROW * (number + 0.5) for number, name in enumerate(names)}
        points = (
            Point(x(_dice(own)), round(heights[_row(own[0])] + off, 1), _says(own), line, pictures.get(line, ""))
            for own, off in zip(found, jitter.tolist(), strict=True)
            for line in [own[0].line]
        )
        ticks = tuple((f"{dice:.3f}", x(dice)) for dice in np.linspace(low, 1, _TICKS).tolist())
        rows = tuple((" ".join(name), height) for name, height in heights.items())
        return cls(_TOP + _ROW * len(names) + 30, rows, ticks, tuple(points))


def nearest(study: Study) -> Iterator[tuple[Run, list[tuple[int, int]]]]:
    """Give the kept slice of each acquisition whose Dice is nearest to its own: by run, line and slice."""
    mean = {own[0].line: _dice(own) for own in _acquisitions(study)}
    found = dict[int, tuple[float, Run, int]]()
    for run in study.runs:
        for dice, cases in kept_slices(run):
            line = cases[0].line
            if (off := abs(dice - mean[line])) < found.get(line, (np.inf,))[0]:
                found[line] = (off, run, cases[0].slice)
    for run in study.runs:
        if own := [(line, number) for line, (_, whose, number) in found.items() if whose is run]:
            yield run, own


def _acquisitions(study: Study) -> Iterator[list[Case]]:
    """Give the cases with a Dice of each acquisition, over all networks that tested it."""
    of_line: dict[int, list[Case]] = {}
    for case in study.cases:
        if case.dice is not None:
            of_line.setdefault(case.line, []).append(case)
    yield from of_line.values()


def _pictures(study: Study, lines: Collection[int]) -> Iterator[tuple[int, str]]:
    """Draw the slices of `nearest`, by the line of the table."""
    for run, slices in nearest(study):
        wanted = [own for own in slices if own[0] in lines]
        for kept in read_kept(run.folder, wanted) if wanted else ():
            yield kept.line, b64encode(_webp(kept)).decode()


def _webp(kept: KeptSlice) -> bytes:
    picture, whole = io.BytesIO(), Image.fromarray(draw(kept.image, kept.truth, kept.prediction))
    size = (_PICTURE_WIDTH, _PICTURE_WIDTH * whole.height // whole.width)
    whole.resize(size, Image.Resampling.BOX).save(picture, "WEBP", quality=_QUALITY, method=2)
    return picture.getvalue()


def _dice(cases: Sequence[Case]) -> float:
    return fmean(case.dice for case in cases if case.dice is not None)


def _row(case: Case) -> tuple[str, str]:
    return case.region, case.group


def _says(cases: Sequence[Case]) -> str:
    case = cases[0]
    whose = (case.subject, case.session and f"session {case.session}", case.group, case.region)
    return ", ".join((*filter(None, whose), f"Dice {_dice(cases):.3f}"))
