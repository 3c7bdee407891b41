"""The aggregated scores of a study: the tables on disk and the one in the terminal.

The same scores give the same bytes: nothing here depends on the clock or on the order in which runs ended.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from musclesense.metrics.case import COLUMNS, Case
from musclesense.storage.records import write_csv
from musclesense.studies.layout import ReportFolder
from musclesense.studies.reading import read_study
from musclesense.studies.study import RunStatus, Study

ALL = "all"
PHANTOM_NOTICE = "Phantom data: simulated scans, not comparable with patients."


@dataclass(frozen=True)
class MeanSD:
    """A mean and a standard deviation."""

    mean: float
    sd: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.sd is None else f" ({self.sd:.3f})")


PAPER_DICE: Mapping[str, MeanSD] = {"calf": MeanSD(0.950, 0.025), "thigh": MeanSD(0.942, 0.041)}
"""Dice of the whole-muscle mask in patients and controls (Kanber et al., Musclesense), by region."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores pooled over cases; None where no case has the measure.

    The spread is that of the sample (n - 1), None below two values.

    Attributes:
        cases: Pooled test results: a labelled slice counts once for every run that tested it.
        slices: Different labelled slices among them.
        subjects: Different subjects among them.
        dice: Dice score coefficient over the cases that have one.
        dice_median: Its median.
        dice_undefined: Cases without one (truth and prediction both empty), left out of ``dice``.
        dice_by_outer: Mean Dice in each outer fold; these share no subject.
        hd95_mm_mean: 95th percentile Hausdorff distance, over the cases where neither mask is empty.
        volume_bias_ml: Volume, predicted minus true.
        fat_fraction_bias: Mean fat fraction in the predicted mask minus that in the true mask, percentage points.
    """

    cases: int
    slices: int
    subjects: int
    dice: MeanSD | None
    dice_median: float | None
    dice_undefined: int
    dice_by_outer: Mapping[int, float]
    hd95_mm_mean: float | None
    volume_bias_ml: MeanSD | None
    fat_fraction_bias: MeanSD | None

    @property
    def dice_sd_outer(self) -> float | None:
        """Standard deviation of the outer folds' mean Dice.

        The cases of one slice in the runs of one outer fold are alike, so the spread over cases says nothing about
        how sure the mean is. The outer folds test different subjects, though their training sets overlap.
        """
        between = _mean_sd(self.dice_by_outer.values())
        return between.sd if between else None


def pool(cases: Iterable[Case]) -> Scores:
    """Pool the scores of cases, as the paper pools its 25 runs."""
    cases = tuple(cases)
    dice = _defined(cases, lambda case: case.dice)
    by_outer = {
        outer: _defined((c for c in cases if c.outer == outer), lambda case: case.dice) for outer in _outer(cases)
    }
    distance = _mean_sd(_defined(cases, lambda case: case.hd95_mm))
    return Scores(
        cases=len(cases),
        slices=len({(case.line, case.slice) for case in cases}),
        subjects=len({case.subject for case in cases}),
        dice=_mean_sd(dice),
        dice_median=float(np.median(dice)) if dice else None,
        dice_undefined=len(cases) - len(dice),
        dice_by_outer={outer: float(np.mean(values)) for outer, values in by_outer.items() if values},
        hd95_mm_mean=distance.mean if distance else None,
        volume_bias_ml=_mean_sd(_defined(cases, lambda case: case.volume_bias_ml)),
        fat_fraction_bias=_mean_sd(_defined(cases, lambda case: case.fat_fraction_bias)),
    )


def select(
    cases: Iterable[Case], *, region: str = ALL, group: str | None = None, label: str | None = None
) -> tuple[Case, ...]:
    """Give the cases of a region, a group and a label; what is not named is not asked for."""
    return tuple(
        case
        for case in cases
        if region in (ALL, case.region) and group in (None, case.group) and label in (None, case.label)
    )


def paper_dice(study: Study, region: str) -> MeanSD | None:
    """Give the paper's Dice where the study measured the same: one whole-muscle label."""
    return PAPER_DICE.get(region) if len(study.labels) == 1 else None


NESTED_CV_COLUMNS = (
    "outer",
    "inner",
    "region",
    "label",
    "cases",
    "dice_mean",
    "dice_sd",
    "dice_undefined",
    "hd95_mm_mean",
    "volume_bias_ml",
    "fat_fraction_bias",
)
SUMMARY_COLUMNS = (
    "region",
    "group",
    "label",
    "subjects",
    "slices",
    "cases",
    "dice_mean",
    "dice_sd",
    "dice_median",
    "dice_sd_outer",
    "dice_undefined",
    "hd95_mm_mean",
    "volume_bias_ml",
    "volume_bias_ml_sd",
    "fat_fraction_bias",
    "fat_fraction_bias_sd",
)


