"""A mask of a scan: what is measured in it, and the folder that it is saved in."""

import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from musclesense.errors import InputError
from musclesense.imaging.grid import Placement, slice_count, take_slice
from musclesense.imaging.label_files import bids_table, itk_snap_labels, slicer_colours
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.limbs import part_limbs
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.messages import in_runs, log
from musclesense.segmentation.measuring import CUT, DIGITS, DOUBTFUL, LEFT_OUT, OFF_LEVEL, PLAIN, Measuring, measure
from musclesense.segmentation.scan import FAT_FRACTION, Scan
from musclesense.segmentation.trust import Key
from musclesense.storage.atomic import atomic_path
from musclesense.storage.digests import digest_of_bytes, digest_of_input, sha256_of
from musclesense.storage.paths import is_dicom, is_file, is_there, require_writable
from musclesense.storage.records import read_json, write_csv, write_json, write_text
from musclesense.version import __version__
from musclesense.vocabulary import Channel, Limbs, Side

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

MASK, TABLE, OLD_TABLE, PICTURE, PAGE, RECORD = (
    *("mask.nii.gz", "measurements.csv", "fat_fraction.csv", "qc.png", "qc.html", "run.json"),
)
LABEL_FILES: Mapping[str, Callable[[LabelSet], str]] = {
    "dseg.tsv": bids_table,
    "labels-itk-snap.txt": itk_snap_labels,
    "labels-slicer.ctbl": slicer_colours,
}
FILES = (MASK, TABLE, OLD_TABLE, *LABEL_FILES, PICTURE, PAGE, RECORD)
MAPS = tuple(f"{name}.nii.gz" for name in (Channel.FAT, Channel.WATER, Channel.IMAGE, FAT_FRACTION))
"""What may be kept beside them: images that were made from echoes or of DICOM."""
SEGMENTATION = "mask.dcm"
"""The mask as a DICOM segmentation, where that is asked for."""
CHANGES = "changes.csv"
"""What was changed in a mask that somebody corrected."""
RECORD_FORMAT = 2
_PNG_EFFORT = 3  # of 9: more takes longer than the drawing, and saves a tenth
Writer = Callable[[Path], None]
NOTHING: Mapping[str, Writer] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class MeasuredMask:
    """A mask of a scan.

    Attributes:
        scan: The images.
        classes: Class indices (0 is background), uint8 of ``geometry.shape``.
        labels: What they are.
        limbs: Both limbs side by side, or the one that the scan shows.
        measuring: How it is measured.
        place: Lays the networks' frame over a slice; None where no network made the mask.
        off: Slices that show something else than the region, and what; totals leave them out.
        scored: Scores its limbs in each slice; None where no network made the mask.
    """

    scan: Scan
    classes: NDArray[np.uint8]
    labels: LabelSet
    limbs: Limbs
    measuring: Measuring = PLAIN
    place: Callable[[int], Placement] | None = None
    off: Mapping[int, str] = field(default_factory=dict)
    scored: "Callable[[MeasuredMask], Mapping[Key, float]] | None" = None

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return self.scan.geometry

    @property
    def mask(self) -> NDArray[np.uint16]:
        """The mask with the values of the labels, of ``geometry.shape``."""
        return self.labels.decode(self.classes)

    @cached_property
    def halves(self) -> Mapping[Side | Limbs, NDArray[np.bool_]]:
        """The part of the volume in which each limb lies, of ``geometry.shape``; a piece of another is in none."""
        return part_limbs(self.scan.limbs, self.limbs, self.scan.bodies, self.geometry)

    @cached_property
    def beyond(self) -> NDArray[np.bool_] | None:
        """The body beyond the networks' frame, of ``geometry.shape``: nothing of it is segmented."""
        if self.place is None:
            return None
        beyond: NDArray[np.bool_] = self.scan.bodies.copy()
        for number in range(slice_count(self.geometry)):
            placement = self.place(number)
            inside = placement.to_scanner(np.ones(placement.grid_shape)) > 0.5
            take_slice(beyond, self.geometry, number)[inside] = False
        return beyond

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of `table`; what is not known is None."""
        quality = {} if self.scored is None else self.scored(self)
        return measure(
            self.scan, self.classes, self.labels, self.halves, self.beyond, self.measuring, self.off, quality
        )

    @cached_property
    def table(self) -> "DataFrame":
        """Measurements of each label: by slice and limb, then over ``all`` slices that are counted."""
        from pandas import DataFrame  # takes long to import

        table = DataFrame(self.rows, columns=list(self.measuring.columns))
        return table.astype({name: float for name in DIGITS if name in table})

    def placement(self, number: int) -> Placement | None:
        """Give where the networks' frame lies on a slice, None where there is none."""
        return None if self.place is None else self.place(number)

    def figure(self) -> "Image":
        """Draw the outline of the mask on slices of the scan."""
        from musclesense.segmentation.quality import draw_quality_control

        return draw_quality_control(self)

    @property
    def files(self) -> tuple[str, ...]:
        """The names of what `save` writes, the record last."""
        return files_of(self.scan)

    def tell(self) -> None:
        """Warn of slices that totals leave out: they show another place, or the edge of the image cuts them."""
        for place in dict.fromkeys(self.off.values()):
            own = in_runs(number for number, other in self.off.items() if other == place)
            log.warning(f"measurements: the {place} is seen in slice {own}; totals leave that out")
        slices = self.rows[: -len(self.halves) * self.labels.n_classes]
        if shown := in_runs(row["slice"] for row in slices if DOUBTFUL in row["flags"].split()):
            log.warning(f"quality: the mask is doubtful in slice {shown}; look at qc.html")
        cut = {row["slice"] for row in slices if _is_lost(row)}
        if cut:
            count = slice_count(self.geometry)
            log.warning(
                f"measurements: the edge of the image cuts muscle in {len(cut)} of {count} slices, "
                "which totals leave out; --with-cut counts it"
            )

    def save(self, folder: Path, record: Mapping[str, Any], more: Mapping[str, Writer] = NOTHING) -> Path:
        """Write all `files`, or none; maps and changes of another mask do not stay beside them.

        Args:
            folder: Made where it is missing. Results of an earlier call are replaced, unless somebody changed them.
            record: What made the mask.
            more: What else is written beside them, by name.

        Raises:
            InputError: It cannot be written, or holds a file of another origin, or a changed one, under one of the
                names.
        """
        from musclesense.segmentation.page import quality_page

        names = (*more, *self.files)
        replaced = require_place(folder, names, corrected="corrected" in record)
        with ExitStack() as drafts:
            places = {name: drafts.enter_context(atomic_path(folder / name)) for name in names}
            label_names = next(iter(LABEL_FILES)) if self.labels.n_classes > 1 else None
            write_volume(places[MASK], self.mask, self.geometry, np.uint16, label_names=label_names)
            for name, write in more.items():
                write(places[name])
            for name in (TABLE, OLD_TABLE):
                write_csv(places[name], self.measuring.columns, [as_text(row) for row in self.rows])
            for name, text in LABEL_FILES.items():
                write_text(places[name], text(self.labels))
            for name in self.scan.made:
                write_volume(places[f"{name}.nii.gz"], self._map(name), self.geometry, np.float32)
            self.figure().save(places[PICTURE], "PNG", compress_level=_PNG_EFFORT)
            write_text(places[PAGE], quality_page(self, digest_of_bytes(places[MASK])))
            results = {name: _digest(place) for name, place in places.items() if name != RECORD}
            others = dict(replaced.items() - results.items())
            own = {"format": RECORD_FORMAT, **record, "measured": self.measuring.to_record()}
            write_json(places[RECORD], own | {"results": results, "replaced": others})
        former = [folder / name for name in replaced if name not in names]
        if not {file.resolve() for file in self.scan.files.values()}.intersection(map(Path.resolve, former)):
            for file in former:
                file.unlink(missing_ok=True)
        return folder

    def _map(self, name: str) -> NDArray[Any]:
        if self.scan.fat_fraction is not None and name == FAT_FRACTION:
            return self.scan.fat_fraction
        return self.scan.channels[name]


