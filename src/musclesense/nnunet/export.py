"""A cohort as a raw data set of nnU-Net v2, with the folds of one outer fold as its splits.

Format: nnU-Net v2, ``documentation/dataset_format.md`` and ``documentation/manual_data_splits.md``.
"""

import os
import re
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from musclesense.cohort import checks
from musclesense.cohort.cache import labelled_slices
from musclesense.cohort.folds import NestedFolds
from musclesense.cohort.images import read_channel, read_reference
from musclesense.cohort.table import Acquisition, CohortTable
from musclesense.errors import InputError
from musclesense.imaging.grid import take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Volume, write_volume
from musclesense.nnunet.record import FILE_ENDING, SPLITS, ExportedScan, Record
from musclesense.nnunet.slices import single_slice
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.paths import require_free
from musclesense.storage.records import write_json
from musclesense.studies.layout import FOLDS
from musclesense.vocabulary import Region

_RESERVED = ("background", "ignore")


def export(
    table: CohortTable,
    out: Path,
    *,
    channels: Sequence[str],
    labels: LabelSet,
    column: str,
    regions: Collection[Region],
    folds: NestedFolds,
    outer: int,
) -> Record:
    """Write the labelled slices of a cohort as a raw data set of nnU-Net.

    Each slice is a case: a 3-D image of one slice for each channel, in the very voxels of the scan, and class indices
    as labels. What an outer fold trains and validates on are nnU-Net's training cases, and the inner folds its splits;
    what it tests is nnU-Net's test set. The folder also holds ``folds.json``, with all nested folds, and
    ``musclesense.json``, the record of what each case is.

    Args:
        table: The cohort.
        out: Folder to make; nnU-Net wants ``DatasetNNN_Name``.
        channels: Of the table, in the order that nnU-Net will number them.
        labels: Classes that are told apart.
        column: Column of the table with the labels.
        regions: Regions whose rows are taken.
        folds: Nested folds of these rows.
        outer: Outer fold whose test cases are the test set.

    Raises:
        InputError: The cohort cannot be used, the folder exists or is named otherwise, nnU-Net gives a class's name
            another meaning, or there is no such fold.
    """
    _require_name(out)
    if reserved := [name for name in labels.names if name in _RESERVED]:
        raise InputError(f"labels: nnU-Net reserves the name {reserved[0]!r} of a class; rename it")
    if len(set(channels)) != len(channels):
        raise InputError(f"channels {', '.join(channels)}: one occurs twice; name each once")
    folds.split(outer, 0)
    checks.check(table, channels=channels, regions=regions, label_column=column, labels=labels)
    rows = [row for row in table.acquisitions if row.region in regions]
    tested = frozenset(folds.outer[outer])
    with atomic_folder(out) as draft:

        def write(row: Acquisition) -> ExportedScan:
            return _write_scan(row, draft, "Ts" if row.subject in tested else "Tr", channels, labels, column)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            scans = tuple(pool.map(write, rows))
        record = Record(
            table=table.path,
            digest=table.digest,
            column=column,
            channels=tuple(channels),
            labels=labels,
            outer=outer,
            scans=scans,
        )
        training = sum(len(scan.slices) for scan in scans if scan.acquisition.subject not in tested)
        write_json(
            draft / "dataset.json",
            {
                "channel_names": {str(number): name for number, name in enumerate(channels)},
                "labels": {"background": 0} | {name: index for index, name in enumerate(labels.names, start=1)},
                "numTraining": training,
                "file_ending": FILE_ENDING,
            },
        )
        write_json(draft / SPLITS, _splits(scans, folds, outer))
        folds.save(draft / FOLDS)
        record.save(draft)
    return record


def _require_name(out: Path) -> None:
    name = out.absolute().name
    if not re.fullmatch(r"Dataset\d{3}_[A-Za-z0-9_-]+", name):
        raise InputError(
            f"{out}: no name of a data set for nnU-Net; give DatasetNNN_Name, three digits and a name of letters, "
            "digits, '-' and '_', such as Dataset101_Thigh"
        )
    require_free(out)


def _write_scan(
    row: Acquisition, out: Path, part: str, channels: Sequence[str], labels: LabelSet, column: str
) -> ExportedScan:
    reference = read_reference(row, column)
    encoded = Volume(labels.encode(reference.data), reference.geometry)
    volumes = [read_channel(row, name) for name in channels]
    numbers = tuple(labelled_slices(row, column))
    classes = np.unique([take_slice(encoded.data, encoded.geometry, number) for number in numbers])
    scan = ExportedScan(
        acquisition=replace(row, channels={}, mask=None, compartments=None, fat_fraction=None),
        part=part,
        shape=reference.geometry.shape,
        affine=reference.geometry.affine,
        slices=numbers,
        classes=frozenset(classes[classes > 0].tolist()),
    )
    for number in numbers:
        for channel, volume in enumerate(volumes):
            image = single_slice(volume, number)
            write_volume(scan.image(out, number, channel), image.data, image.geometry, image.data.dtype)
        truth = single_slice(encoded, number)
        write_volume(scan.truth(out, number), truth.data, truth.geometry, np.uint8)
    return scan


def _splits(scans: Sequence[ExportedScan], folds: NestedFolds, outer: int) -> list[dict[str, list[str]]]:
    """Give the inner folds as nnU-Net's splits."""

    def cases(subjects: Collection[str]) -> list[str]:
        return [scan.case(number) for scan in scans if scan.acquisition.subject in subjects for number in scan.slices]

    splits = [folds.split(outer, inner) for inner in range(len(folds.inner[outer]))]
    return [{"train": cases(split.train), "val": cases(split.validation)} for split in splits]
