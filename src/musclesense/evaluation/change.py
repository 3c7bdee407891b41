"""Responsiveness: how fast fat fraction and volume change, and how many patients a trial needs to see it slowed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from musclesense.errors import ArgumentError, InputError
from musclesense.evaluation.agreement import LEAST_SUBJECTS
from musclesense.evaluation.intervals import Floats, ends, interval_of, sums_by_subject
from musclesense.evaluation.report.written import Table, estimate, number
from musclesense.evaluation.visits import TITLES, TRUE, TRUTH, VALUES, read_visits
from musclesense.names import ALL
from musclesense.storage.paths import require_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

APART_WEEKS = 26.0
WEEKS_A_YEAR = 365.25 / 7
EFFECT, POWER, ALPHA = 0.5, 0.8, 0.05
"""A trial that is to see the change halved, in 80 of 100 such trials, two-sided at 5 %."""
MOST_PATIENTS = 100_000
PUBLISHED = (
    "Published: calf of CMT1A, 20 patients, 12.5 months: +1.15 (SD 1.77) points, SRM 0.65 with masks checked by hand; "
    "+1.15 (SD 1.68), SRM 0.69 without (J Neurol Neurosurg Psychiatry 2024;95:500-503)"
)
COLUMNS = (
    *("way", "region", "label", "group", "measure", "subjects", "unreadable"),
    *("change", "change_low", "change_high", "sd", "srm", "srm_low", "srm_high", "patients_per_arm"),
    *("error_sd", "error_share"),
)
SUBJECT_COLUMNS = ("way", "region", "label", "measure", "subject", "group", "visits", "years", "first", "change")
_KEYS = ["way", "region", "label", "subject", "group"]


@dataclass(frozen=True, eq=False)
class Change:
    """Change a year.

    Attributes:
        subjects: Rows of `SUBJECT_COLUMNS`.
        rows: Rows of `COLUMNS`, over subjects.
    """

    subjects: list[dict[str, Any]]
    rows: list[dict[str, Any]]

    @property
    def table(self) -> Table:
        """The rows for people."""
        titles = ("Region", "Label", "Group", "Way", "Measure a year", "Subjects", "Change", "SD", "SRM")
        more = ("Patients per arm", "SD of the error", "Share of the variance")
        return Table(
            "Change a year, with 95 % intervals over subjects", (*titles, *more), tuple(map(_cells, self.rows))
        )

    def __str__(self) -> str:
        shown = any(row["region"] == "calf" for row in self.rows)
        return "\n".join([self.table.caption, "", self.table.text, *(["", PUBLISHED] if shown else [])])

    def figure(self) -> "Figure":
        """Draw the standardised response means of fat fraction with their intervals."""
        from musclesense.evaluation.report.differences import draw_forest

        rows = [row for row in self.rows if row["measure"] == "fat_fraction" and row["srm"] is not None]
        return draw_forest(
            [", ".join((row["region"], row["label"], row["group"] or "no group", row["way"])) for row in rows],
            [(row["srm"], row["srm_low"], row["srm_high"]) for row in rows],
            title="standardised response mean of fat fraction, a year",
        )

    def save(self, folder: Path) -> Path:
        """Write ``change`` as CSV, LaTeX, PNG, SVG and PDF, and ``change_subjects.csv``."""
        from musclesense.evaluation.report.differences import save_figure
        from musclesense.evaluation.report.written import write_numbers

        require_writable(folder)
        self.table.write(folder / "change.csv", COLUMNS, self.rows)
        write_numbers(folder / "change_subjects.csv", SUBJECT_COLUMNS, self.subjects)
        save_figure(self.figure(), folder / "change")
        return folder


def change(folders: Sequence[Path], *, visits: Path | None = None, apart: float = APART_WEEKS) -> Change:
    """Measure the change a year of each subject, and how well groups of subjects show it.

    A subject's change is the slope of the line of least squares through all visits, if they span ``apart`` weeks or
    more. Readings of several networks are averaged first.

    - ``change``, ``sd``: mean and standard deviation (n - 1) over subjects.
    - ``srm``: standardised response mean, change by SD. Source: Liang et al., Medical Care 1990;28:632-642.
    - ``patients_per_arm``: `patients_per_arm` to see half the change.
    - ``error_sd``: SD over subjects of the change minus that by the true mask (and map, where there is one);
      ``error_share``: its square by that of ``sd``, the part of the variance that is the method's.

    Args:
        folders: Studies, or results of `segment --cohort`, as of `read_visits`.
        visits: When visits were.
        apart: Weeks between the first and the last visit, at least.

    Raises:
        InputError: As of `read_visits`, or nobody came again so late.
    """
    if not 0 < apart < np.inf:
        raise ArgumentError("{apart}: is no time; give weeks, more than 0", apart=str(apart))
    readings = read_visits(folders, visits)
    spans = readings.groupby(["subject", "region"]).weeks
    late = readings[spans.transform("max") - spans.transform("min") >= apart]
    if late.empty:
        raise InputError(f"{folders[0]}: no subject has visits {apart:g} weeks apart; give a shorter --apart")
    by_visit = late.groupby([*_KEYS, "session", "weeks"], sort=False)[[*VALUES]].mean().reset_index()
    subjects = [row for measure in VALUES for row in _slopes(by_visit, measure, apart)]
    return Change(subjects, [*_summaries(subjects)])


def patients_per_arm(srm: float, *, effect: float = EFFECT, power: float = POWER, alpha: float = ALPHA) -> int | None:
    """Give how many patients each arm of a trial needs to see a change slowed by a part of it.

    Of the two-sided t test of two arms of the same size, whose changes have the same standard deviation. None where it
    would be more than 100,000.

    >>> patients_per_arm(1.0), patients_per_arm(0.65)
    (64, 150)

    Source: Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition 1988, chapter 2.

    Args:
        srm: Mean change by its standard deviation, without treatment.
        effect: Part of the change that the treatment takes away.
        power: Probability to see it.
        alpha: Of the test.
    """
    size = abs(srm) * effect
    normal = stats.norm.isf(alpha / 2) + stats.norm.isf(1 - power)
    if not size or (least := 2 * (normal / size) ** 2) > MOST_PATIENTS:
        return None
    patients: int = max(2, ceil(least) - 1)
    while True:
        free, shift = 2 * patients - 2, size * np.sqrt(patients / 2)
        bound = stats.t.isf(alpha / 2, free)
        if stats.nct.sf(bound, free, shift) + stats.nct.cdf(-bound, free, shift) >= power:
            return patients
        patients += 1


def _slopes(by_visit: "DataFrame", measure: str, apart: float) -> Iterator[dict[str, Any]]:
    for key, part in by_visit.groupby(_KEYS, sort=False):
        if key[0] == TRUTH and measure != "fat_fraction":
            continue
        known = part.dropna(subset=[measure]).sort_values("weeks")
        years = known.weeks.to_numpy() / WEEKS_A_YEAR
        span = float(np.ptp(years)) if len(known) else 0.0
        slope = stats.linregress(years, known[measure]).slope if span * WEEKS_A_YEAR >= apart - 1e-9 else None
        own = {
            "measure": measure,
            "visits": len(known),
            "years": span,
            "change": None if slope is None else float(slope),
        }
        yield {
            **dict(zip(_KEYS, key, strict=True)),
            **own,
            "first": float(known[measure].iloc[0]) if len(known) else None,
        }


def _summaries(subjects: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Sum up the subjects of each region, label, group, way and measure; of all groups first."""
    groups = [ALL, *sorted({row["group"] for row in subjects})]
    cells = list(dict.fromkeys((row["region"], row["label"], row["measure"], row["way"]) for row in subjects))
    for group in groups if len(groups) > 2 else [ALL]:
        for cell in cells:
            own = [row for row in subjects if _cell(row) == cell and group in (ALL, row["group"])]
            if own:
                truth = {row["subject"]: row["change"] for row in subjects if _cell(row) == _truth(cell, cells)}
                region, label, measure, way = cell
                where = {"way": way, "region": region, "label": label, "group": group, "measure": measure}
                yield where | _summary(own, {} if _truth(cell, cells) == cell else truth)