def nested_cv_rows(study: Study, labels: Sequence[str | None]) -> list[dict[str, str]]:
    """Give a row for each finished run, label (None: all together) and region; the region ``all`` comes last."""
    return [
        {
            "outer": str(run.outer),
            "inner": str(run.inner),
            "region": region,
            "label": label or ALL,
            **_cells(pool(cases)),
        }
        for run in study.with_status(RunStatus.FINISHED)
        for label, region in product(labels, (*study.regions, ALL))
        if (cases := select(run.cases, region=region, label=label))
    ]


def summary_rows(study: Study) -> list[dict[str, str]]:
    """Give a row for each label, region and group over all finished runs; the group ``all`` comes first."""
    return [
        {"region": region, "group": ALL if group is None else group, "label": label, **_cells(pool(cases))}
        for label, region, group in product(study.labels, (*study.regions, ALL), (None, *study.groups))
        if (cases := select(study.cases, region=region, group=group, label=label))
    ]


def write_tables(study: Study, folder: ReportFolder) -> None:
    """Write ``nested_cv.csv``, ``summary.csv`` and ``cases.csv`` of a study into a folder, each atomically."""
    for path, columns, rows in (
        (folder.nested_cv, NESTED_CV_COLUMNS, nested_cv_rows(study, study.labels)),
        (folder.summary, SUMMARY_COLUMNS, summary_rows(study)),
        (folder.cases, tuple(COLUMNS), [_case_cells(case) for case in study.cases]),
    ):
        write_csv(path, columns, [{column: row[column] for column in columns} for row in rows])


def study_table(folder: Path) -> str:
    """Give the result of a study as lines of text for the terminal.

    Raises:
        InputError: The folder is no study, or one of its files cannot be understood.
    """
    study = read_study(folder)
    finished = study.with_status(RunStatus.FINISHED)
    lines = [f"Study {study.name}: {len(finished)} of {len(study.runs)} runs finished"]
    lines += [f"  failed: {run.name} ({run.error})" for run in study.with_status(RunStatus.FAILED)]
    if missing := study.with_status(RunStatus.MISSING):
        lines.append(f"  not finished (outer-inner): {', '.join(f'{run.outer}-{run.inner}' for run in missing)}")
    if not study.cases:
        return "\n".join([*lines, "No test scores yet."])
    lines += ["", "Dice score coefficient, mean (SD) over test cases; means of the outer folds", ""]
    lines += _aligned(_terminal_rows(study))
    if undefined := pool(study.cases).dice_undefined:
        lines += ["", f"{undefined} cases have no Dice (truth and prediction both empty) and are not counted."]
    if study.phantom:
        lines += ["", PHANTOM_NOTICE]
    return "\n".join(lines)


def _terminal_rows(study: Study) -> list[list[str]]:
    several = len(study.labels) > 1
    folds = range(study.outer_folds)
    rows = [["region", *(["label"] if several else []), "this study", "paper", "cases", *(f"fold {n}" for n in folds)]]
    labels = (None, *study.labels) if study.many_labels else study.labels
    for label, region in product(labels, study.regions):
        if cases := select(study.cases, region=region, label=label):
            scores = pool(cases)
            rows.append(
                [
                    region,
                    *([label or ALL] if several else []),
                    str(scores.dice or "-"),
                    str(paper_dice(study, region) or "-"),
                    str(scores.cases),
                    *(f"{scores.dice_by_outer[n]:.3f}" if n in scores.dice_by_outer else "-" for n in folds),
                ]
            )
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in padded]


def _cells(scores: Scores) -> dict[str, str]:
    """Give every measure as text of fixed precision, blank where there is none."""
    measures = {
        "dice_median": scores.dice_median,
        "dice_sd_outer": scores.dice_sd_outer,
        "hd95_mm_mean": scores.hd95_mm_mean,
        **_mean_sd_columns("dice_mean", "dice_sd", scores.dice),
        **_mean_sd_columns("volume_bias_ml", "volume_bias_ml_sd", scores.volume_bias_ml),
        **_mean_sd_columns("fat_fraction_bias", "fat_fraction_bias_sd", scores.fat_fraction_bias),
    }
    counts = ("cases", "slices", "subjects", "dice_undefined")
    return {name: _number(value) for name, value in measures.items()} | {n: str(getattr(scores, n)) for n in counts}


def _mean_sd_columns(mean: str, sd: str, value: MeanSD | None) -> dict[str, float | None]:
    return {mean: value.mean if value else None, sd: value.sd if value else None}


def _case_cells(case: Case) -> dict[str, str]:
    values = ((column, getattr(case, column)) for column in COLUMNS)
    return {name: _number(value) if value is None or isinstance(value, float) else str(value) for name, value in values}


def _number(value: float | None) -> str:
    # Adding 0 after rounding turns -0.000000 into 0.000000.
    return "" if value is None else f"{round(value, 6) + 0:.6f}"


def _defined(cases: Iterable[Case], measure: Callable[[Case], float | None]) -> list[float]:
    return [value for case in cases if (value := measure(case)) is not None]


def _mean_sd(values: Iterable[float]) -> MeanSD | None:
    values = list(values)
    if not values:
        return None
    return MeanSD(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _outer(cases: Iterable[Case]) -> list[int]:
    return sorted({case.outer for case in cases})
