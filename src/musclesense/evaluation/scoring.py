"""Trained networks scored on scans with reference masks, whoever drew these: a table and pictures.

Slices count by the fixed threshold of the networks; nothing is chosen by them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.images import read_reference
from musclesense.cohort.table import Acquisition, read_table
from musclesense.errors import InputError
from musclesense.evaluation.gallery import chosen, save_gallery, shown
from musclesense.evaluation.intervals import interval_by_subject
from musclesense.evaluation.sheets import write_sheets
from musclesense.imaging.grid import slices_with, take_slice
from musclesense.imaging.labels import LabelSet, without_side
from musclesense.imaging.turning import turned
from musclesense.messages import log
from musclesense.metrics.case import Case, score_slice
from musclesense.names import ALL
from musclesense.networks.shipped import default_model
from musclesense.phantom.anatomy.templates import TEMPLATES
from musclesense.segmentation.cohort import unseen_networks
from musclesense.segmentation.measured import named
from musclesense.segmentation.result import Segmentation
from musclesense.segmentation.scan import from_images
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.paths import require_free
from musclesense.storage.records import write_csv, write_json, write_text
from musclesense.version import __version__
from musclesense.vocabulary import CHANNELS, Side

SLICES, SCANS, SCORES, RECORD, PICTURES = "slices.csv", "scans.csv", "scores.md", "record.json", "pictures"
_MOST_SHOWN = 10
FORMAT = 1
"""Of ``record.json``."""
PAPER, EVERY = "muscle", "every_muscle"
"""Labels of a reference that stand for several classes of a network: the muscles of the paper's mask, and all."""
_OTHERS = {"other_muscle", *(name for template in TEMPLATES.values() for name in template.unlabelled)}
WHOSE = ("subject", "session", "group", "region", "label")
_OF_A_CASE = ("dice", "recall", "precision", "hd95_mm", "volume_true_ml", "volume_predicted_ml", "fat_fraction_bias")
SLICE_COLUMNS = (*WHOSE[:-1], "slice", "label", *_OF_A_CASE)
_DIGITS = {"hd95_mm": 1, "volume_error_percent": 1, "fat_fraction_error": 2, "fat_fraction_off": 2}
SCAN_COLUMNS = (*WHOSE, "subjects", "slices", "dice", "dice_low", "dice_high", "recall", "precision", *_DIGITS)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What the masks of a table hold.

    Attributes:
        labels: Their values. None: those that the networks were trained on.
        column: Of the table.
        ignored: Values of voxels that are not judged.
    """

    labels: LabelSet | None = None
    column: str = "mask"
    ignored: tuple[int, ...] = ()


def score_cohort(
    table: Path,
    out: Path,
    segmenter: Segmenter,
    reference: Reference,
    *,
    pictures: bool = True,
    anonymous: bool = False,
    study: Path | None = None,
    worst_first: bool = False,
) -> list[Case]:
    """Segment every scan of a table, and score those with a mask.

    Args:
        table: A cohort table. A row without a mask is drawn alone.
        out: Folder to make: `SLICES`, `SCANS`, `SCORES`, `RECORD` and, with ``pictures``, `PICTURES`.
        segmenter: The networks.
        reference: What the masks hold.
        pictures: Whether to draw outlines, and a gallery of each region.
        anonymous: Leave the names of files out of the record.
        study: The networks' own, whose cohort the table is: each subject is segmented by those that have not seen it.
        worst_first: Whether galleries show the worst scans, rather than scans from the best to the worst.

    Returns:
        The scores of each slice and label.

    Raises:
        InputError: No row is of a region that the networks know, they have none of the labels, a scan cannot be used,
            or ``out`` is in use.
    """
    if study is None:
        scans = [(row, segmenter) for row in _rows_of(table, segmenter)]
    else:
        rows, unseen, column = unseen_networks(study, table, segmenter)
        scans = [(row, segmenter.only(unseen[row.subject])) for row in rows]
        reference = replace(reference, column=column)
    labels = reference.labels or segmenter.spec.labels
    classes = match_labels(labels, segmenter.spec.labels)
    require_free(out, or_empty=True)
    cases: list[Case] = []
    with atomic_folder(out) as draft:
        for number, (row, networks) in enumerate(scans, start=1):
            log.info(f"score: {number} of {len(scans)}: {_name(row)}")
            found = _segmented(row, networks)
            truth = None if row.labels(reference.column) is None else _truth(row, found, labels, reference)
            own = [] if truth is None else score_scan(row, found, *truth, labels=labels, classes=classes)
            cases += own
            if pictures:
                write_sheets(draft / PICTURES, f"{number:03}-{_name(row)}", found, truth and truth[0], own)
        if pictures:
            _write_galleries(draft, scans, cases, labels, reference, worst_first=worst_first)
        write_csv(draft / SLICES, SLICE_COLUMNS, [_slice_row(case) for case in cases])
        scores = summarise(cases)
        write_csv(draft / SCANS, SCAN_COLUMNS, scores)
        write_text(draft / SCORES, as_markdown(scores))
        write_json(draft / RECORD, _record(table, segmenter, reference, labels, anonymous))
    return cases


def _write_galleries(
    folder: Path,
    scans: Iterable[tuple[Acquisition, Segmenter]],
    cases: Sequence[Case],
    labels: LabelSet,
    reference: Reference,
    *,
    worst_first: bool,
) -> None:
    """Segment the scans of each gallery once more: all of a table would not fit into memory."""
    by_line = {row.line: (row, segmenter) for row, segmenter in scans}
    for region, own in chosen(cases, worst_first=worst_first).items():
        rows = []
        for of_scan in own:
            row, segmenter = by_line[of_scan[0].line]
            found = _segmented(row, segmenter)
            rows.append(shown(found, _truth(row, found, labels, reference)[0], of_scan))
        save_gallery(folder / f"gallery_{region}", rows)


def default_of(table: Path) -> str:
    """Choose among the networks of the package by the images that all rows of a table have, as `default_model` does."""
    rows = read_table(table).acquisitions
    shared = [name for name in CHANNELS if all(name in row.channels for row in rows)]
    return default_model(shared, sorted({row.region for row in rows}))


def match_labels(reference: LabelSet, given: LabelSet) -> dict[str, list[int]]:
    """Give for each label of a reference the class indices of a network that it takes in.

    A class of the same name, or of both sides; for `PAPER` those of the paper's mask, for `EVERY` all.

    >>> network = LabelSet.from_config({"muscle": [1], "other_muscle": [2]})
    >>> match_labels(LabelSet.from_config({"every_muscle": []}), network)
    {'every_muscle': [1, 2]}

    Raises:
        InputError: The network has none of them.
    """
    found = {}
    for label in reference.names:
        named = {label, *(f"{label}_{side}" for side in Side)}
        own = [index for index, name in enumerate(given.names, 1) if name in named]
        if not own and label in (PAPER, EVERY):
            others = _OTHERS if label == PAPER else ()
            own = [index for index, name in enumerate(given.names, 1) if without_side(name) not in others]
        if own:
            found[label] = own
        else:
            log.warning(f"labels: the networks have no {label}; it is not scored")
    if not found:
        names, known = ", ".join(reference.names), ", ".join({name: None for name in (PAPER, EVERY, *given.names)})
        raise InputError(f"labels: the networks have none of {names}; give some of {known}")
    return found


def score_scan(
    row: Acquisition,
    found: Segmentation,
    truth: NDArray[np.uint8],
    judged: NDArray[np.bool_],
    *,
    labels: LabelSet,
    classes: Mapping[str, Sequence[int]],
) -> list[Case]:
    """Score the labelled slices of a scan; a label that none of them holds is scored where there is no other.

    Args:
        row: The acquisition.
        found: What the networks say.
        truth: Class indices of ``labels``, in the voxels of ``found``.
        judged: The voxels that count, likewise.
        labels: Of the reference.
        classes: What `match_labels` gave.
    """
    meant = np.zeros(found.spec.classes, np.uint8)
    for label, own in classes.items():
        meant[own] = labels.names.index(label) + 1
    predicted = np.where(judged, meant[found.classes], 0)
    numbers = slices_with(truth > 0, found.geometry) if row.slice is None else [row.slice]
    known = {labels.names.index(label) + 1 for label in classes}
    present = {int(value) for n in numbers for value in np.unique(take_slice(truth, found.geometry, n))}
    of_slice: dict[str, Any] = {"outer": 0, "inner": 0, "labels": labels, "classes": known & present or known}
    return [
        case
        for number in numbers
        for case in score_slice(
            row,
            number,
            found.geometry,
            truth=take_slice(truth, found.geometry, number),
            predicted=take_slice(predicted, found.geometry, number),
            **of_slice,
        )
    ]


def summarise(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Give the mean over the slices of each scan and label, then of each group where there are several, and of all."""
    cases = list(cases)
    of_scan, of_group, of_label = (dict[tuple[str, ...], list[Case]]() for _ in range(3))
    for case in cases:
        of_scan.setdefault(tuple(str(getattr(case, name)) for name in WHOSE), []).append(case)
        of_group.setdefault((ALL, "", case.group, case.region, case.label), []).append(case)
        of_label.setdefault((ALL, "", "", case.region, case.label), []).append(case)
    parts = (of_scan, of_group if len({case.group for case in cases}) > 1 else {}, of_label)
    return [_means(whose, own) for part in parts for whose, own in part.items()]