def files_of(scan: Scan) -> tuple[str, ...]:
    """Give the names of what is saved of a mask of a scan, the record last."""
    return (*FILES[:-1], *(f"{name}.nii.gz" for name in scan.made), RECORD)


def versions() -> dict[str, str]:
    """Say what made a result."""
    return {"musclesense": __version__, "python": platform.python_version(), "numpy": np.__version__}


def named(path: Path, anonymous: bool) -> dict[str, str]:
    """Say which file was read."""
    return ({} if anonymous else {"file": str(path)}) | {"sha256": digest_of_input(path)}


def as_text(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write the numbers of a row with as many digits as mean something."""
    return {
        name: "" if value is None else format(value, DIGITS[name]) if name in DIGITS else value
        for name, value in row.items()
    }


def _is_lost(row: Mapping[str, Any]) -> bool:
    flags = row["flags"].split()
    return CUT in flags and not {LEFT_OUT, OFF_LEVEL} & {*flags} and not row["counted_slices"]


def require_place(folder: Path, names: tuple[str, ...] = FILES, *, corrected: bool = False) -> dict[str, str]:
    """Refuse a folder for results before the work, which takes long.

    Args:
        folder: There, or to be made.
        names: What will be written.
        corrected: Whether that is a corrected mask, which may take the place of an earlier one.

    Returns:
        Digests of the results that will be replaced, by name.

    Raises:
        InputError: It cannot be written, or holds what no earlier call wrote under one of the names, such as a mask
            drawn by hand that lies beside the images, or one that was corrected.
    """
    require_writable(folder)
    record = read_record(folder)
    if record is None and (strangers := [name for name in names if is_there(folder / name)]):
        raise InputError(f"{folder / strangers[0]}: exists and was not made by this command; give another folder")
    if record is not None and "corrected" in record and not corrected:
        raise InputError(f"{folder}: holds a corrected mask, which is kept; give another folder")
    kept = {*names[:-1], *_further(record)}
    there = {name: _digest(folder / name) for name in sorted(kept) if _holds_something(folder / name)}
    changed = [name for name, digest in there.items() if not is_of(record or {}, folder / name, digest)]
    if changed:
        keep = "move it away or give another folder to keep it, or remove it"
        raise InputError(*(f"{folder / name}: was changed after it was written here; {keep}" for name in changed))
    return there


def _further(record: Mapping[str, Any] | None) -> set[str]:
    """Name what an earlier call wrote beside the files that every call writes."""
    told = [(record or {}).get(key) for key in ("results", "replaced")]
    return {
        name
        for digests in told
        if isinstance(digests, dict)
        for name in digests
        if name in (*MAPS, CHANGES, SEGMENTATION)
    }


def _digest(file: Path) -> str:
    return sha256_of(file) if is_file(file) and is_dicom(file) else digest_of_bytes(file)


def _holds_something(file: Path) -> bool:
    return is_there(file) and file.stat().st_size > 0


def read_record(folder: Path) -> dict[str, Any] | None:
    """Read the record of an earlier call in its folder; None where there is none of this command's."""
    try:
        record = read_json(folder / RECORD, remedy="")
    except InputError:
        return None
    return record if isinstance(record, dict) and {"inputs", "networks"} <= record.keys() else None


def is_of(record: Mapping[str, Any], file: Path, digest: str) -> bool:
    """Tell whether a result is as it was written, or, where a call was killed in the end, as it was before."""
    known = [record.get(key) for key in ("results", "replaced")]
    if known == [None, None]:  # of a release that wrote no digests: the record was written last
        return file.stat().st_mtime_ns <= (file.parent / RECORD).stat().st_mtime_ns
    return any(isinstance(digests, dict) and digests.get(file.name) == digest for digests in known)
