"""Test-retest: how much the fat fraction of a subject differs who is scanned again before anything has changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musclesense.errors import ArgumentError, InputError
from musclesense.evaluation.agreement import agreement
from musclesense.evaluation.intervals import Floats, ends, interval_of, sums_by_subject
from musclesense.evaluation.report.written import Table, estimate
from musclesense.evaluation.visits import TITLES, TRUTH, VALUES, WHO, read_visits
from musclesense.storage.paths import require_writable

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

WITHIN_WEEKS = 8.0
_NORMAL = 1.96
_REPEATED: Mapping[str, Callable[[Floats], Floats]] = {
    "difference": lambda total: total[1] / total[0],
    "within_sd": lambda total: np.sqrt(total[2] / total[0]),
    "smallest_change": lambda total: _NORMAL * np.sqrt(2) * np.sqrt(total[2] / total[0]),
    "rms_cv_percent": lambda total: 100 * np.sqrt(total[3] / total[0]),
}
"""From sums over pairs: count, |difference|, variance within the pair, and that over the squared mean."""
_AGREED = ("bias", "lower", "upper", "icc_a1", "icc_c1")
COLUMNS = (
    *("way", "region", "label", "measure", "subjects", "unreadable"),
    *(f"{name}{end}" for name in (*_REPEATED, *_AGREED) for end in ("", "_low", "_high")),
)
SUBJECT_COLUMNS = (
    *("way", "region", "label", "measure", "subject", "group", "session", "session_again", "weeks_apart", "networks"),
    *("mean", "lowest", "highest"),
)


@dataclass(frozen=True, eq=False)
class Retest:
    """Differences between two visits.

    Attributes:
        subjects: Rows of `SUBJECT_COLUMNS`: size of the difference, mean and range over networks.
        rows: Rows of `COLUMNS`, over subjects.
        pairs: A row for each way, region, label and subject: readings of both visits, means over networks.
    """

    subjects: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    pairs: "DataFrame"

    @property
    def tables(self) -> tuple[Table, Table]:
        """Differences of fat fraction by subject, as the paper's Table 1, and what follows from them."""
        return self._by_subject(), self._summary()

    def _by_subject(self) -> Table:
        rows = [row for row in self.subjects if row["measure"] == "fat_fraction"]
        columns = list(dict.fromkeys((row["region"], row["label"], row["way"]) for row in rows))
        several = len({label for _, label, _ in columns}) > 1
        cells = {(row["subject"], row["region"], row["label"], row["way"]): row for row in rows}
        lines = []
        for subject, group in dict.fromkeys((row["subject"], row["group"]) for row in rows):
            own = [cells.get((subject, *column)) for column in columns]
            lines.append((subject, group, *("-" if row is None else _range(row) for row in own)))
        means = [[row["mean"] for row in rows if (row["region"], row["label"], row["way"]) == one] for one in columns]
        lines.append(("mean", "", *(f"{np.mean(own):.2f}" for own in means)))
        titles = [", ".join((region, *([label] if several else []), way)) for region, label, way in columns]
        caption = "Size of the difference in fat fraction between two visits, points: mean (range) over networks"
        return Table(caption, ("Subject", "Group", *titles), tuple(lines))

    def _summary(self) -> Table:
        titles = ("Region", "Label", "Way", "Measure", "Subjects", "Difference", "Within-subject SD")
        more = ("Smallest change", "RMS-CV, %", "Bias", "Lower limit", "Upper limit", "ICC(A,1)", "ICC(C,1)")
        caption = "Test-retest, with 95 % intervals over subjects"
        return Table(caption, (*titles, *more), tuple(_cells(row) for row in self.rows))

    def __str__(self) -> str:
        return "\n".join(f"{table.caption}\n\n{table.text}\n" for table in self.tables)

    def figures(self) -> "dict[str, Figure]":
        """Draw the differences against the means of both visits, with bias and limits of agreement, by region."""
        from musclesense.evaluation.report.differences import draw_differences

        known = self.pairs.dropna(subset=["fat_fraction", "fat_fraction_again"])
        return {
            str(region): draw_differences(
                {
                    str(way): (part.fat_fraction.to_numpy(), part.fat_fraction_again.to_numpy())
                    for way, part in own.groupby("way", sort=False)
                },
                x=f"mean of both visits, {region} (%)",
                y="second - first (points)",
            )
            for region, own in known.groupby("region")
        }

    def save(self, folder: Path) -> Path:
        """Write ``retest_subjects`` and ``retest`` as CSV and LaTeX, a picture of each region as PNG, SVG and PDF."""
        from musclesense.evaluation.report.differences import save_figure

        require_writable(folder)
        self.tables[0].write(folder / "retest_subjects.csv", SUBJECT_COLUMNS, self.subjects)
        self.tables[1].write(folder / "retest.csv", COLUMNS, self.rows)
        for region, figure in self.figures().items():
            save_figure(figure, folder / f"retest_{region}")
        return folder


