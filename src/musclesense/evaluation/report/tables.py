"""The aggregated scores of a study: the tables on disk and the one in the terminal.

The same scores give the same bytes: nothing here depends on the clock or on the order in which runs ended.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from musclesense.evaluation.pooling import MeanSD, Scores, pool, select
from musclesense.metrics.case import COLUMNS, Case
from musclesense.names import ALL
from musclesense.storage.records import write_csv
from musclesense.studies.layout import ReportFolder
from musclesense.studies.reading import read_study
from musclesense.studies.study import RunStatus, Study

PHANTOM_NOTICE = "Phantom data: simulated scans, not comparable with patients."


PAPER_DICE: Mapping[str, MeanSD] = {"calf": MeanSD(0.950, 0.025), "thigh": MeanSD(0.942, 0.041)}
"""Dice of the whole-muscle mask in patients and controls (Kanber et al., Musclesense), by region."""


def paper_dice(study: Study, region: str) -> MeanSD | None:
    """Give the paper's Dice where the study measured the same: one whole-muscle label."""
    return PAPER_DICE.get(region) if len(study.labels) == 1 else None


REGIONS, LABELS, GROUPS = "regions", "labels", "groups"
"""Tables of scores on the page."""


@dataclass(frozen=True)
class Measure:
    """A column of scores, in CSV and on the page."""

    name: str  # in ``summary.csv``, and in ``nested_cv.csv`` where that has it
    of: str = ""  # the attribute of `Scores`, where it is called otherwise
    sd: bool = False  # whether it is the standard deviation, of a mean that has one
    by_run: bool = True  # whether ``nested_cv.csv`` has it
    title: str = ""  # on the page
    form: str = "d"  # how the page writes the number
    on: Collection[str] = ()  # tables of the page that show it

    def shown(self, scores: Scores) -> str:
        """Write it for the page, a mean with its standard deviation."""
        value = getattr(scores, self.of or self.name)
        if isinstance(value, MeanSD):
            return f"{value.mean:{self.form}}" + ("" if value.sd is None else f" ({value.sd:.2f})")
        return "-" if value is None else format(value, self.form)

    def cell(self, scores: Scores) -> str:
        """Write it for a table on disk, of a mean with its standard deviation one of the two."""
        value = getattr(scores, self.of or self.name)
        if isinstance(value, MeanSD):
            value = value.sd if self.sd else value.mean
        return _cell(value)


_ALL_TABLES = (REGIONS, LABELS, GROUPS)
MEASURES = (
    Measure("subjects", by_run=False, title="Subjects", on=(REGIONS, GROUPS)),
    Measure("slices", by_run=False),
    Measure("cases", title="Cases", on=_ALL_TABLES),
    Measure("dice_mean", of="dice"),
    Measure("dice_sd", of="dice", sd=True),
    Measure("dice_median", by_run=False, title="Median", form=".3f", on=_ALL_TABLES),
    Measure("dice_sd_outer", by_run=False, title="SD between outer folds", form=".3f", on=(REGIONS,)),
    Measure("dice_undefined", title="Not counted", on=(REGIONS, LABELS)),
    Measure("hd95_mm_mean", title="HD95, mm", form=".1f", on=_ALL_TABLES),
    Measure("volume_bias_ml"),
    Measure("volume_bias_ml_sd", of="volume_bias_ml", sd=True, by_run=False),
    Measure("fat_fraction_bias", title="Fat fraction bias (SD), points", form="+.2f", on=_ALL_TABLES),
    Measure("fat_fraction_bias_sd", of="fat_fraction_bias", sd=True, by_run=False),
)
"""Every column of scores, in the order of the tables."""

NESTED_CV_COLUMNS = ("outer", "inner", "region", "label", *(measure.name for measure in MEASURES if measure.by_run))
SUMMARY_COLUMNS = ("region", "group", "label", *(measure.name for measure in MEASURES))


def nested_cv_rows(study: Study, labels: Sequence[str | None]) -> list[dict[str, str]]:
    """Give a row for each finished run, label (None: all together) and region; the region ``all`` comes last."""
    return [
        {"outer": str(run.outer), "inner": str(run.inner), "region": region, "label": label or ALL, **_cells(cases)}
        for run in study.with_status(RunStatus.FINISHED)
        for label, region in product(labels, (*study.regions, ALL))
        if (cases := select(run.cases, region=region, label=label))
    ]


def summary_rows(study: Study) -> list[dict[str, str]]:
    """Give a row for each label, region and group over all finished runs; the group ``all`` comes first."""
    return [
        {"region": region, "group": ALL if group is None else group, "label": label, **_cells(cases)}
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


def unknown_columns(study: Study) -> list[str]:
    """Say which measures finished runs were made without, a line each."""
    finished = len(study.with_status(RunStatus.FINISHED))
    return [f"{COLUMNS[name].meaning} ({name}) in {count} of {finished} runs" for name, count in study.unknown.items()]


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
    if unknown := unknown_columns(study):
        lines += ["", "Unknown, since an earlier release made the run:", *(f"  {line}" for line in unknown)]
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
            by_fold = [f"{scores.dice_by_outer[n]:.3f}" if n in scores.dice_by_outer else "-" for n in folds]
            measured = [scores.dice or "-", paper_dice(study, region) or "-", scores.cases]
            rows.append([region, *([label or ALL] if several else []), *map(str, measured), *by_fold])
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [line.rstrip() for line in padded]


def _cells(cases: Sequence[Case]) -> dict[str, str]:
    scores = pool(cases)
    return {measure.name: measure.cell(scores) for measure in MEASURES}


def _case_cells(case: Case) -> dict[str, str]:
    return {name: value if isinstance(value, str) else _cell(value) for name, value in vars(case).items()}


def _cell(value: float | None) -> str:
    """Give a number as text: fractions at fixed precision, blank where there is none."""
    if value is None or isinstance(value, int):
        return "" if value is None else str(value)
    return f"{round(value, 6) + 0:.6f}"  # adding 0 after rounding turns -0.000000 into 0.000000
