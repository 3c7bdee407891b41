"""What a data set for nnU-Net was made from, written beside it so that nothing is lost on the way back."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.dialects import MOST_ROWS
from musclesense.cohort.folds import MOST_FOLDS, NestedFolds
from musclesense.cohort.table import LABEL_COLUMNS, LARGEST_TABLE_BYTES, Acquisition, cell_problem
from musclesense.errors import InputError
from musclesense.imaging.grid import slice_count
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import MOST_VOXELS, Geometry, affine_problem
from musclesense.storage.records import read_json, require_format, write_json
from musclesense.studies.layout import FOLDS
from musclesense.vocabulary import CHANNELS, Limbs, Region

RECORD = "musclesense.json"
SPLITS = "splits_final.json"
FILE_ENDING = ".nii.gz"
FORMAT = 2
PARTS = ("Tr", "Ts")
_REMEDY = "give a folder that 'musclesense export-nnunet' wrote"
_LONGEST_AXIS = 2**15 - 1  # of NIfTI-1


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedScan:
    """One acquisition of a data set."""

    acquisition: Acquisition  # its row of the table, without files
    part: str  # ``Tr`` for what is trained and validated on, ``Ts`` for the test set, as nnU-Net names its folders
    shape: tuple[int, int, int]  # voxels of the whole scan
    affine: NDArray[np.float64]  # where they lie, 4 x 4
    slices: tuple[int, ...]  # the labelled slices, each a case of nnU-Net
    classes: frozenset[int]  # the class indices that they hold, background left out

    def case(self, number: int) -> str:
        """Name the case of a slice. A subject's name may hold what no file name can, so the line stands for it."""
        return f"line{self.acquisition.line:05}_slice{number:03}"

    def image(self, folder: Path, number: int, channel: int) -> Path:
        """Name the image of a slice and a channel in the folder of the data set."""
        return image_file(folder, self.part, self.case(number), channel)

    def truth(self, folder: Path, number: int) -> Path:
        """Name the labels of a slice in the folder of the data set."""
        return label_file(folder, self.part, self.case(number))


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """Where the cases of a data set come from."""

    table: Path  # the cohort table
    digest: str  # SHA-256 of its bytes
    column: str  # its column of reference labels
    channels: tuple[str, ...]  # its channels, in nnU-Net's order
    labels: LabelSet  # what nnU-Net's label values, the class indices, mean
    outer: int  # outer fold whose test cases are the test set
    scans: tuple[ExportedScan, ...] = field(repr=False)  # every acquisition

    @cached_property
    def classes_of(self) -> dict[Region, frozenset[int]]:
        """The class indices that some case of a region has: a calf has no rectus femoris."""
        found: dict[Region, frozenset[int]] = {}
        for scan in self.scans:
            region = scan.acquisition.region
            found[region] = found.get(region, frozenset()) | scan.classes
        return found

    def save(self, folder: Path) -> None:
        """Write the record into the folder of a data set, atomically."""
        write_json(
            folder / RECORD,
            {
                "format": FORMAT,
                "table": str(self.table.absolute()),
                "digest": self.digest,
                "column": self.column,
                "channels": self.channels,
                "classes": self.labels.to_config(),
                "outer": self.outer,
                "scans": [_to_plain(scan) for scan in self.scans],
            },
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the record that :meth:`save` wrote, in this release or an earlier one.

        Raises:
            InputError: The file is missing, or somebody changed it so that it cannot be understood.
        """
        path = folder / RECORD
        content = read_json(path, remedy=_REMEDY)
        require_format(path, content, newest=FORMAT)
        try:
            labels = LabelSet.from_config(content["classes"])
            return cls(
                table=Path(_text(content, "table")),
                digest=_text(content, "digest"),
                column=_one_of(content, "column", LABEL_COLUMNS),
                channels=_channels(content["channels"]),
                labels=labels,
                outer=_whole("outer", content["outer"], 0, MOST_FOLDS - 1),
                scans=_scans(content["scans"], labels.n_classes),
            )
        except (InputError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise InputError(f"{path}: no readable record ({reason}); {_REMEDY}") from error


def load_with_folds(folder: Path) -> tuple[Record, NestedFolds]:
    """Read the record and the folds of a data set that `export` wrote.

    Raises:
        InputError: One cannot be read, or they are not of the same cases.
    """
    record, folds = Record.load(folder), NestedFolds.load(folder / FOLDS, remedy=_REMEDY)
    part_of = {subject: "Tr" for subject in folds.subjects}
    if record.outer < len(folds.outer):
        part_of |= {subject: "Ts" for subject in folds.outer[record.outer]}
    parts = {(scan.acquisition.subject, scan.part) for scan in record.scans}
    if parts != {*part_of.items()} or "Ts" not in part_of.values():
        raise InputError(f"{folder / FOLDS}: other folds than those of {RECORD}; {_REMEDY}")
    return record, folds


def image_file(folder: Path, part: str, case: str, channel: int, ending: str = FILE_ENDING) -> Path:
    """Name the image of a case and a channel, as nnU-Net does."""
    return folder / f"images{part}" / f"{case}_{channel:04}{ending}"


def label_file(folder: Path, part: str, case: str, ending: str = FILE_ENDING) -> Path:
    """Name the labels of a case, as nnU-Net does."""
    return folder / f"labels{part}" / f"{case}{ending}"


def _to_plain(scan: ExportedScan) -> dict[str, Any]:
    row = scan.acquisition
    return {
        **{name: getattr(row, name) for name in ("line", "subject", "session", "group", "region", "limbs", "slice")},
        "part": scan.part,
        "shape": scan.shape,
        "affine": scan.affine.tolist(),
        "cases": {scan.case(number): number for number in scan.slices},
        "classes": sorted(scan.classes),
    }


def _scans(content: Any, n_classes: int) -> tuple[ExportedScan, ...]:
    if not isinstance(content, list) or not 1 <= len(content) <= MOST_ROWS:
        raise ValueError(f"scans are no list of 1 to {MOST_ROWS}")
    scans: dict[int, ExportedScan] = {}
    for plain in content:
        line = _whole("line", plain["line"], 2, LARGEST_TABLE_BYTES)
        if line in scans:
            raise ValueError(f"line {line} occurs twice")
        try:
            scans[line] = _from_plain(plain, line, n_classes)
        except ValueError as error:
            raise ValueError(f"line {line}: {error}") from error
    return tuple(scans.values())


def _from_plain(plain: dict[str, Any], line: int, n_classes: int) -> ExportedScan:
    i, j, k = (_whole("shape", length, 1, _LONGEST_AXIS) for length in plain["shape"])
    if i * j * k > MOST_VOXELS:
        raise ValueError(f"shape {i}x{j}x{k} has more than {MOST_VOXELS} voxels")
    affine = np.array(plain["affine"], dtype=np.float64)
    if affine.shape != (4, 4) or affine[3].tolist() != [0, 0, 0, 1]:
        raise ValueError("affine is not 4 x 4 with a last row of 0, 0, 0, 1")
    if problem := affine_problem(affine):
        raise ValueError(problem)
    last = slice_count(Geometry.from_affine((i, j, k), affine)) - 1
    scan = ExportedScan(
        acquisition=Acquisition(
            line=line,
            subject=_text(plain, "subject"),
            session=_text(plain, "session", blank=True),
            group=_text(plain, "group", blank=True),
            region=Region(plain["region"]),
            limbs=Limbs(plain["limbs"]),
            slice=None if plain["slice"] is None else _whole("slice", plain["slice"], 0, last),
        ),
        part=_one_of(plain, "part", PARTS),
        shape=(i, j, k),
        affine=affine,
        slices=tuple(_whole("slice", number, 0, last) for number in plain["cases"].values()),
        classes=frozenset(_whole("class", index, 1, n_classes) for index in plain["classes"]),
    )
    if not scan.slices or plain["cases"] != {scan.case(number): number for number in scan.slices}:
        raise ValueError(f"cases {plain['cases']} are not named after line and slice")
    return scan


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{name} {value!r} is no whole number from {least} to {most}")
    return value


def _text(content: dict[str, Any], name: str, *, blank: bool = False) -> str:
    value = content[name]
    if not isinstance(value, str) or not (value or blank):
        raise ValueError(f"{name} {value!r} is no text")
    if problem := cell_problem(value):
        raise ValueError(f"{name} {value!r} {problem}")
    return value


def _one_of(content: dict[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = content[name]
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} {value!r} is not {' or '.join(known)}")
    return value


def _channels(content: Any) -> tuple[str, ...]:
    names = tuple(content) if isinstance(content, list) else ()
    if not names or not all(isinstance(name, str) and name in CHANNELS for name in names) or len({*names}) < len(names):
        raise ValueError(f"channels {content!r} are no different ones of {', '.join(CHANNELS)}")
    return names