def retest(folders: Sequence[Path], *, visits: Path | None = None, within: float = WITHIN_WEEKS) -> Retest:
    """Compare visits that are so near to each other that nothing has changed between them.

    Of each subject and region, the first two visits count that are no more than ``within`` weeks apart.

    - ``difference``: mean size of the difference between both visits.
    - ``within_sd``: within-subject standard deviation, the root of the mean variance of pairs. Source: Bland and
      Altman, BMJ 1996;313:744.
    - ``smallest_change``: smallest detectable change, 1.96 times the root of 2 times the within-subject SD. Source: de
      Vet et al., Health and Quality of Life Outcomes 2006;4:54.
    - ``rms_cv_percent``: root mean square of the subjects' coefficients of variation. Source: Glueer et al.,
      Osteoporosis International 1995;5:262-270.
    - ``bias``, limits and ICC: as of `agreement`, second against first visit.

    Args:
        folders: Studies, or results of `segment --cohort`, as of `read_visits`.
        visits: When visits were.
        within: Weeks.

    Raises:
        InputError: As of `read_visits`, or nobody came twice within these weeks.
    """
    if not 0 < within < np.inf:
        raise ArgumentError("{within}: is no time; give weeks, more than 0", within=str(within))
    readings = read_visits(folders, visits)
    pairs = _paired(readings, within)
    if pairs.empty:
        raise InputError(f"{folders[0]}: no subject has two visits within {within:g} weeks; give a longer --within")
    keys = ["way", "region", "label", "subject", "group", "session", "session_again", "weeks_apart"]
    subjects, rows = list[dict[str, Any]](), list[dict[str, Any]]()
    for measure in VALUES:
        apart = pairs.assign(apart=(pairs[f"{measure}_again"] - pairs[measure]).abs())
        for key, part in apart.dropna(subset=["apart"]).groupby(keys, sort=False).apart:
            who = dict(zip(keys, key, strict=True))
            own = {"networks": len(part), "mean": part.mean(), "lowest": part.min(), "highest": part.max()}
            subjects.append({**who, "measure": measure, **own})
    means = pairs.groupby(keys, sort=False)[[f"{name}{end}" for name in VALUES for end in ("", "_again")]].mean()
    means = means.reset_index()
    for (region, label, way), part in means.groupby(["region", "label", "way"], sort=False):
        for measure in VALUES if way != TRUTH else ("fat_fraction",):
            rows.append({"way": way, "region": region, "label": label, "measure": measure, **_repeated(part, measure)})
    return Retest(subjects, rows, means)


def _paired(readings: "DataFrame", within: float) -> "DataFrame":
    """Give a row for each pair of visits, way and network."""
    visits = readings[["subject", "region", "session", "weeks"]].drop_duplicates()
    visits = visits.sort_values(["region", "subject", "weeks", "session"], kind="stable")
    again = visits.groupby(["region", "subject"], sort=False)[["session", "weeks"]].shift(-1)
    near = visits.assign(session_again=again.session, weeks_apart=again.weeks - visits.weeks)
    near = near[near.weeks_apart <= within].drop_duplicates(["region", "subject"]).drop(columns="weeks")
    first = near.merge(readings.drop(columns="weeks"), on=["subject", "region", "session"])
    keys = ["way", "network", *WHO]
    second = readings.rename(columns={name: f"{name}_again" for name in ("session", *VALUES)})
    return first.merge(second.drop(columns="weeks"), on=[*keys, "session_again"])


def _repeated(part: "DataFrame", measure: str) -> dict[str, Any]:
    known = part.dropna(subset=[measure, f"{measure}_again"])
    one, other = known[measure].to_numpy(), known[f"{measure}_again"].to_numpy()
    counts = {"subjects": len(known), "unreadable": len(part) - len(known)}
    subjects = known.subject.tolist()
    within = (other - one) ** 2 / 2
    mean = np.where(one + other != 0, (one + other) / 2, np.nan)
    sums = sums_by_subject([np.ones(len(one)), np.abs(other - one), within, within / mean**2], subjects)
    agreed = agreement(one.tolist(), other.tolist(), subjects)
    found: dict[str, Any] = {}
    for name, function in _REPEATED.items():
        value = float(function(sums.sum(axis=1))) if len(one) else None
        found |= ends(name, value, interval_of(function, sums))
    for name in _AGREED:
        found |= ends(name, agreed[name].value, agreed[name].interval)
    return counts | found


def _range(row: dict[str, Any]) -> str:
    ends = f" ({row['lowest']:.2f} to {row['highest']:.2f})" if row["networks"] > 1 else ""
    return f"{row['mean']:.2f}{ends}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    digits = VALUES[row["measure"]]
    forms = {name: f"{'+' if name in ('bias', 'lower', 'upper') else ''}.{digits}f" for name in (*_REPEATED, *_AGREED)}
    forms |= {"rms_cv_percent": ".1f", "icc_a1": ".3f", "icc_c1": ".3f"}
    shown = (estimate(row, name, form) for name, form in forms.items())
    return (row["region"], row["label"], row["way"], TITLES[row["measure"]], str(row["subjects"]), *shown)