def files_of(files: Iterable[Path], anonymous: bool = False) -> list[dict[str, str]]:
    """Name files with their digests, for a record."""
    return [named(file, anonymous) for file in dict.fromkeys(files)]


def as_markdown(scores: Sequence[Mapping[str, Any]]) -> str:
    """Write the rows of `summarise` as a table, numbers as many digits as mean something."""
    heads = ("scan", "region", "label", "slices", "Dice", "95 % interval", "recall", "precision")
    more = ("HD95, mm", "volume, %", "fat fraction, points", "the same, size")
    lines = ["| " + " | ".join((*heads, *more)) + " |", "|---" * len((*heads, *more)) + "|"]
    for row in scores:
        group = row["group"] if row["subject"] == ALL else ""
        scan = " ".join(filter(None, (row["subject"], row["session"], group)))
        between = "" if row["dice_low"] is None else f"{row['dice_low']:.3f} to {row['dice_high']:.3f}"
        shown = [_shown(row[name], 3) for name in ("dice", "recall", "precision")]
        rest = [_shown(row[name], digits) for name, digits in _DIGITS.items()]
        cells = (scan, row["region"], row["label"], row["slices"], shown[0], between, *shown[1:], *rest)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join([*lines, ""])


def _means(whose: tuple[str, ...], cases: Sequence[Case]) -> dict[str, Any]:
    true, predicted = (
        sum(getattr(case, f"volume_{name}_ml") or 0.0 for case in cases) for name in ("true", "predicted")
    )
    subjects = [case.subject for case in cases]
    low, high = interval_by_subject([case.dice for case in cases], subjects) or (None, None)
    biases = [case.fat_fraction_bias for case in cases]
    return {
        **dict(zip(WHOSE, whose, strict=True)),
        "subjects": len({*subjects}),
        "slices": len({(case.line, case.slice) for case in cases}),
        "dice": _mean(case.dice for case in cases),
        "dice_low": low,
        "dice_high": high,
        "recall": _mean(case.counts.recall for case in cases),
        "precision": _mean(case.counts.precision for case in cases),
        "hd95_mm": _mean(case.hd95_mm for case in cases),
        "volume_error_percent": 100 * (predicted / true - 1) if true else None,
        "fat_fraction_error": _mean(biases),
        "fat_fraction_off": _mean(None if bias is None else abs(bias) for bias in biases),
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _slice_row(case: Case) -> dict[str, Any]:
    own = {name: getattr(case.counts if name in ("recall", "precision") else case, name) for name in _OF_A_CASE}
    rounded = {name: None if value is None else round(value, 6) for name, value in own.items()}
    return {name: getattr(case, name) for name in (*WHOSE, "slice")} | rounded


def _rows_of(table: Path, segmenter: Segmenter) -> list[Acquisition]:
    every = read_table(table).tell().acquisitions
    rows = [row for row in every if row.region in segmenter.spec.regions]
    if not rows:
        known = " or ".join(segmenter.spec.regions)
        raise InputError(f"{table}: no row of the region {known}, which the model was trained on; give another model")
    if len(rows) < len(every):
        log.warning(f"{table}: {len(every) - len(rows)} rows are of a region that the model was not trained on")
    return rows


def _segmented(row: Acquisition, segmenter: Segmenter) -> Segmentation:
    spec, first = segmenter.spec, next(iter(row.channels), None)
    wanted = {first, *spec.channels, spec.placed_by, "fat", "water"}  # slices are counted along the first
    images = {name: file for name, file in row.channels.items() if name in wanted}
    if not images:
        raise InputError(f"line {row.line}: the table names no image of this scan; add one")
    return segment(from_images(images), model=segmenter, region=row.region, limbs=row.limbs, told=True)


def _truth(
    row: Acquisition, found: Segmentation, labels: LabelSet, reference: Reference
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Read what the mask of a scan says, and which voxels are judged."""
    mask = turned(read_reference(row, reference.column), found.geometry)
    if difference := found.geometry.difference(mask.geometry):
        raise InputError(f"{row.labels(reference.column)}: {difference} of the image; give a mask of its voxels")
    judged = ~np.isin(mask.data, reference.ignored)
    known = {value for own in labels.values for value in own}
    if known and (others := sorted({*np.unique(mask.data[judged & (mask.data > 0)]).tolist()} - known)):
        shown = ", ".join(f"{value:g}" for value in others[:_MOST_SHOWN]) + " ..." * (len(others) > _MOST_SHOWN)
        said = "counts as background, since no label holds it; --ignore VALUE leaves voxels out"
        log.warning(f"{row.labels(reference.column)}: value {shown} {said}")
    return np.where(judged, labels.encode(mask.data), 0).astype(np.uint8), judged


def _name(row: Acquisition) -> str:
    return "-".join(filter(None, (row.subject, row.session, str(row.region)))).replace("/", "_")


def _record(
    table: Path, segmenter: Segmenter, reference: Reference, labels: LabelSet, anonymous: bool
) -> dict[str, Any]:
    """Say what was scored by what, so that it can be done again."""
    return {
        "format": FORMAT,
        "musclesense": __version__,
        "files": files_of((table, *segmenter.files), anonymous),
        "labels": labels.to_config(),
        "column": reference.column,
        "ignored": list(reference.ignored),
        "threshold": segmenter.spec.threshold,
    }
