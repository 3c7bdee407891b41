"""Results of `segment` in a folder, of one scan or of many: listed, shown, corrected."""

import csv
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from musclesense.cohort.table import read_table
from musclesense.errors import InputError
from musclesense.imaging.labels import LabelSet
from musclesense.intake import batch
from musclesense.segmentation.corrected import measure, read_values
from musclesense.segmentation.measured import (
    CHANGES,
    MASK,
    OLD_TABLE,
    PAGE,
    RECORD,
    TABLE,
    MeasuredMask,
    read_record,
)
from musclesense.segmentation.measuring import COLUMNS, DIGITS, PLAIN, Measuring
from musclesense.segmentation.scan import Scan, from_images
from musclesense.serve import shown, view
from musclesense.serve.review.listed import ChangedError, Listed, Opened
from musclesense.storage.digests import digest_of_bytes, digest_of_input
from musclesense.storage.paths import is_file, is_there, size_and_change
from musclesense.storage.records import as_it_was, read_json, unreadable
from musclesense.vocabulary import CHANNELS, Channel, Limbs

CORRECTED = "corrected"
"""The folder beside an automatic mask for the corrected one."""
_COUNTS = ("voxels", "counted_slices", "voxels_automatic", "voxels_added", "voxels_removed")
_KINDS: Mapping[str, Callable[[str], float]] = {
    name: int if name in _COUNTS else float for name in (*_COUNTS, *DIGITS, "fat_fraction_percent_automatic")
}
"""What is a number in the tables of a mask."""
_DAMAGE = (KeyError, TypeError, AttributeError, UnicodeDecodeError)
_REMEDY = "segment the scan again"


class _Held(NamedTuple):
    scan: Scan
    labels: LabelSet


