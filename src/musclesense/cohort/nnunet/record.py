"""What a data set for nnU-Net was made from, written beside it so that nothing is lost on the way back."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.table import LABEL_COLUMNS, Acquisition, Limbs, Region
from musclesense.errors import InputError
from musclesense.files import read_json, write_json
from musclesense.imaging.labels import LabelSet

RECORD = "musclesense.json"
FOLDS = "folds.json"
SPLITS = "splits_final.json"
FILE_ENDING = ".nii.gz"
PARTS = ("Tr", "Ts")


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """One acquisition of a data set.

    Attributes:
        acquisition: Its row of the table, without files.
        part: ``Tr`` for training cases (D3 and D4), ``Ts`` for the test set (D2), as nnU-Net names its folders.
        shape: Voxels of the whole scan.
        affine: Where they lie, 4 x 4.
        slices: The labelled slices, each a case of nnU-Net.
        classes: The class indices that they hold, background left out.
    """

    acquisition: Acquisition
    part: str
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    slices: tuple[int, ...]
    classes: frozenset[int]

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
    """Where the cases of a data set come from.

    Attributes:
        table: The cohort table.
        digest: SHA-256 of its bytes.
        column: Its column of reference labels.
        channels: Its channels, in nnU-Net's order.
        labels: What nnU-Net's label values, the class indices, mean.
        outer: Outer fold whose D2 is the test set.
        scans: Every acquisition.
    """

    table: Path
    digest: str
    column: str
    channels: tuple[str, ...]
    labels: LabelSet
    outer: int
    scans: tuple[Scan, ...] = field(repr=False)

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
        """Read the record that :meth:`save` wrote.

        Raises:
            InputError: The file is missing, or somebody changed it so that it cannot be understood.
        """
        path, remedy = folder / RECORD, "give a folder that 'musclesense export-nnunet' wrote"
        content = read_json(path, remedy=remedy)
        try:
            record = cls(
                table=Path(content["table"]),
                digest=str(content["digest"]),
                column=content["column"],
                channels=tuple(content["channels"]),
                labels=LabelSet.from_config(content["classes"]),
                outer=int(content["outer"]),
                scans=tuple(map(_from_plain, content["scans"])),
            )
            if record.column not in LABEL_COLUMNS:
                raise ValueError(f"column {record.column!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: no readable record ({' '.join(str(error).split())}); {remedy}") from error
        return record


def image_file(folder: Path, part: str, case: str, channel: int, ending: str = FILE_ENDING) -> Path:
    """Name the image of a case and a channel, as nnU-Net does."""
    return folder / f"images{part}" / f"{case}_{channel:04}{ending}"


def label_file(folder: Path, part: str, case: str, ending: str = FILE_ENDING) -> Path:
    """Name the labels of a case, as nnU-Net does."""
    return folder / f"labels{part}" / f"{case}{ending}"


def _to_plain(scan: Scan) -> dict[str, Any]:
    row = scan.acquisition
    return {
        "line": row.line,
        "subject": row.subject,
        "session": row.session,
        "group": row.group,
        "region": row.region.value,
        "limbs": row.limbs.value,
        "slice": row.slice,
        "part": scan.part,
        "shape": scan.shape,
        "affine": scan.affine.tolist(),
        "cases": {scan.case(number): number for number in scan.slices},
        "classes": sorted(scan.classes),
    }


def _from_plain(plain: dict[str, Any]) -> Scan:
    i, j, k = map(int, plain["shape"])
    affine = np.array(plain["affine"], dtype=np.float64)
    if affine.shape != (4, 4):
        raise ValueError(f"affine of shape {affine.shape}")
    if plain["part"] not in PARTS or not plain["cases"]:
        raise ValueError(f"line {plain['line']}: part {plain['part']!r}, cases {plain['cases']}")
    return Scan(
        acquisition=Acquisition(
            line=int(plain["line"]),
            subject=str(plain["subject"]),
            session=str(plain["session"]),
            group=str(plain["group"]),
            region=Region(plain["region"]),
            limbs=Limbs(plain["limbs"]),
            slice=None if plain["slice"] is None else int(plain["slice"]),
        ),
        part=plain["part"],
        shape=(i, j, k),
        affine=affine,
        slices=tuple(plain["cases"].values()),
        classes=frozenset(plain["classes"]),
    )
