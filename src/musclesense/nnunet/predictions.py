"""Masks that another program predicted, as a run of a study: scored as our own networks are."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from musclesense.cohort.folds import NestedFolds
from musclesense.cohort.table import Acquisition, read_table
from musclesense.errors import InputError
from musclesense.imaging.grid import take_slice
from musclesense.imaging.nifti import Volume, read_volume
from musclesense.messages import log
from musclesense.metrics.case import Case, score_slice
from musclesense.nnunet.record import FILE_ENDING, ExportedScan, Record, load_with_folds
from musclesense.nnunet.slices import lay_back, require_classes, require_place, slice_geometry
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.paths import is_file, is_there, require_free
from musclesense.studies.identity import differences
from musclesense.studies.layout import RunFolder, StudyFolder
from musclesense.studies.reading import read_settings
from musclesense.studies.writing import open_study, write_cases, write_done
from musclesense.vocabulary import CHANNELS


def import_predictions(dataset: Path, predictions: Path, study: Path, *, inner: int, table: Path | None = None) -> Path:
    """Score nnU-Net's masks of the test set and write them as a run of a study that ``musclesense report`` reads.

    Args:
        dataset: Folder that `export` wrote.
        predictions: Folder of the masks that nnU-Net predicted for its ``imagesTs``.
        study: Folder of the study, made where it is not there yet.
        inner: nnU-Net's fold: the inner fold that the network was validated on.
        table: The cohort table that was exported, wherever it lies now. None: where it lay; if there is none there, the
            labels of the data set itself are the truth, and fat fractions are not measured.

    Returns:
        The folder of the run.

    Raises:
        InputError: The table has changed since the export, a mask is missing or lies elsewhere, the folder belongs to
            another study, or the run is there already.
    """
    record, folds = load_with_folds(dataset)
    folds.split(record.outer, inner)
    folder = StudyFolder(study)
    run = folder.run(record.outer, inner).path
    require_free(run)
    if table is not None:
        record = replace(record, table=table)
    cases = list(_score(record, dataset, predictions, inner, own=table is None and not is_there(record.table)))
    _open_study(folder, record, folds)
    with atomic_folder(run) as draft:
        own = RunFolder(draft)
        write_cases(own, cases)
        write_done(own, outer=record.outer, inner=inner, predictions=str(predictions.absolute()))
    return run


def _score(record: Record, dataset: Path, predictions: Path, inner: int, *, own: bool) -> Iterator[Case]:
    of_line = {} if own else _rows_of(record)
    if own:
        log.warning(f"{record.table}: not there; {dataset} is scored by its own labels, without fat fractions")
    tested = [scan for scan in record.scans if scan.part == "Ts"]
    files = {
        (scan, number): predictions / f"{scan.case(number)}{FILE_ENDING}" for scan in tested for number in scan.slices
    }
    if missing := [file for file in files.values() if not is_file(file)]:
        more = f", nor are {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{missing[0]}: no such mask{more}; predict all of imagesTs with nnUNetv2_predict")
    for (scan, number), file in files.items():
        acquisition, mask = (
            (scan.acquisition, _own_labels(record, dataset, scan))
            if own
            else _reference(record.table, of_line, scan, record.column)
        )
        predicted = read_volume(file)
        require_place(file, predicted, slice_geometry(mask.geometry, number))
        require_classes(file, predicted.data, record.labels.n_classes)
        yield from score_slice(
            acquisition,
            number,
            mask.geometry,
            outer=record.outer,
            inner=inner,
            labels=record.labels,
            classes=record.classes_of[acquisition.region],
            truth=record.labels.encode(take_slice(mask.data, mask.geometry, number)),
            predicted=predicted.data[..., 0],
        )


def _rows_of(record: Record) -> dict[int, Acquisition]:
    table = read_table(record.table)
    if table.digest != record.digest:
        raise InputError(f"{table.path}: has changed since it was exported; export it again")
    return {row.line: row for row in table.acquisitions}


def _own_labels(record: Record, dataset: Path, scan: ExportedScan) -> Volume:
    """Lay the labels of a scan's test slices back into the scan, with the values of its mask."""
    files = {number: scan.truth(dataset, number) for number in scan.slices}
    laid = lay_back(files, scan.shape, scan.affine)
    for number, file in files.items():
        require_classes(file, take_slice(laid.data, laid.geometry, number), record.labels.n_classes)
    return replace(laid, data=record.labels.decode(laid.data.astype(np.uint8)))


def _reference(
    table: Path, of_line: Mapping[int, Acquisition], scan: ExportedScan, column: str
) -> tuple[Acquisition, Volume]:
    """Give the row of a scan and its labels, which may have changed since they were exported, as may the record."""
    row = of_line.get(scan.acquisition.line)
    file = None if row is None else row.labels(column)
    bare = None if row is None else replace(row, channels={}, mask=None, compartments=None, fat_fraction=None)
    if row is None or file is None or bare != scan.acquisition:
        raise InputError(f"{table}, line {scan.acquisition.line}: is not the scan that was exported; export it again")
    mask = read_volume(file)
    if difference := mask.geometry.moved(scan.shape, scan.affine).difference(mask.geometry):
        raise InputError(f"{file}: {difference}, of the scan that was exported; export it again")
    return row, mask


def _open_study(study: StudyFolder, record: Record, folds: NestedFolds) -> None:
    """Write configuration and folds, or refuse a folder with others."""
    regions = sorted({scan.acquisition.region.value for scan in record.scans})
    content = {
        "folds": {"outer": len(folds.outer), "inner": len(folds.inner[0]), "seed": folds.seed},
        "cohort": {"path": str(record.table)},
        "channels": [name for name in CHANNELS if name in record.channels],
        "region": {"name": "+".join(regions), "regions": regions},
        "labels": {
            "name": ", ".join(record.labels.names[:3]),
            "column": record.column,
            "classes": record.labels.to_config(),
        },
        "model": {"name": "nnU-Net"},
    }
    if not is_there(study.settings):
        open_study(study, content, {})
        folds.save(study.folds)
        return
    there = read_settings(study, remedy="give another folder")
    if differences(there, content, {}) or NestedFolds.load(study.folds) != folds:
        raise InputError(f"{study.settings}: another study; give another folder, or remove this one")
