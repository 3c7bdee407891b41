"""The aggregated scores of a study: the tables on disk and the one in the terminal.

The same scores give the same bytes: nothing here depends on the clock or on the order in which runs ended.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from operator import attrgetter
from pathlib import Path
from statistics import fmean

from musclesense.evaluation.doubts import doubts
from musclesense.evaluation.pooling import MeanSD, Scores, pool, select
from musclesense.evaluation.report.acquisitions import statistics_table
from musclesense.evaluation.report.written import aligned, written
from musclesense.evaluation.statistics import acquisitions, statistics
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


FAT_FRACTIONS = tuple(f"{kind}fat_fraction_{mask}_mask" for kind in ("", "measured_") for mask in ("true", "predicted"))
_MOST_WORST = 10
_IN_THE_TERMINAL = 8
"""Columns of the table of acquisitions; the page has all."""
REGIONS, LABELS, GROUPS, FAILURES = "regions", "labels", "groups", "failures"
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
    without: str = ""  # the attribute of `Scores` that counts the cases left out of a mean

    def shown(self, scores: Scores) -> str:
        """Write it for the page, a mean with its standard deviation, and over how many cases where not over all."""
        value = getattr(scores, self.of or self.name)
        if value is None:
            return "-"
        left_out = getattr(scores, self.without) if self.without else 0
        over = f", n = {scores.cases - left_out}" if left_out else ""
        if isinstance(value, MeanSD):
            return f"{value.mean:{self.form}}" + ("" if value.sd is None else f" ({value.sd:.2f})") + over
        return format(value, self.form) + over

    def cell(self, scores: Scores) -> str:
        """Write it for a table on disk, of a mean with its standard deviation one of the two."""
        value = getattr(scores, self.of or self.name)
        if isinstance(value, MeanSD):
            value = value.sd if self.sd else value.mean
        return written(value)


_ALL_TABLES = (REGIONS, LABELS, GROUPS)
MEASURES = (
    Measure("subjects", by_run=False, title="Subjects", on=(REGIONS, GROUPS)),
    Measure("slices", by_run=False),
    Measure("cases", title="Cases", on=(*_ALL_TABLES, FAILURES)),
    Measure("dice_mean", of="dice"),
    Measure("dice_sd", of="dice", sd=True),
    Measure("dice_median", by_run=False, title="Median", form=".3f", on=_ALL_TABLES),
    Measure("dice_sd_outer", by_run=False, title="SD between outer folds", form=".3f", on=(REGIONS,)),
    Measure("dice_undefined", title="Not counted", on=(REGIONS, LABELS)),
    Measure("hd95_mm_mean", title="HD95, mm", form=".1f", on=(*_ALL_TABLES, FAILURES), without="hd95_undefined"),
    Measure("volume_bias_ml"),
    Measure("volume_bias_ml_sd", of="volume_bias_ml", sd=True, by_run=False),
    Measure(
        "fat_fraction_bias",
        title="Fat fraction bias (SD), points",
        form="+.2f",
        on=_ALL_TABLES,
        without="fat_fraction_undefined",
    ),
    Measure("fat_fraction_bias_sd", of="fat_fraction_bias", sd=True, by_run=False),
    Measure("hd95_undefined"),
    Measure("fat_fraction_undefined"),
    Measure("both_empty", title="Both empty", on=(FAILURES,)),
    Measure("prediction_empty", title="Prediction empty", on=(LABELS, GROUPS, FAILURES)),
    Measure("truth_empty", title="Truth empty", on=(FAILURES,)),
    Measure("hd95_penalised_mm_mean", title="HD95 penalised, mm", form=".1f", on=(FAILURES,)),
    Measure("measured_fat_fraction_bias"),
    Measure("measured_fat_fraction_bias_sd", of="measured_fat_fraction_bias", sd=True, by_run=False),
    Measure("voxels_true_min", title="Smallest truth, voxels", on=(FAILURES,)),
    Measure("runs", by_run=False),
    Measure(
        "oracle_dice_mean", of="oracle_dice", title="Oracle Dice: best threshold, no score", form=".3f", on=(REGIONS,)
    ),
)
"""Every column of scores, in the order of the tables."""

NESTED_CV_COLUMNS = ("outer", "inner", "region", "label", *(measure.name for measure in MEASURES if measure.by_run))
SUMMARY_COLUMNS = (
    *("region", "group", "label", *(measure.name for measure in MEASURES)),
    *("runs_planned", "runs_missing"),
)


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
    runs = {"runs_planned": str(len(study.runs)), "runs_missing": " ".join(_unfinished(study))}
    return [
        {"region": region, "group": ALL if group is None else group, "label": label, **_cells(cases), **runs}
        for label, region, group in product(study.labels, (*study.regions, ALL), (None, *study.groups))
        if (cases := select(study.cases, region=region, group=group, label=label))
    ]


def write_tables(study: Study, folder: ReportFolder) -> None:
    """Write ``nested_cv.csv``, ``summary.csv`` and ``cases.csv`` of a study into a folder, each atomically."""
    for path, columns, rows in (
        (folder.nested_cv, NESTED_CV_COLUMNS, nested_cv_rows(study, study.labels)),
        (folder.summary, SUMMARY_COLUMNS, summary_rows(study)),
    ):
        write_csv(path, columns, [{column: row[column] for column in columns} for row in rows])
    write_csv(folder.cases, tuple(COLUMNS), [vars(case) for case in study.cases])


def unknown_columns(study: Study) -> list[str]:
    """Say which measures finished runs were made without, a line each."""
    finished = len(study.with_status(RunStatus.FINISHED))
    return [f"{COLUMNS[name].meaning} ({name}) in {count} of {finished} runs" for name, count in study.unknown.items()]


def failures(study: Study) -> list[str]:
    """Say which cases failed, and which means are without them, a line each."""
    cases, scores = study.cases, pool(study.cases)
    lines = [
        f"{count} of {scores.cases} cases: {what}"
        for count, what in (
            (scores.prediction_empty, "nothing predicted, though the truth is not empty (Dice 0)"),
            (scores.truth_empty, "something predicted, though the truth is empty (Dice 0)"),
            (scores.both_empty, "truth and prediction both empty (no Dice, not counted)"),
        )
        if count
    ]
    if scores.hd95_mm_mean is not None and scores.hd95_undefined:
        penalised = scores.hd95_penalised_mm_mean
        instead = "" if penalised is None else f", {penalised:.1f} mm with the slice's diagonal for one empty mask"
        over = f"{scores.cases - scores.hd95_undefined} cases"
        lines.append(f"HD95: {scores.hd95_mm_mean:.1f} mm over {over}{instead}")
    if scores.fat_fraction_bias is not None and scores.fat_fraction_undefined:
        lines.append(f"Fat fraction bias: over {scores.cases - scores.fat_fraction_undefined} cases")
    if sizes := sorted(case.voxels_true for case in cases if case.dice == 0 and case.voxels_true):
        lines.append(f"Dice 0: true masks of {sizes[0]} to {sizes[-1]} voxels")
    return lines


def measured_fat_fractions(study: Study) -> list[dict[str, str]]:
    """Give a row for each region of mean fat fractions, as given and of fat and water, over cases that have all.

    There is none where the given ones are those of fat and water.
    """
    rows = []
    for region in study.regions:
        known = [
            values
            for case in select(study.cases, region=region)
            if None not in (values := tuple(getattr(case, name) for name in FAT_FRACTIONS))
        ]
        if any(given != measured for given, _, measured, _ in known):
            means = (f"{fmean(values):.2f}" for values in zip(*known, strict=True))
            rows.append({"region": region, "cases": str(len(known)), **dict(zip(FAT_FRACTIONS, means, strict=True))})
    return rows


def worst_cases(study: Study) -> list[Case]:
    """Give the cases of lowest Dice, the worst first."""
    scored = [case for case in study.cases if case.dice is not None]
    return sorted(scored, key=attrgetter("dice"))[:_MOST_WORST]


def _unfinished(study: Study) -> list[str]:
    return [f"{run.outer}-{run.inner}" for run in study.runs if run.status is not RunStatus.FINISHED]


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
    lines += aligned(_terminal_rows(study))
    described = statistics_table(statistics(acquisitions(study), (ALL,)), study).first(_IN_THE_TERMINAL)
    lines += ["", described.caption, "", described.text]
    if len(finished) < len(study.runs):
        lines += ["", f"Means are over {len(finished)} of {len(study.runs)} runs."]
    if failed := failures(study):
        lines += ["", *failed]
    if doubtful := doubts(study):
        lines += ["", "Means are in doubt:", *(f"  {line}" for line in doubtful)]
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


def _cells(cases: Sequence[Case]) -> dict[str, str]:
    scores = pool(cases)
    return {measure.name: measure.cell(scores) for measure in MEASURES}