def _cell(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["region"], row["label"], row["measure"], row["way"]


def _truth(cell: tuple[str, str, str, str], cells: Sequence[tuple[str, str, str, str]]) -> tuple[str, str, str, str]:
    """Give where the true change stands: on the true map where there is one."""
    best = (*cell[:3], TRUTH)
    return best if best in cells else (*cell[:3], TRUE)


def _summary(rows: Sequence[dict[str, Any]], truth: dict[str, float | None]) -> dict[str, Any]:
    known = [row for row in rows if row["change"] is not None]
    changes = np.array([row["change"] for row in known], np.float64)
    errors = [row["change"] - true for row in known if (true := truth.get(row["subject"])) is not None]
    sums = sums_by_subject([np.ones(len(changes)), changes, changes**2], [row["subject"] for row in known])
    sd = float(changes.std(ddof=1)) if len(changes) > 1 else None
    srm = float(changes.mean()) / sd if sd else None
    error_sd = float(np.std(errors, ddof=1)) if len(errors) > 1 else None
    return {
        "subjects": len(known),
        "unreadable": len(rows) - len(known),
        **ends(
            "change",
            float(changes.mean()) if len(known) else None,
            interval_of(lambda total: total[1] / total[0], sums),
        ),
        "sd": sd,
        **ends("srm", srm, interval_of(_srm, sums) if srm is not None and len(known) >= LEAST_SUBJECTS else None),
        "patients_per_arm": None if srm is None else patients_per_arm(srm),
        "error_sd": error_sd,
        "error_share": error_sd**2 / sd**2 if error_sd is not None and sd else None,
    }


def _srm(total: Floats) -> Floats:
    n, one, squares = total
    return np.asarray(one / n / np.sqrt((squares - one**2 / n) / (n - 1)))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    digits = VALUES[row["measure"]]
    shown = (row["region"], row["label"], row["group"] or "no group", row["way"], TITLES[row["measure"]])
    return (
        *(*shown, str(row["subjects"]), estimate(row, "change", f"+.{digits}f"), number(row["sd"], f".{digits}f")),
        estimate(row, "srm", ".2f"),
        number(row["patients_per_arm"], "d"),
        number(row["error_sd"], f".{digits}f"),
        number(row["error_share"], ".0%"),
    )
