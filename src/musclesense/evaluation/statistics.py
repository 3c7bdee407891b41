"""What a study says of its acquisitions: mean with its interval, spread and worst decile; agreement of masks.

By region, and within it by group, label, side, muscle and subject. Missed cases count: their Dice is 0 and their
distances are the slice's diagonal. Only a fat fraction cannot be read where nothing is predicted; how many cases are
missed stands beside each number.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from musclesense.evaluation.acquisitions import by_acquisition, by_network, case_frame
from musclesense.evaluation.agreement import STATISTICS, agreement
from musclesense.evaluation.intervals import ends, interval_by_subject
from musclesense.imaging.labels import without_side
from musclesense.names import ALL
from musclesense.studies.study import Study

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Measure:
    """A number of an acquisition.

    Attributes:
        title: What people read.
        digits: How many are printed.
        worse: How bad a value is: the larger the worse.
    """

    title: str
    digits: int
    worse: int | None = 1  # -1: small values are bad; None: values far from 0 are


MEASURES = {
    "dice": Measure("Dice", 3, -1),
    "hd95_mm": Measure("HD95, mm", 1),
    "asd_mm": Measure("ASD, mm", 2),
    "volume_error_percent": Measure("Volume error, %", 1, None),
    "fat_fraction_error": Measure("Fat fraction error, points", 2, None),
}
"""By their column of `by_acquisition`."""
PAIRS = {
    "fat_fraction": Measure("Fat fraction, points", 2),
    "measured_fat_fraction": Measure("Measured fat fraction, points", 2),
    "volume": Measure("Volume, ml", 1),
}
"""What is compared between true and predicted mask."""
PARTS = (ALL, "group", "label", "side", "muscle", "subject")
"""By what a region is parted."""
WHERE = ("region", "by", "name")
COUNTS = ("subjects", "acquisitions", "values", "missed")
STATISTIC_COLUMNS = (*WHERE, "measure", *COUNTS, "mean", "mean_low", "mean_high", "sd", "median", "worst_decile")
AGREEMENT_COLUMNS = (
    *(*WHERE, "measure", *COUNTS),
    *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")),
)


def acquisitions(study: Study) -> "DataFrame":
    """Give a row for each acquisition and label that a study tested, as of `by_acquisition`."""
    return by_acquisition(by_network(case_frame(study.cases)))


def statistics(found: "DataFrame", parts: Collection[str] = PARTS) -> list[dict[str, Any]]:
    """Describe each measure of the acquisitions, for all and for each part of them.

    Args:
        found: As of `acquisitions`.
        parts: Some of `PARTS`.

    Returns:
        Rows of `STATISTIC_COLUMNS`: ``values`` is how many the mean is over, one for each acquisition and label;
        ``missed`` how many cases nothing was predicted in; ``mean_low`` and ``mean_high`` the 95 % interval of the mean
        by the bootstrap over subjects; ``worst_decile`` the value that a tenth is worse than, of errors by their size.
    """
    return [
        {**where, "measure": name, **_counts(part, part[name]), **_described(part, name)}
        for where, part in _parts(found, parts)
        for name in MEASURES
    ]


def agreements(found: "DataFrame") -> list[dict[str, Any]]:
    """Compare what is read in predicted and in true masks, predicted minus true; rows of `AGREEMENT_COLUMNS`.

    ``measured_fat_fraction`` has no rows where it is nothing else than ``fat_fraction``.
    """
    rows = []
    for where, part in _parts(found, PARTS[:-1]):
        for name in PAIRS:
            unit = "_ml" if name == "volume" else ""
            true, predicted = (part[f"{name}_{mask}{unit}"] for mask in ("true", "predicted"))
            known = part[true.notna() & predicted.notna()]
            same = name.startswith("measured") and known[f"{name}_predicted"].equals(known["fat_fraction_predicted"])
            if known.empty or same:
                continue
            pairs = agreement(true[known.index].tolist(), predicted[known.index].tolist(), known.subject.tolist())
            row = {**where, "measure": name, **_counts(part, predicted)}
            for key, found_ in pairs.items():
                row |= ends(key, *found_)
            rows.append(row)
    return rows


def _parts(found: "DataFrame", wanted: Collection[str]) -> Iterator[tuple[dict[str, str], "DataFrame"]]:
    """Part the acquisitions, regions first; a part that is all of its region is given once."""
    for region, own in found.groupby("region"):
        if ALL in wanted:
            yield dict(zip(WHERE, (str(region), ALL, ALL), strict=True)), own
        muscle = own.label.map(without_side)
        side = [label[len(stem) :].lstrip("_") for label, stem in zip(own.label, muscle, strict=True)]
        keys = {"group": own.group, "label": own.label, "side": side, "muscle": muscle, "subject": own.subject}
        for by, key in [(by, key) for by, key in keys.items() if by in wanted]:
            names = own.assign(by=key).groupby("by", sort=by != "label")
            new = by == "subject" or names.ngroups > 1
            if new and not (by == "muscle" and names.ngroups == own.label.nunique()):
                for name, part in names:
                    yield {"region": str(region), "by": by, "name": str(name)}, part


def _counts(part: "DataFrame", values: Any) -> dict[str, int]:
    return {
        "subjects": part.subject.nunique(),
        "acquisitions": part.line.nunique(),
        "values": int(values.notna().sum()),
        "missed": int(part.missed.sum()),
    }


def _described(part: "DataFrame", name: str) -> dict[str, float | None]:
    known = part[part[name].notna()]
    values, worse = known[name].to_numpy(), MEASURES[name].worse
    if not len(values):
        return dict.fromkeys(STATISTIC_COLUMNS[-6:])
    worst = np.quantile(values, 0.1) if worse == -1 else np.quantile(np.abs(values), 0.9)
    return {
        **ends("mean", float(values.mean()), interval_by_subject(values, known.subject.tolist())),
        "sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "median": float(np.median(values)),
        "worst_decile": float(worst),
    }