class Scans:
    """Results of `segment`."""

    columns: Sequence[str] = ("quality", "fat fraction (%)", "volume (ml)", "slices", "region")
    paints = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._alone = read_record(folder) is not None
        self._lock = threading.Lock()

    def _folders(self) -> dict[str, Path]:
        """Give the folders of scans by name."""
        if self._alone:
            return {self.folder.resolve().name: self.folder}
        there = sorted(file.parent for file in self.folder.glob(f"*/{RECORD}"))
        return {folder.name: folder for folder in there if _is_automatic(folder, size_and_change(folder / RECORD))}

    def listed(self) -> list[Listed]:
        """Give all scans that are segmented by now."""
        return self._looked()[0]

    def _looked(self) -> tuple[list[Listed], dict[str, str]]:
        """Give the scans whose results can be read, and what is wrong with the others."""
        listed, problems = list[Listed](), dict[str, str]()
        for name, folder in self._folders().items():
            try:
                listed.append(_seen(name, folder, *_states(folder)))
            except InputError as error:
                problems[name] = "; ".join(error.problems)
        return listed, problems

    def failed(self) -> Mapping[str, str]:
        """Give the scans of a batch that have no result that can be read, and why."""
        file = self.folder / batch.RECORD
        told = read_json(file, remedy="segment the cohort again") if not self._alone and is_file(file) else {}
        problems = told.get("no_result") if isinstance(told, dict) else None
        known = problems if isinstance(problems, dict) else {}
        return {str(name): str(said) for name, said in known.items()} | self._looked()[1]

    def open(self, name: str) -> Opened:
        """Open the mask of a scan: the corrected one, where there is one."""
        folder = self._folders()[name]
        with unreadable(folder, *_DAMAGE, remedy=_REMEDY):
            return self._opened(folder)

    def _opened(self, folder: Path) -> Opened:
        record, now = read_record(folder) or {}, _now(folder)
        scan = from_images(self._images(folder, record))
        labels = LabelSet.from_config(record["labels"]) if "labels" in record else LabelSet.from_config({"muscle": []})
        classes = labels.encode(read_values(now / MASK, scan.geometry))
        told, arrays = shown.view_of(MeasuredMask(scan, classes, labels, Limbs(record.get("limbs", Limbs.BOTH))))
        return Opened(
            told=told | {"base": digest_of_bytes(now / MASK)},
            arrays=arrays,
            rows=_rows(now),
            changes=[row for row in _read(now / CHANGES) if row["slice"] == "all"] if now != folder else (),
            held=_Held(scan, labels),
        )

    def correct(self, name: str, edits: bytes, base: str, by: str) -> None:
        """Save a painted mask beside the automatic one, and measure it as that was measured."""
        folder = self._folders()[name]
        record = read_record(folder) or {}
        with self._lock:
            opened = self.open(name)
            if opened.told["base"] != base:
                raise ChangedError
            scan, labels = opened.held
            mask = view.painted(edits, opened.arrays["mask"], labels.n_classes)
            values = labels.decode(shown.laid_down(mask, scan.geometry))
            how = _measuring(record.get("measured"))
            made = measure((values, scan.geometry.affine), scan, automatic=folder, measuring=how)
            anonymous = any("file" not in told for told in record["inputs"].values())
            said = {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds")}
            made.save(folder / CORRECTED, anonymous=anonymous, said=said)

    def files(self, name: str) -> Mapping[str, Sequence[Path]]:
        """Give what can be downloaded of a scan."""
        folder = self._folders()[name]
        places = {"Corrected": folder / CORRECTED, "Automatic": folder}
        found = {said: [place / file for file in (MASK, TABLE, CHANGES, PAGE)] for said, place in places.items()}
        return {said: there for said, files in found.items() if (there := [*filter(is_file, files)])}

    def _images(self, folder: Path, record: Mapping[str, Any]) -> dict[str, Path]:
        """Find the images that were segmented, the one along which slices are counted first."""
        images = _recorded(folder, record) or self._of_table(folder, record)
        if not images:
            raise InputError("the record does not name the images (--anonymous); segment again without it to see them")
        first = next(iter(images))
        return {
            name: _located(*image, folder)
            for name, image in images.items()
            if name in (first, Channel.FAT, Channel.WATER)
        }

    def _of_table(self, folder: Path, record: Mapping[str, Any]) -> dict[str, tuple[Path, str]]:
        """Name the images of a scan of a batch by its table, which names them even where records do not."""
        table = self.folder / batch.TABLE
        rows = read_table(table).acquisitions if is_file(table) else ()
        row = next((row for row in rows if row.mask and row.mask.parent.resolve() == folder.resolve()), None)
        digests = {name: told["sha256"] for name, told in record["inputs"].items()}
        return {name: (file, digests[name]) for name, file in row.channels.items() if name in digests} if row else {}


def _now(folder: Path) -> Path:
    """Give the folder of the mask that holds: the corrected one, where there is one."""
    return folder / CORRECTED if is_file(folder / CORRECTED / MASK) else folder


def _states(folder: Path) -> tuple[Any, ...]:
    """Say which files there are now, so that nothing is read twice."""
    return tuple(
        size_and_change(place / file) for place in (folder, folder / CORRECTED) for file in (MASK, TABLE, RECORD)
    )


@functools.lru_cache(maxsize=100_000)
def _is_automatic(folder: Path, *_: Any) -> bool:
    """Tell whether a folder has a mask that networks made; read once for each state of its record."""
    return "corrected" not in (read_record(folder) or {"corrected": 0})


@functools.lru_cache(maxsize=100_000)
def _seen(name: str, folder: Path, *_: Any) -> Listed:
    """Say what the list shows of a scan; read once for each state of its files.

    Raises:
        InputError: Its results cannot be understood.
    """
    with unreadable(folder, *_DAMAGE, ValueError, csv.Error, remedy=_REMEDY):
        return _summary(name, folder)


def _summary(name: str, folder: Path) -> Listed:
    record, now = read_record(folder) or {}, _now(folder)
    totals = [row for row in _rows(now) if row["slice"] == "all"]
    automatic = totals if now == folder else [row for row in _rows(folder) if row["slice"] == "all"]
    quality = min((row["quality"] for row in automatic if row["quality"] is not None), default=None)
    images = [str(file) for file, _ in _recorded(folder, record).values()]
    corrected = (read_record(now) or {}).get("corrected") if now != folder else None
    shown = (
        "" if quality is None else f"{quality:.2f}",
        _by_limb(totals, _mean_fraction, ".1f"),
        _by_limb(totals, _volume, ".0f"),
        str(max((row["counted_slices"] or 0 for row in totals), default=0)),
        str(record.get("region", "")),
    )
    return Listed(
        name=name,
        cells=dict(zip(Scans.columns, shown, strict=True)),
        flags=tuple(dict.fromkeys(flag for row in automatic for flag in str(row["flags"] or "").split())),
        score=quality,
        mask=str(now / MASK),
        mask_sha256=digest_of_bytes(now / MASK) if is_file(now / MASK) else "",
        image=images[0] if images else str(folder / MASK),
        corrected=None if corrected is None else {key: str(corrected.get(key, "")) for key in ("by", "at")},
    )


def _by_limb(totals: Sequence[Mapping[str, Any]], number: Any, digits: str) -> str:
    """Give a number of each limb, all of its labels together."""
    limbs = dict.fromkeys(row["limb"] for row in totals)
    numbers = {limb: number([row for row in totals if row["limb"] == limb]) for limb in limbs}
    shown = {limb: "-" if value is None else f"{value:{digits}}" for limb, value in numbers.items()}
    return " · ".join(f"{limb[0].upper()} {value}" if len(limbs) > 1 else value for limb, value in shown.items())


def _volume(rows: Sequence[Mapping[str, Any]]) -> float:
    return sum(row["volume_ml"] or 0.0 for row in rows)


def _mean_fraction(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Give the mean over the voxels of all labels."""
    known = [(row["voxels"], row["fat_fraction_percent"]) for row in rows if row["fat_fraction_percent"] is not None]
    voxels = sum(count for count, _ in known)
    return sum(count * percent for count, percent in known) / voxels if voxels else None


def _recorded(folder: Path, record: Mapping[str, Any]) -> dict[str, tuple[Path, str]]:
    """Name the images of a scan by its record, each with its digest: those that were made, or those that were given."""
    results, inputs = record.get("results") or {}, record.get("inputs") or {}
    made = {name: folder / f"{name}.nii.gz" for name in (Channel.FAT, Channel.WATER, Channel.IMAGE)}
    kept = {str(name): (file, results[file.name]) for name, file in made.items() if file.name in results}
    given = {name: told for name, told in inputs.items() if name in CHANNELS and "file" in told}
    return kept or {name: (Path(told["file"]), told["sha256"]) for name, told in given.items()}


def _located(file: Path, sha256: str, folder: Path) -> Path:
    """Find an image that was named from where `segment` was started.

    Raises:
        InputError: It is gone, or is another one by now.
    """
    places = [file, *(above / file for above in folder.resolve().parents)]
    there = [place for place in dict.fromkeys(places) if is_there(place)]
    if not there:
        raise InputError(f"{file}: the image is gone; put it back, or start review where segment was started")
    same = next((place for place in there if digest_of_input(place) == sha256), None)
    if same is None:
        raise InputError(f"{there[0]}: is not the image that was segmented; put that back, or segment it again")
    return same


def _measuring(told: Mapping[str, Any] | None) -> Measuring:
    """Measure as the automatic mask was measured."""
    return PLAIN if told is None else Measuring.asked(told["erode_mm"], told["slices"], told["with_cut"])


def _rows(folder: Path) -> list[dict[str, Any]]:
    """Read the measurements of a mask; what an earlier release did not write is None."""
    file = next((file for name in (TABLE, OLD_TABLE) if is_file(file := folder / name)), None)
    return [] if file is None else [dict.fromkeys(COLUMNS[3:]) | row for row in _read(file)]


def _read(file: Path) -> Iterator[dict[str, Any]]:
    if not is_file(file):
        return
    with file.open(encoding="utf-8", newline="") as content:
        for row in csv.DictReader(content):
            yield {name: _value(name, as_it_was(value or "")) for name, value in row.items()}


def _value(name: str, text: str) -> str | float | None:
    return text if name not in _KINDS else _KINDS[name](text) if text else None
