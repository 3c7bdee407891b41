"""A raw data set of nnU-Net v2 as a cohort table with folds."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml

from musclesense.cohort.folds import MOST_FOLDS, nest
from musclesense.cohort.table import Acquisition, read_table, write_table
from musclesense.errors import InputError, refuse
from musclesense.imaging.grid import take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import write_volume
from musclesense.nnunet.record import (
    FILE_ENDING,
    RECORD,
    SPLITS,
    ExportedScan,
    Record,
    image_file,
    label_file,
    load_with_folds,
)
from musclesense.nnunet.slices import lay_back, require_classes
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.paths import is_file, is_there, refuse_dicom, require_free
from musclesense.storage.records import read_json, unreadable, write_text
from musclesense.studies.layout import FOLDS
from musclesense.vocabulary import CHANNELS, Region

_READABLE = (FILE_ENDING, ".nii")
_INNER = 5
COHORT = "cohort.csv"
LABELS = "labels.yaml"


def load(
    dataset: Path,
    out: Path,
    *,
    region: Region | None = None,
    channels: Sequence[str] | None = None,
    subject: str | None = None,
) -> Path:
    """Make a cohort of a raw data set of nnU-Net: ``cohort.csv``, and ``folds.json`` where the set has splits.

    A data set that `export` wrote becomes the cohort that it came from: the same rows, the slices laid back into
    scans of the same shape and place (zero in slices that were not exported), and the same nested folds. The fat
    fraction images are not in it.

    The images of another data set stay where they are, one row for each case with labels. Its splits become outer
    folds and inner folds are drawn within. ``labels.yaml`` says what its label values mean.

    Args:
        dataset: Folder with ``dataset.json``, ``imagesTr`` and ``labelsTr``.
        out: Folder to make.
        region: Of every case, for a data set that has no record of it.
        channels: Our names of its channels in order, where ``dataset.json`` names them otherwise.
        subject: Regular expression whose first group finds the subject at the start of a case's name. None: each case
            is a subject.

    Returns:
        The cohort table.

    Raises:
        InputError: The data set cannot be understood, files are missing, or ``out`` exists.
    """
    require_free(out)
    refuse_dicom(dataset)
    if is_there(dataset / RECORD):
        given = {"--region": region, "--channels": channels, "--subject": subject}
        if unwanted := [option for option, value in given.items() if value is not None]:
            raise InputError(f"{unwanted[0]}: {dataset / RECORD} says so already; leave the option out")
        _load_own(dataset, out)
    else:
        _load_other(dataset, out, region, channels, subject)
    return out / COHORT


def _load_own(dataset: Path, out: Path) -> None:
    record, folds = load_with_folds(dataset)
    rows = []
    with atomic_folder(out) as draft:
        for line, scan in enumerate(record.scans, start=2):
            files = _write_scan(record, scan, dataset, draft / f"line{line:05}")
            images = {name: files[name] for name in record.channels}
            mask, compartments = files.get("mask"), files.get("compartments")
            rows.append(replace(scan.acquisition, line=line, channels=images, mask=mask, compartments=compartments))
        write_table(draft / COHORT, rows)
        replace(folds, table=read_table(draft / COHORT).digest).save(draft / FOLDS)


def _write_scan(record: Record, scan: ExportedScan, dataset: Path, folder: Path) -> dict[str, Path]:
    """Lay the slices of a scan back into whole images; give the file of each column of the table."""
    slices = {
        name: {number: scan.image(dataset, number, channel) for number in scan.slices}
        for channel, name in enumerate(record.channels)
    }
    slices[record.column] = {number: scan.truth(dataset, number) for number in scan.slices}
    files = {}
    for name, of_number in slices.items():
        volume = lay_back(of_number, scan.shape, scan.affine)
        data = volume.data
        if name == record.column:
            for number, file in of_number.items():
                require_classes(file, take_slice(data, volume.geometry, number), record.labels.n_classes)
            data = record.labels.decode(data.astype(np.uint8))
        files[name] = folder / f"{name}{FILE_ENDING}"
        write_volume(files[name], data, volume.geometry, data.dtype)
    return files


def _load_other(
    dataset: Path, out: Path, region: Region | None, channels: Sequence[str] | None, subject: str | None
) -> None:
    described, labels, ending = _describe(dataset)
    if region is None:
        raise InputError(f"{dataset}: does not say what its cases show; give --region {' or --region '.join(Region)}")
    names = _channel_names(dataset, described, channels)
    rows, problems = [], []
    cases = sorted(
        file.name.removesuffix(ending)
        for file in (dataset / "labelsTr").glob(f"*{ending}")
        if not file.name.startswith(".")
    )
    who = _subjects(cases, subject)
    for line, case in enumerate(cases, start=2):
        images = [image_file(dataset, "Tr", case, channel, ending) for channel in range(len(names))]
        problems += [f"{image}: no such file; case {case!r} has labels" for image in images if not is_file(image)]
        rows.append(
            Acquisition(
                line=line,
                subject=who[case],
                session="" if who[case] == case else case,
                region=region,
                channels=dict(zip(names, images, strict=True)),
                mask=label_file(dataset, "Tr", case, ending),
            )
        )
    if not cases:
        problems.append(f"{dataset / 'labelsTr'}: holds no labels *{ending}; correct the folder")
    refuse(problems)
    outer = _outer_folds(dataset / SPLITS, who) if is_there(dataset / SPLITS) else None
    with atomic_folder(out) as draft:
        # Paths are written relative to the draft, which lies beside what it becomes.
        write_table(draft / COHORT, rows)
        label_set = {"name": "nnunet", "column": "mask", "classes": labels.to_config()}
        write_text(draft / LABELS, yaml.safe_dump(label_set, sort_keys=False))
        if outer is not None:
            digest = read_table(draft / COHORT).digest
            nest(outer, rows, table=digest, seed=0, inner=_INNER).save(draft / FOLDS)


def _describe(dataset: Path) -> tuple[tuple[str, ...], LabelSet, str]:
    """Read ``dataset.json``: names of the channels in order, label values, and what the files end with."""
    path, remedy = dataset / "dataset.json", "give a raw data set's folder"
    content = read_json(path, remedy=remedy)
    with unreadable(path, KeyError, TypeError, AttributeError, remedy=remedy, said="not as nnU-Net v2 writes it"):
        ending, channels, labels = content["file_ending"], content["channel_names"], content["labels"]
        names = tuple(str(channels[str(number)]) for number in range(len(channels)))
        classes = {str(name): [value] for name, value in labels.items() if name != "background"}
    if not names:
        raise InputError(f"{path}: channel_names names no channel; {remedy}")
    if ending not in _READABLE:
        raise InputError(f"{path}: file_ending {ending!r} cannot be read; convert the images to {FILE_ENDING}")
    if "dataset" in content:
        raise InputError(f"{path}: lists its files itself; only those in imagesTr and labelsTr are read")
    if "ignore" in classes:
        raise InputError(f"{path}: has a label 'ignore'; take it out, since every voxel is scored here")
    try:
        return names, LabelSet.from_config(classes), ending
    except InputError as error:
        raise InputError(*(f"{path}: {problem}" for problem in error.problems)) from error


def _channel_names(dataset: Path, described: Sequence[str], given: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(name.lower() for name in described) if given is None else tuple(given)
    if len(names) != len(described) or len(set(names)) != len(names) or not {*names} <= {*CHANNELS}:
        raise InputError(
            f"{dataset}: its channels {', '.join(described)} must be named here; give --channels with "
            f"{len(described)} of {', '.join(CHANNELS)}"
        )
    return names


def _subjects(cases: Sequence[str], pattern: str | None) -> dict[str, str]:
    """Find the subject of each case."""
    if pattern is None:
        return {case: case for case in cases}
    try:
        with warnings.catch_warnings(action="ignore"):  # of what another version of Python may read otherwise
            compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"--subject {pattern}: no regular expression ({error}); correct it") from error
    if compiled.groups != 1:
        raise InputError(f"--subject {pattern}: needs one group around the subject, such as '(S[0-9]+)_'")
    found = {case: match[1] for case in cases if (match := compiled.match(case))}
    if unknown := [case for case in cases if not found.get(case)]:
        raise InputError(f"--subject {pattern}: finds no subject in {unknown[0]!r}; correct the expression")
    return found


def _outer_folds(path: Path, who: Mapping[str, str]) -> list[set[str]]:
    """Read nnU-Net's splits as the test subjects of each outer fold.

    Raises:
        InputError: The validation cases of the splits are not every case once, or part a subject.
    """
    remedy = "correct it, or move it away to draw folds of our own"
    splits = read_json(path, remedy=remedy)
    with unreadable(path, KeyError, TypeError, remedy=remedy, said="no readable splits"):
        validated = [[str(case) for case in split["val"]] for split in splits]
    if sorted(case for fold in validated for case in fold) != sorted(who):
        raise InputError(f"{path}: does not have each case of labelsTr in one validation set; {remedy}")
    folds = [{who[case] for case in fold} for fold in validated]
    subjects = {*who.values()}
    if sum(map(len, folds)) != len(subjects):
        raise InputError(f"{path}: a subject's cases are in two folds; {remedy}")
    if not all(folds) or len(folds) > MOST_FOLDS:
        raise InputError(f"{path}: has empty folds, or more than {MOST_FOLDS}; {remedy}")
    if len(folds) < 2 or min(len(subjects - fold) for fold in folds) < _INNER:
        raise InputError(f"{path}: too few folds or subjects for {_INNER} inner folds in each; {remedy}")
    return folds
