"""Studies compared in pairs: the same acquisitions, tested by networks of the same folds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from musclesense.cohort.folds import NestedFolds
from musclesense.errors import ArgumentError, InputError
from musclesense.evaluation.acquisitions import case_frame
from musclesense.evaluation.intervals import Floats, ends, interval_of, sums_by_subject
from musclesense.evaluation.report.written import Table, estimate, number
from musclesense.evaluation.statistics import MEASURES, Measure
from musclesense.messages import log
from musclesense.names import ALL
from musclesense.storage.paths import require_writable
from musclesense.studies.identity import identity
from musclesense.studies.reading import read_study
from musclesense.studies.study import RunStatus, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

DRAWS = 10_000
CERTAIN = 90.0
"""Level of the interval that lies within the margin of what is equivalent: two one-sided tests at 5 %."""
COLUMNS = (
    *("study", "reference", "region", "label", "measure", "subjects", "acquisitions", "values", "undefined"),
    *("mean_reference", "mean", "difference", "difference_low", "difference_high", "higher", "lower"),
    *("p", "p_holm", "equivalent"),
)
PAIRED = {
    **{name: MEASURES[name] for name in ("dice", "hd95_mm", "asd_mm")},
    "volume_off_percent": Measure("Volume off, %", 1),
    "fat_fraction_off": Measure("Fat fraction off, points", 2),
}
"""What is compared: scores and distances, and errors by their size."""
_ONE = ["outer", "inner", "line", "slice", "label"]
_GIVE = "give studies of one table, with the same folds.seed and number of folds"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Studies beside the first of them.

    Attributes:
        studies: Their names, the reference first.
        rows: A row of `COLUMNS` for each other study, region, label and measure.
        margin: Of Dice, within which two studies count as equivalent; None where that was not asked for.
        settings: Settings in which they differ, by dotted key, and the value of each study.
    """

    studies: tuple[str, ...]
    rows: list[dict[str, Any]]
    margin: float | None
    settings: dict[str, tuple[Any, ...]]

    @cached_property
    def frame(self) -> "DataFrame":
        """The rows as a pandas table."""
        from pandas import DataFrame  # takes long to import

        return DataFrame(self.rows, columns=list(COLUMNS))

    @property
    def table(self) -> Table:
        """The rows for people."""
        where = ("Study", "Region", "Label", "Measure", "Subjects", "Acquisitions")
        asked = () if self.margin is None else (f"Within {self.margin:g}",)
        caption = f"Differences to {self.studies[0]} in pairs, with 95 % intervals over subjects"
        rows = tuple(self._cells(row) for row in self.rows)
        return Table(caption, (*where, "Reference", "Study's", "Difference", "p", "p (Holm)", *asked), rows)

    def _cells(self, row: dict[str, Any]) -> tuple[str, ...]:
        digits = PAIRED[row["measure"]].digits + (row["measure"] == "dice")
        means = (number(row[name], f".{digits}f") for name in ("mean_reference", "mean"))
        shown = [row["study"], row["region"], row["label"], PAIRED[row["measure"]].title]
        counts = (str(row[name]) for name in ("subjects", "acquisitions"))
        apart = estimate(row, "difference", f"+.{digits}f", without="unknown")
        tests = (number(row[name], ".4f") for name in ("p", "p_holm"))
        asked = () if self.margin is None else (row["equivalent"] or "-",)
        return (*shown, *counts, *means, apart, *tests, *asked)

    def __str__(self) -> str:
        lines = [f"Reference: {self.studies[0]}", "", self.table.caption, "", self.table.text]
        lines += ["", "Settings that differ:"] if self.settings else []
        lines += [f"  {key}: {' | '.join(map(str, values))}" for key, values in self.settings.items()]
        return "\n".join(lines)

    def figure(self) -> "Figure":
        """Draw the differences of Dice with their intervals."""
        from musclesense.evaluation.report.differences import draw_forest
        from musclesense.evaluation.report.lettering import apart

        rows = [row for row in self.rows if row["measure"] == "dice" and row["difference"] is not None]
        short = dict(zip(self.studies, apart(self.studies), strict=True))
        names = [", ".join(dict.fromkeys((short[row["study"]], row["region"], row["label"]))) for row in rows]
        return draw_forest(
            [name.removesuffix(f", {ALL}") for name in names],
            [(row["difference"], row["difference_low"], row["difference_high"]) for row in rows],
            title=f"difference of Dice to {short[self.studies[0]]}",
            margin=self.margin,
        )

    def save(self, folder: Path) -> Path:
        """Write ``compare`` as CSV, LaTeX, PNG, SVG and PDF."""
        from musclesense.evaluation.report.differences import save_figure

        require_writable(folder)
        self.table.write(folder / "compare.csv", COLUMNS, self.rows)
        save_figure(self.figure(), folder / "compare")
        return folder


