"""The test cases of a study: each scan by the networks that have not seen its subject, beside what was drawn."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.table import Acquisition, read_table
from musclesense.errors import InputError
from musclesense.metrics.case import Case
from musclesense.serve.review.listed import Listed, Opened
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_file
from musclesense.studies.overlays import KeptSlice, read_overlays
from musclesense.studies.reading import read_study
from musclesense.studies.study import Run

_AGREEMENT = (
    ("drawn and found", (111, 207, 151)),
    ("found alone", (64, 196, 255)),
    ("drawn alone", (255, 176, 32)),
    ("another label", (226, 106, 222)),
)
"""What is shown in place of labels, and its colour; alone as in the pictures of a report."""
_IMAGES = (("image", 255.0), ("networks", 100.0))
"""What is shown below it, and its largest value: the image, and how many percent of the networks found muscle."""
_APART = 8.0
"""Between slices, in pixels of the grid: a run does not keep how far they are."""
_TITLES = ("slice", "label", "network", "Dice", "HD95 (mm)", "fat fraction drawn (%)", "found (%)")


class Cases:
    """Test cases of the finished runs of a study, an acquisition each."""

    columns: Sequence[str] = ("worst slice", "Dice", "slices", "networks", "group")
    paints = False

    def __init__(self, folder: Path) -> None:
        study = read_study(folder)
        self.folder = folder
        self._runs = [run for run in study.runs if run.cases]
        if not self._runs:
            raise InputError(f"{folder}: no run is finished, so no case is tested; train it first")
        self._masks = {run.name: digest_of_bytes(run.folder.overlays) for run in self._runs if _is_kept(run)}
        self._images = _images_of(study.table)
        found = dict[int, list[Case]]()
        for run in self._runs:
            for case in run.cases:
                found.setdefault(case.line, []).append(case)
        self._cases = {_name(cases[0]): cases for _, cases in sorted(found.items())}
        self._listed = [self._seen(name, cases) for name, cases in self._cases.items()]

    def listed(self) -> list[Listed]:
        """Give all acquisitions that were tested."""
        return self._listed

    def failed(self) -> Mapping[str, str]:
        """Give nothing: what was not tested is not part of the study yet."""
        return {}

    def _seen(self, name: str, cases: Sequence[Case]) -> Listed:
        first, runs = cases[0], self._testing(cases)
        by_slice = [[case.dice for case in cases if case.slice == number] for number in _slices(cases)]
        means = [fmean(known) for dices in by_slice if (known := [dice for dice in dices if dice is not None])]
        shown = (
            *(f"{value(means):.3f}" if means else "-" for value in (min, fmean)),
            *(str(len(by_slice)), str(len(runs)), first.group),
        )
        digests = "".join(self._masks.get(run.name, "") for run in runs)
        return Listed(
            name=name,
            cells=dict(zip(self.columns, shown, strict=True)),
            score=min(means, default=None),
            mask_sha256=hashlib.sha256(digests.encode()).hexdigest(),
            image=str(next(iter(self._images[first.line].channels.values()), "")) if first.line in self._images else "",
        )

    def _testing(self, cases: Sequence[Case]) -> list[Run]:
        folds = {(case.outer, case.inner) for case in cases}
        return [run for run in self._runs if (run.outer, run.inner) in folds]

    def open(self, name: str) -> Opened:
        """Lay what most networks found over what was drawn."""
        cases = self._cases[name]
        kept = [read_overlays(run.folder, cases[0].line) for run in self._testing(cases) if _is_kept(run)]
        slices: dict[int, list[KeptSlice]] = {}
        for one in (one for own in kept for one in own):
            slices.setdefault(one.slice, []).append(one)
        if not slices:
            raise InputError("no network kept pictures of this scan; its scores are below")
        numbers = sorted(slices)
        arrays = {
            "image": np.stack([slices[number][0].image.astype("<u2") * 257 for number in numbers]),
            "networks": np.stack([_share(slices[number]) for number in numbers]),
            "mask": np.stack([_agreement(slices[number]) for number in numbers]),
        }
        told = _told(numbers, arrays)
        return Opened(told=told, arrays=arrays, scores=[_TITLES, *map(_score, cases)])

    def correct(self, name: str, edits: bytes, base: str, by: str) -> None:
        """Refuse: on the networks' grid nothing is drawn."""
        raise InputError("cases of a study are looked at alone; segment the cohort with --out-of-fold to correct masks")

    def files(self, name: str) -> Mapping[str, Sequence[Path]]:
        """Give nothing: a study keeps no file of a case."""
        return {}


