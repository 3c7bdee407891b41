"""A mask that somebody corrected: measured as the networks' own, and compared with it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import ArgumentError, InputError
from musclesense.imaging.grid import slice_count, slices_with, take_slice
from musclesense.imaging.labels import LabelSet, mirrored_name
from musclesense.imaging.nifti import Geometry, value_problems
from musclesense.imaging.nrrd import is_nrrd, segment_names
from musclesense.imaging.reader import ImageLike, image_file, image_name, read_image
from musclesense.imaging.turning import laid, whole_labels
from musclesense.messages import log
from musclesense.segmentation.measured import (
    CHANGES,
    MASK,
    MeasuredMask,
    is_of,
    named,
    read_record,
    require_place,
    versions,
)
from musclesense.segmentation.measuring import PLAIN, Measuring
from musclesense.segmentation.scan import Scan, limbs_of, word_of
from musclesense.storage.digests import digest_of_bytes
from musclesense.storage.paths import is_file
from musclesense.storage.records import write_csv
from musclesense.vocabulary import Limbs

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

CHANGE_COLUMNS = (
    *("slice", "limb", "label", "voxels_automatic", "voxels", "voxels_added", "voxels_removed"),
    *("fat_fraction_percent_automatic", "fat_fraction_percent"),
)


@dataclass(frozen=True, eq=False)
class CorrectedMask:
    """A corrected mask.

    Attributes:
        measured: The mask in the voxels of the scan, and what is measured in it.
        file: Where it was read; None where it was held in memory.
        automatic: The mask that it was made from, measured alike, where that is known.
        automatic_folder: Where that lies.
    """

    measured: MeasuredMask
    file: Path | None
    automatic: MeasuredMask | None
    automatic_folder: Path | None

    @property
    def mask(self) -> NDArray[np.uint16]:
        """The mask with the values of the labels, in the voxels of the scan."""
        return self.measured.mask

    @property
    def table(self) -> "DataFrame":
        """Measurements, as those of a segmentation."""
        return self.measured.table

    @cached_property
    def change_rows(self) -> list[dict[str, Any]] | None:
        """The rows of `changes`."""
        return None if self.automatic is None else _compare(self.automatic, self.measured)

    @property
    def changes(self) -> "DataFrame | None":
        """What was changed in each label: by slice and limb, then over ``all`` slices; None without an automatic mask.

        Over ``all`` slices, voxels and fat fractions are those of the tables of both masks, which leave out slices
        that were not asked for and what the edge of the image cuts.
        """
        from pandas import DataFrame  # takes long to import

        return None if self.change_rows is None else DataFrame(self.change_rows, columns=list(CHANGE_COLUMNS))

    def figure(self) -> "Image":
        """Draw the outline of the mask on slices of the scan."""
        return self.measured.figure()

    def tell(self) -> None:
        """Say what was changed."""
        if self.change_rows is None or self.automatic is None:
            return
        count = slice_count(self.measured.geometry)
        total = [row for row in self.change_rows if row["slice"] == "all"]
        added, removed = (sum(row[f"voxels_{kind}"] for row in total) for kind in ("added", "removed"))
        log.info(f"changed: {len(self._changed_slices)} of {count} slices, {added} voxels added, {removed} removed")
        for row in total:
            before, after = row["fat_fraction_percent_automatic"], row["fat_fraction_percent"]
            if before is not None and after is not None:
                log.info(f"{row['limb']} {row['label']}: fat fraction {before:.2f} % before, {after:.2f} % now")

    @property
    def _changed_slices(self) -> list[int]:
        assert self.automatic is not None
        return slices_with(self.automatic.classes != self.measured.classes, self.measured.geometry)

    def save(
        self, folder: str | Path, *, anonymous: bool = False, said: Mapping[str, str] = MappingProxyType({})
    ) -> Path:
        """Write what `Segmentation.save` writes and, where the automatic mask is known, ``changes.csv``.

        The mask is written in the scan's own voxels, with its affine.

        Args:
            folder: Another one than that of the automatic mask, which is kept.
            anonymous: Leave the names of files out of ``run.json``.
            said: What else it tells of the correction, such as ``by`` and ``at``.

        Returns:
            The folder.

        Raises:
            InputError: As of `Segmentation.save`.
        """
        out, rows = Path(folder), self.change_rows
        if self.automatic_folder is not None and out.exists() and out.samefile(self.automatic_folder):
            raise InputError(f"{out}: holds the automatic mask, which is kept; give another folder")
        more = {} if rows is None else {CHANGES: partial(_write_changes, rows)}
        require_place(out, (CHANGES, *self.measured.files), corrected=True)
        return self.measured.save(out, self._record(anonymous, said), more)

    def _record(self, anonymous: bool, said: Mapping[str, str]) -> dict[str, Any]:
        scan, corrected = self.measured.scan, dict[str, Any](said)
        files = dict(scan.files) if self.file is None else {**scan.files, "mask": self.file}
        if self.automatic is not None:
            corrected["slices_changed"] = self._changed_slices
        return {
            "versions": versions(),
            "limbs": str(self.measured.limbs),
            "off_level": {str(number): str(place) for number, place in self.measured.off.items()},
            "phase_unit": scan.phase_unit,
            "inputs": {name: named(path, anonymous) for name, path in files.items()},
            "labels": self.measured.labels.to_config(),
            "networks": [],
            "corrected": corrected,
        }


def _write_changes(rows: list[dict[str, Any]], path: Path) -> None:
    digits = ("fat_fraction_percent_automatic", "fat_fraction_percent")
    write_csv(
        path,
        CHANGE_COLUMNS,
        [row | {name: "" if row[name] is None else f"{row[name]:.2f}" for name in digits} for row in rows],
    )


def measure(
    mask: ImageLike,
    scan: Scan,
    *,
    labels: LabelSet | None = None,
    limbs: str = "auto",
    automatic: Path | None = None,
    measuring: Measuring = PLAIN,
) -> CorrectedMask:
    """Measure a mask that was corrected, as `musclesense.measure` says."""
    measuring.require_slices(scan.geometry)
    file = image_file(mask)
    folder = automatic or (None if file is None else file.parent)
    record = None if folder is None else read_record(folder)
    if automatic is not None and record is None:
        raise ArgumentError("{automatic}: holds no results of segment; give their folder", automatic=str(automatic))
    known = record or {}
    values, names = read_values(mask, scan.geometry), {} if file is None else _names_in(file)
    if labels is None:
        labels = LabelSet.from_config(known["labels"]) if "labels" in known else _labels_of(values, names)
    classes = _encode(values, labels, names, image_name(mask, "mask"))
    told = str(known.get("limbs", limbs)) if limbs == "auto" else limbs
    shown = limbs_of(scan) if told == "auto" else word_of(Limbs, "limbs", told)
    off = {int(number): str(place) for number, place in known.get("off_level", {}).items()}
    measured = MeasuredMask(scan, classes, labels, shown, measuring, off=off)
    before = None if folder is None or record is None else _automatic(folder, record, measured, file)
    measured.tell()
    made = CorrectedMask(measured, file, before, None if record is None else folder)
    made.tell()
    return made


def _automatic(
    folder: Path, record: Mapping[str, Any], measured: MeasuredMask, file: Path | None
) -> MeasuredMask | None:
    """Read the mask that networks wrote into a folder, where it is still there."""
    own = folder / MASK
    if not is_file(own):
        log.warning(f"{own}: is gone; what was changed is not known")
        return None
    if not is_of(record, own, digest_of_bytes(own)):
        if file is not None and own.samefile(file):
            log.warning(f"{own}: was corrected in its place; what was changed is not known")
            return None
        log.warning(f"{own}: was changed after it was written; it is compared as it is now")
    try:
        values = read_values(own, measured.geometry)
    except InputError as error:
        log.warning(f"what was changed is not known: {error}")
        return None
    return replace(measured, classes=measured.labels.encode(values))


def read_values(mask: ImageLike, geometry: Geometry) -> NDArray[Any]:
    """Read the labels of a mask in the voxels of a scan: whole numbers of ``geometry.shape``.

    Raises:
        InputError: They are none, or lie elsewhere.
    """
    name = image_name(mask, "mask")
    given = whole_labels(read_image(mask, "mask"))
    volume = laid(given, geometry)
    if volume is not given and given.data.size != volume.data.size:
        log.info(f"{name}: holds {given.data.size} of {volume.data.size} voxels; the others are taken as background")
    problems = [f"{name}: {problem}" for problem in value_problems(volume.data)]
    if difference := geometry.difference(volume.geometry):
        problems.append(f"{name}: {difference} of the image; draw the mask on the image that is given")
    if not problems and (volume.data < 0).any():
        problems.append(f"{name}: label {volume.data.min():.5g} is negative; count labels from 0")
    if not problems and (volume.data != np.rint(volume.data)).any():
        problems.append(f"{name}: holds parts of numbers, as a smoothed mask does; save labels as whole numbers")
    if problems:
        raise InputError(*problems)
    return volume.data


def _names_in(file: Path) -> dict[int, str]:
    """Give the names of segments that a file holds."""
    return segment_names(file) if is_nrrd(file) else {}


def _labels_of(values: NDArray[Any], names: Mapping[int, str]) -> LabelSet:
    """Name the labels of a mask: as its file does; else one is muscle, and several have their numbers."""
    found = [int(value) for value in np.unique(values) if value]
    if len(found) <= 1:
        return LabelSet.from_config({"muscle": []})
    own = [names.get(value) or f"label_{value}" for value in found]
    if len({*own}) < len(own):
        own = [f"label_{value}" for value in found]
    named = {name: [value] for name, value in zip(own, found, strict=True)}
    for name in own:  # of one limb, names have its side alone
        named.setdefault(mirrored_name(name), [max(value for values in named.values() for value in values) + 1])
    return LabelSet.from_config(named)


def _encode(values: NDArray[Any], labels: LabelSet, names: Mapping[int, str], said: str) -> NDArray[np.uint8]:
    """Turn values into class indices; where the file names its segments as the labels are named, names decide."""
    if names and {*names.values()} <= {*labels.names}:
        classes = np.zeros(values.shape, np.uint8)
        for value, name in names.items():
            classes[values == value] = labels.names.index(name) + 1
    else:
        classes = labels.encode(values)
    if (unknown := np.unique(values[(classes == 0) & (values > 0)])).size:
        shown = ", ".join(f"{value:g}" for value in unknown[:5])
        known = ", ".join(f"{value} {name}" for value, name in zip(labels.written, labels.names, strict=True))
        raise InputError(f"{said}: value {shown} is no label ({known}); correct the mask, or give other labels")
    if not classes.any():
        raise InputError(f"{said}: holds no label; give the mask as it was saved")
    return classes


def _counted(had: NDArray[np.bool_], has: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.array([np.count_nonzero(one) for one in (had, has, has & ~had, had & ~has)])


def _compare(before: MeasuredMask, after: MeasuredMask) -> list[dict[str, Any]]:
    """Count voxels that one mask has and the other has not, in each row of their tables."""
    rows, totals = [], dict[tuple[str, str], NDArray[np.int64]]()
    halves = {str(limb): half for limb, half in after.halves.items()}
    for old, new in zip(before.rows, after.rows, strict=True):
        key = (new["limb"], new["label"])
        counts = totals.setdefault(key, np.zeros(4, np.int64))
        if new["slice"] != "all":
            index = after.labels.names.index(new["label"]) + 1
            inside, had, has = (
                take_slice(volume, after.geometry, new["slice"])
                for volume in (halves[new["limb"]], before.classes, after.classes)
            )
            had, has = (had == index) & inside, (has == index) & inside
            counts = _counted(had, has)
            # As the totals of both tables: what one of them leaves out, it does not have.
            totals[key] += _counted(had & bool(old["counted_slices"]), has & bool(new["counted_slices"]))
        row = dict(zip(CHANGE_COLUMNS[:-2], (new["slice"], *key, *counts.tolist()), strict=True))
        fractions = (old["fat_fraction_percent"], new["fat_fraction_percent"])
        rows.append(row | dict(zip(CHANGE_COLUMNS[-2:], fractions, strict=True)))
    return rows