def compare(folders: Sequence[Path], *, margin: float | None = None) -> Comparison:
    """Compare studies with the first of them, case by case.

    The difference of each acquisition and label is the mean over its slices and over the networks that tested it in
    both studies. Its mean over acquisitions has an interval by the bootstrap over subjects, and a p value by exchanging
    the two studies' values of subjects at random (exact for up to 13 subjects). Distances to an empty mask are the
    slice's diagonal, so that missed cases count.

    Source: Holm, Scandinavian Journal of Statistics 1979;6:65-70, over all rows of a measure; Schuirmann, Journal of
    Pharmacokinetics and Biopharmaceutics 1987;15:657-680, equivalence by two one-sided tests: the 90 % interval lies
    within the margin.

    Args:
        folders: Of two studies or more, the reference first.
        margin: Of Dice, within which a study counts as equivalent to the reference.

    Raises:
        InputError: One is no study, they have other folds, test other cases, or one has no region or label in common
            with the first.
    """
    if len(folders) < 2:
        raise InputError("compare: one study alone; give two or more")
    if margin is not None and not 0 < margin <= 1:
        raise ArgumentError("{margin}: is no margin of Dice; give more than 0 and up to 1", margin=str(margin))
    studies = [read_study(folder) for folder in folders]
    for other in studies[1:]:
        _require_same_folds(studies[0], other)
    pairs = _common_cases(studies)
    names = _names(studies)
    rows = [
        {"study": name, "reference": names[0], **row}
        for name, (reference, other) in zip(names[1:], pairs, strict=True)
        for row in _rows(reference, other, margin)
    ]
    for measure in PAIRED:
        own = [row for row in rows if row["measure"] == measure]
        for row, corrected in zip(own, holm([row["p"] for row in own]), strict=True):
            row["p_holm"] = corrected
    return Comparison(names, rows, margin, _settings(studies))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Correct p values for how many they are; None stays and is not counted.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]

    Source: Holm, Scandinavian Journal of Statistics 1979;6:65-70.
    """
    order = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    largest = 0.0
    for rank, (value, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * value))
        corrected[place] = largest
    return corrected


def paired_p(differences: Sequence[float], subjects: Sequence[str]) -> float | None:
    """Give the p value of a mean difference over cases: which of the two is which is drawn anew for each subject.

    All ways are tried where they are fewer than `DRAWS`. None for fewer than two subjects.
    """
    (sums,) = sums_by_subject([differences], subjects)
    if len(sums) < 2:
        return None
    result = stats.permutation_test(
        (sums, np.zeros_like(sums)),
        lambda one, other, axis: (one - other).sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=DRAWS,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def _rows(reference: "DataFrame", other: "DataFrame", margin: float | None) -> Iterator[dict[str, Any]]:
    """Compare two tables of the same cases in the same order."""
    labels = (ALL, *(reference.label.unique() if reference.label.nunique() > 1 else ()))
    for region in sorted(reference.region.unique()):
        for label in labels:
            chosen = (reference.region == region) & ((label == ALL) | (reference.label == label))
            if chosen.any():
                for name in [name for name in PAIRED if name in reference]:
                    row = _compared(reference[chosen], other[chosen], name, margin)
                    yield {"region": region, "label": label, "measure": name, **row}


def _compared(reference: "DataFrame", other: "DataFrame", name: str, margin: float | None) -> dict[str, Any]:
    known = reference[name].notna() & other[name].notna()
    both = reference.loc[known, ["line", "subject", "label"]].assign(one=reference[name], other=other[name])
    means = both.groupby(["line", "label", "subject"], sort=False).mean().reset_index()
    apart, subjects = (means.other - means.one).to_numpy(), means.subject.tolist()
    sums = sums_by_subject([np.ones(len(means)), apart], subjects)
    sure = interval_of(_mean, sums, level=CERTAIN, draws=DRAWS) if margin is not None and name == "dice" else None
    equivalent = None if sure is None or margin is None else ("yes" if -margin < sure[0] and sure[1] < margin else "no")
    return {
        "subjects": means.subject.nunique(),
        "acquisitions": means.line.nunique(),
        "values": len(means),
        "undefined": int((~known).sum()),
        "mean_reference": float(means.one.mean()) if len(means) else None,
        "mean": float(means.other.mean()) if len(means) else None,
        **ends("difference", float(apart.mean()) if len(means) else None, interval_of(_mean, sums, draws=DRAWS)),
        "higher": int((apart > 0).sum()),
        "lower": int((apart < 0).sum()),
        "p": paired_p(apart.tolist(), subjects),
        "p_holm": None,
        "equivalent": equivalent,
    }


def _mean(total: Floats) -> Floats:
    return np.asarray(total[1] / total[0])


def _require_same_folds(reference: Study, other: Study) -> None:
    """Refuse a study in which a subject of both stands in another fold, and name the first."""
    one, two = (NestedFolds.load(study.folder.folds) for study in (reference, other))
    counts = [(len(folds.outer), max(map(len, folds.inner))) for folds in (one, two)]
    if counts[0] != counts[1]:
        there, here = (f"{outer} x {inner}" for outer, inner in counts)
        raise InputError(f"{other.folder.folds}: {here} folds, and {there} in {reference.folder.folds}; {_GIVE}")
    places, others = _places(one), _places(two)
    for subject in sorted(places.keys() & others.keys()):
        for kind, there, here in zip(("tests", "validates on"), places[subject], others[subject], strict=True):
            if there != here:
                said = f"{kind} {subject!r} in fold {here}, and in {there} in {reference.folder.folds}"
                raise InputError(f"{other.folder.folds}: {said}; {_GIVE}")


def _places(folds: NestedFolds) -> dict[str, tuple[str, str]]:
    """Give for each subject the outer fold that tests it, and the inner folds that validate on it, outer-inner."""
    validated = dict[str, list[str]]()
    for outer, own in enumerate(folds.inner):
        for inner, subjects in enumerate(own):
            for subject in subjects:
                validated.setdefault(subject, []).append(f"{outer}-{inner}")
    tested = {subject: str(outer) for outer, subjects in enumerate(folds.outer) for subject in subjects}
    return {subject: (place, " ".join(validated.get(subject, []))) for subject, place in tested.items()}


def _common_cases(studies: Sequence[Study]) -> list[tuple["DataFrame", "DataFrame"]]:
    """Give the cases of the first study and of each other one, of the runs that all have, in one order.

    Raises:
        InputError: There are none, or they are of other slices or other true masks.
    """
    runs = [{(run.outer, run.inner) for run in study.with_status(RunStatus.FINISHED)} for study in studies]
    shared = set.intersection(*runs)
    for study, own in zip(studies, runs, strict=True):
        if not shared:
            raise InputError(f"{study.folder.path}: no finished run is in all studies; train the same folds")
        if left := len(own - shared):
            log.warning(f"{study.folder.path}: {left} of {len(own)} finished runs are left out, as others lack them")
    reference, *others = [
        case_frame(case for case in study.cases if (case.outer, case.inner) in shared) for study in studies
    ]
    return [_pair(studies[0], reference, *other) for other in zip(studies[1:], others, strict=True)]


def _pair(one: Study, reference: "DataFrame", other: Study, frame: "DataFrame") -> tuple["DataFrame", "DataFrame"]:
    """Give the cases of the regions and labels that two studies have; without a common label all of each as one."""
    measured = _measured
    for name in ("region", "label"):
        common = {*getattr(one, f"{name}s")} & {*getattr(other, f"{name}s")}
        if common:
            reference, frame = (cases[cases[name].isin(common)] for cases in (reference, frame))
        elif name == "label" and not (reference.whole_dice.isna().all() or frame.whole_dice.isna().all()):
            log.info(f"{other.folder.path}: has other labels than {one.folder.path}; all of each are taken as one mask")
            measured = _as_one
        else:
            raise InputError(
                f"{other.folder.path}: has no {name} in common with {one.folder.path}; give studies that have"
            )
    reference, frame = (
        cases.set_index(_ONE, drop=False).sort_index() for cases in (measured(reference), measured(frame))
    )
    _require_same_cases(one, reference, other, frame)
    return reference.reset_index(drop=True), frame.reset_index(drop=True)


def _require_same_cases(one: Study, reference: "DataFrame", study: Study, frame: "DataFrame") -> None:
    for lacking, there, having in ((study, reference, one), (one, frame, study)):
        own = frame if lacking is study else reference
        if len(missing := there.index.difference(own.index)):
            outer, inner, line, number_, label = missing[0]
            who = f"subject {there.loc[missing[0], 'subject']!r}, line {line}, slice {number_}, {label}"
            more = f" and {len(missing) - 1} more cases" if len(missing) > 1 else ""
            where = f"{lacking.folder.run(outer, inner).cases}: lacks {who}{more}, which"
            raise InputError(f"{where} {having.folder.path} has; {_GIVE}")
    for name in ("subject", "session", "true"):
        if len(unlike := frame.index[(frame[name] != reference[name]).to_numpy()]):
            outer, inner, line, number_, label = unlike[0]
            there, here = (table.loc[unlike[0], name] for table in (reference, frame))
            what = "true mask has" if name == "true" else name
            said = f"line {line}, slice {number_}, {label}: {what} {here!s}, and {there!s} in {one.folder.path}"
            raise InputError(f"{study.folder.run(outer, inner).cases}: {said}; give studies of the same masks")


def _measured(frame: "DataFrame") -> "DataFrame":
    return frame.assign(
        true=frame.tp + frame.fn,
        hd95_mm=frame.hd95_penalised_mm,
        asd_mm=frame.asd_penalised_mm,
        volume_off_percent=_volume_off(frame),
        fat_fraction_off=(frame.fat_fraction_predicted_mask - frame.fat_fraction_true_mask).abs(),
    )


def _as_one(frame: "DataFrame") -> "DataFrame":
    """Take all labels of a slice as one mask: no other measures are known of it than Dice and volume."""
    sums = frame.assign(true=frame.tp + frame.fn, label=ALL)
    whose = [*_ONE, "subject", "session", "region"]
    volumes = ["true", "volume_true_ml", "volume_predicted_ml"]
    slices = sums.groupby(whose, sort=False).agg({"whole_dice": "first", **dict.fromkeys(volumes, "sum")}).reset_index()
    return slices.rename(columns={"whole_dice": "dice"}).assign(volume_off_percent=_volume_off(slices))


def _volume_off(frame: "DataFrame") -> "Series[float]":
    off: Series[float] = (frame.volume_predicted_ml - frame.volume_true_ml).abs()
    return 100 * off / frame.volume_true_ml.where(frame.volume_true_ml > 0)


def _names(studies: Sequence[Study]) -> tuple[str, ...]:
    """Name the studies: by their folders, with the folders above where two have one name."""
    names = [study.name for study in studies]
    paths = {study.folder.path.resolve() for study in studies}
    return tuple(names if len({*names}) == len(paths) else [str(study.folder.path) for study in studies])


def _settings(studies: Sequence[Study]) -> dict[str, tuple[Any, ...]]:
    every = [identity(study.config) for study in studies]
    if len({frozenset(own) for own in every}) > 1:  # a release may not have known a key, which then had its default
        from musclesense.training.config import defaults  # takes long to import

        every = [identity(defaults()) | own for own in every]
    shared = {key: tuple(own[key] for own in every) for key in every[0] if all(key in own for own in every)}
    return {key: values for key, values in shared.items() if any(value != values[0] for value in values)}