def _is_kept(run: Run) -> bool:
    return is_file(run.folder.overlays)


def _images_of(table: Path | None) -> dict[int, Acquisition]:
    """Name the images of each line of the table, where it is still there."""
    try:
        return {row.line: row for row in read_table(table).acquisitions} if table else {}
    except InputError:
        return {}


def _name(case: Case) -> str:
    return "-".join(filter(None, (case.subject, case.session, case.region, f"line{case.line}")))


def _slices(cases: Sequence[Case]) -> list[int]:
    return sorted({case.slice for case in cases})


def _voted(predictions: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give what most networks found, in each pixel; the lowest class where as many found another.

    >>> _voted(np.array([[[0, 1, 2]], [[1, 1, 0]], [[1, 2, 2]]], np.uint8)).tolist()
    [[1, 1, 2]]
    """
    votes = [np.count_nonzero(predictions == index, axis=0) for index in range(int(predictions.max()) + 1)]
    voted: NDArray[np.uint8] = np.argmax(votes, axis=0).astype(np.uint8)
    return voted


def _agreement(kept: Sequence[KeptSlice]) -> NDArray[np.uint8]:
    """Say in each pixel how what was found and what was drawn go together, by places of `_AGREEMENT` from 1."""
    truth, found = kept[0].truth, _voted(np.stack([one.prediction for one in kept]))
    both = (truth > 0) & (found > 0)
    kinds = [both & (truth == found), (found > 0) & ~both, (truth > 0) & ~both, both]
    return np.select(kinds, range(1, len(kinds) + 1), 0).astype(np.uint8)


def _share(kept: Sequence[KeptSlice]) -> NDArray[np.uint16]:
    """Give the share of networks that found anything, of 65535."""
    share: NDArray[np.uint16] = np.rint(65535 * np.mean([one.prediction > 0 for one in kept], axis=0)).astype("<u2")
    return share


def _told(numbers: Sequence[int], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    slices, rows, columns = arrays["mask"].shape
    used = max(3, int(arrays["mask"].max()))
    window = {"low": 0.0, "black": 0.0}
    return {
        "slices": slices,
        "rows": rows,
        "columns": columns,
        "zooms": (1.0, 1.0),
        "step": _APART,
        "body": [[0, rows], [0, columns]],
        "numbers": list(numbers),
        "images": [{"name": name, "high": high, "white": high} | window for name, high in _IMAGES],
        "labels": [{"name": name, "colour": colour} for name, colour in _AGREEMENT[:used]],
    }


def _score(case: Case) -> tuple[str, ...]:
    return (str(case.slice), case.label, f"outer {case.outer}, inner {case.inner}", *_measures(case))


def _measures(case: Case) -> Iterator[str]:
    of_drawn = (case.measured_fat_fraction_true_mask, case.fat_fraction_true_mask)
    of_found = (case.measured_fat_fraction_predicted_mask, case.fat_fraction_predicted_mask)
    drawn, found = (next((value for value in own if value is not None), None) for own in (of_drawn, of_found))
    for value, digits in ((case.dice, 3), (case.hd95_mm, 1), (drawn, 1), (found, 1)):
        yield "-" if value is None else f"{value:.{digits}f}"
