"""Everything wrong with a cohort, found at once before any work begins."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musclesense.cohort.copies import Picture, copies
from musclesense.cohort.evidence import Evidence, missing_sides
from musclesense.cohort.folds import shortage
from musclesense.cohort.images import first_place
from musclesense.cohort.table import LABEL_COLUMNS, Acquisition, CohortTable
from musclesense.dixon.swaps import SWAPPED, FewSlices, few_slices, find_swaps
from musclesense.errors import InputError, refuse
from musclesense.imaging.air import nan_as_air
from musclesense.imaging.frame import reference_channel
from musclesense.imaging.grid import slice_count, slices_with, take_slice
from musclesense.imaging.labels import LabelSet
from musclesense.imaging.nifti import Geometry, Volume, finite_values, read_volume, value_problems
from musclesense.imaging.reader import say_remarks
from musclesense.imaging.turning import turned, whole_labels
from musclesense.messages import log
from musclesense.vocabulary import CHANNELS, Channel, Region

_MOST_WORKERS = 8
# Percent would exceed this in the subcutaneous fat of any leg; a fraction, noise included, does not.
_LARGEST_FRACTION = 1.5
# In fat, percent is near 100; so many voxels of this percentile of the fat image tell.
_LARGEST_PERCENT, _ENOUGH, _BRIGHTEST = 150, 50, 97
MOST_GROUPS = 100
"""Of a cohort: the report has a row and a box for each, by region and label."""
# By so many slices is judged whether fat and water are exchanged.
_SLICES_SHOWN = 3


def check(
    table: CohortTable,
    *,
    channels: Sequence[str] = (),
    regions: Collection[Region] | None = None,
    folds: int | None = None,
    inner_folds: int | None = None,
    label_column: str | None = None,
    label_values: Collection[int] | None = None,
    labels: LabelSet | None = None,
) -> None:
    """Read every file that a study would use, once, and name all that is wrong.

    Each worker has one image in memory at a time.

    Args:
        table: The cohort, from ``read_table``; or from ``scan_table``, to have the problems of its rows listed too.
        channels: Channels that every row must have; only their files are read. None named: all that a row has.
        regions: Regions whose rows are used; the others are not looked at. None: all.
        folds: Number of outer folds to be drawn, or None where none will be.
        inner_folds: Number of inner folds; as many as ``folds`` if not given.
        label_column: Column of the reference labels that every row must have, as for training; only these are read.
            None: all of ``table.LABEL_COLUMNS`` that a row has.
        label_values: Values that count as labels. None: any positive value.
        labels: What they mean, instead of ``label_values``: each side must be there where both limbs are.

    Raises:
        InputError: There are problems; each line names row, file, value and remedy.
    """
    rows = [row for row in table.acquisitions if regions is None or row.region in regions]
    problems = list(table.problems)
    if not rows and not table.problems:
        problems.append(f"{table.path}: no row of region {' or '.join(regions or ())}; choose another region")

    absent = [name for name in channels if rows and not any(name in row.channels for row in rows)]
    for name in absent:
        given = [other for other in CHANNELS if any(other in row.channels for row in rows)]
        problems.append(f"{table.path}: no row has the channel {name!r}; choose from {', '.join(given) or 'none'}")
    wanted = [name for name in channels if name not in absent]
    required = label_column
    if label_column is not None and rows and all(row.labels(label_column) is None for row in rows):
        problems.append(f"{table.path}: no row has {label_column} to train on; add a column {label_column!r}")
        required = None
    label_columns = LABEL_COLUMNS if label_column is None else (label_column,)

    if labels is not None:
        label_values = {value for own in labels.values for value in own} or None
    pictures, evidence = dict[tuple[int, str], Picture](), Evidence()

    def of_files(row: Acquisition) -> list[str]:
        return list(_row_problems(row, wanted, label_columns, label_values, required, pictures, evidence))

    with ThreadPoolExecutor(min(_MOST_WORKERS, os.cpu_count() or 1)) as pool:
        for row, conflicts, found in zip(rows, _conflicts(rows), pool.map(of_files, rows), strict=True):
            problems.extend(f"{table.path}, line {row.line}: {problem}" for problem in conflicts + found)
    problems.extend(_shown_twice(table, [pictures[key] for key in sorted(pictures)]))
    problems.extend(f"{table.path}: {problem}" for problem in missing_sides(evidence.counted, labels))
    if (groups := len({row.group for row in rows})) > MOST_GROUPS:
        problems.append(f"{table.path}: {groups} groups, of which {MOST_GROUPS} are taken; put like ones together")
    if folds is not None and rows:
        # A row that could not be understood may stand for one more subject.
        subjects = len({row.subject for row in rows}) + len(table.problems)
        problem = shortage(subjects, folds, folds if inner_folds is None else inner_folds)
        problems.extend([f"{table.path}: {problem}"] if problem else [])
    refuse(problems)
    for line, remark in evidence.remarks(label_values):
        log.warning(f"{table.path}, line {line}: {remark}")


def summary(table: CohortTable) -> str:
    """Say in plain text who and what the table holds."""
    rows = table.acquisitions
    images = Counter(channel for row in rows for channel in row.channels)
    groups = Counter({row.subject: row.group or "no group" for row in rows}.values())
    lines = [
        f"{table.path}: {_counted(groups.total(), 'subject')}, {_counted(len(rows), 'acquisition')}",
        f"  subjects by group: {_counts(groups)}",
    ]
    for region in Region:
        by_group = Counter(row.group or "no group" for row in rows if row.region == region)
        groups_there = f" ({_counts(by_group)})" if by_group else ""
        lines.append(f"  {region}: {_counted(by_group.total(), 'acquisition')}{groups_there}")
    lines += [
        f"  limbs: {_counts(Counter(row.limbs.value for row in rows))}",
        f"  channels: {_counts({name: images[name] for name in CHANNELS if images[name]})}",
        f"  masks: {sum(row.mask is not None for row in rows)}, "
        f"compartments: {sum(row.compartments is not None for row in rows)}, "
        f"fat fraction images: {sum(row.fat_fraction is not None for row in rows)}",
    ]
    return "\n".join(lines)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("s" if number != 1 else "")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _conflicts(rows: Sequence[Acquisition]) -> Iterator[list[str]]:
    """For each row, say how it contradicts an earlier one."""
    same_scan: dict[tuple[str, ...], Acquisition] = {}
    same_subject: dict[str, Acquisition] = {}
    same_file: dict[str, tuple[Acquisition, str]] = {}
    for row in rows:
        problems = []
        first = same_scan.setdefault((row.subject, row.session, row.region, row.limbs), row)
        if first is not row:
            problems.append(
                f"subject {row.subject!r}: session {row.session!r}, {row.region}, limbs {row.limbs} again after "
                f"line {first.line}; remove one row or tell the sessions apart"
            )
        first = same_subject.setdefault(row.subject, row)
        if first.group != row.group:
            problems.append(
                f"group {row.group!r}: subject {row.subject!r} is in group {first.group!r} in line {first.line}; "
                "give each subject one group"
            )
        labels = {column: file for column in LABEL_COLUMNS if (file := row.labels(column)) is not None}
        for column, file in {**row.channels, **labels}.items():
            owner, named = same_file.setdefault(os.path.normpath(file.absolute()), (row, column))
            # Under two names one person would be trained on and tested on.
            if owner.subject != row.subject:
                problems.append(
                    f"{column} {file}: belongs to subject {owner.subject!r} in line {owner.line}; "
                    "correct the path, or give one subject one name"
                )
            # Labels of single muscles may well be the mask, too: any positive value of it is muscle.
            elif owner is row and not {named, column} <= {*LABEL_COLUMNS} and named != column:
                problems.append(f"{column} {file}: is the {named} image too; correct one path")
        yield problems


def _shown_twice(table: CohortTable, pictures: Sequence[Picture]) -> Iterator[str]:
    """Say which images of two subjects show the same; those of one subject are told of beside."""
    for other, own in copies(pictures):
        if os.path.normpath(other.file.absolute()) == os.path.normpath(own.file.absolute()):
            continue  # told of above
        there = f"{other.column} {other.file} in line {other.row.line}"
        said = f"{table.path}, line {own.row.line}: {own.column} {own.file}: shows the same as {there}"
        if own.row.subject == other.row.subject:
            log.warning(f"{said}; correct one path if it is wrong")
        else:
            subject = f"subject {other.row.subject!r}"
            yield f"{said}, of {subject}; correct the path, or give one subject one name"


def _row_problems(
    row: Acquisition,
    channels: Sequence[str],
    label_columns: Sequence[str],
    label_values: Collection[int] | None,
    required: str | None,
    pictures: dict[tuple[int, str], Picture],
    evidence: Evidence,
) -> Iterator[str]:
    """Check the files of one row, one after another, and keep what its images show."""
    for name in channels:
        if name not in row.channels:
            yield f"{name} '': row lacks the channel; give the image or choose other channels"
    if not channels and not row.channels:
        yield f"channels '': row has no image; give at least one of {', '.join(CHANNELS)}"
    if required is not None and row.labels(required) is None:
        yield f"{required} '': row has nothing to train on; give the image or remove the row"

    images = {name: file for name, file in row.channels.items() if not channels or name in channels}
    geometries: dict[str, Geometry] = {}
    shown: dict[str, FewSlices] = {}
    labels = {column: row.labels(column) for column in label_columns}
    labelled = set() if row.slice is None else {row.slice}
    place: Geometry | None = None
    with suppress(InputError):  # said below, of the file that it is
        place = first_place(row)
    # The labels come first: they say in which slices the images must show something.
    for column, file in chain(labels.items(), images.items(), [("fat_fraction", row.fat_fraction)]):
        if file is None:
            continue
        try:
            volume = read_volume(file)
        except InputError as error:
            yield from (f"{column} {problem}" for problem in error.problems)
            continue
        if column not in labels:
            say_remarks(f"{column} {file}", volume.geometry)
        volume = turned(volume, place) if place else volume
        geometries[column] = volume.geometry
        if column in labels:
            volume = whole_labels(volume)
            is_label = volume.data > 0 if label_values is None else np.isin(volume.data, list(label_values))
            there = slices_with(is_label, volume.geometry)
            found = [*_mask_problems(volume, there, row.slice, label_values)]
            if row.slice is None:
                labelled.update(there)
            if not found:
                evidence.add_labels(row, column, volume, labelled & {*there})
        else:
            pictures[row.line, column] = Picture.of(row, column, file, volume)
            volume = nan_as_air(volume, f"{column} {file}")
            found = [*_image_problems(volume, sorted(labelled))]
            if column in (Channel.FAT, Channel.WATER) and not found:
                shown[column] = few_slices(volume.data, volume.geometry, most=_SLICES_SHOWN)
            if column == "fat_fraction":
                found += _unit_problems(volume, shown.get(Channel.FAT))
            elif column == reference_channel(images) and not found:
                evidence.add_limbs(row, volume, labelled)
        yield from (f"{column} {file}: {problem}" for problem in found)
    yield from _place_problems(row, geometries)
    yield from _swap_problems(row, shown, geometries)


def _swap_problems(
    row: Acquisition, shown: Mapping[str, FewSlices], geometries: Mapping[str, Geometry]
) -> Iterator[str]:
    """Look whether fat and water are exchanged: refused in all limbs, a warning in some."""
    if len(shown) < 2 or geometries[Channel.FAT].difference(geometries[Channel.WATER]):
        return
    swaps = find_swaps(shown[Channel.FAT], shown[Channel.WATER], geometries[Channel.FAT])
    said = f"fat {row.channels[Channel.FAT]}: {SWAPPED}"
    if swaps.whole:
        yield f"{said} in all limbs; exchange the columns fat and water"
    elif swaps.where:
        log.warning(f"line {row.line}: {said} in {swaps.where}; look at the images, or remove the row")


def _place_problems(row: Acquisition, geometries: dict[str, Geometry]) -> Iterator[str]:
    """Compare all with the first image that could be read, or with the labels where none could."""
    labels = {column: row.labels(column) for column in LABEL_COLUMNS}
    files = {**row.channels, **labels, "fat_fraction": row.fat_fraction}
    reference = next((column for column in files if column in geometries), None)
    if reference is None:
        return
    for column, geometry in geometries.items():
        if difference := geometries[reference].difference(geometry):
            yield f"{column} {files[column]}: {difference} from that of {reference}; bring both to the same voxels"
    count = slice_count(geometries[reference])
    if row.slice is not None and row.slice >= count:
        yield f"slice {row.slice}: {files[reference]} has slices 0 to {count - 1}; correct the number"


def _image_problems(volume: Volume, labelled: Collection[int]) -> Iterator[str]:
    yield from value_problems(volume.data)
    if (value := _constant(volume.data)) is not None:
        yield f"every voxel is {value:.5g}; export the image again"
        return
    for index in labelled:
        if index < slice_count(volume.geometry):
            value = _constant(take_slice(volume.data, volume.geometry, index))
            if value is not None:
                yield f"every voxel of labelled slice {index} is {value:.5g}; correct the slice or the image"


def _mask_problems(
    volume: Volume, there: Sequence[int], labelled: int | None, label_values: Collection[int] | None
) -> Iterator[str]:
    """Check labels, which were found in the slices ``there`` and are wanted in the slice ``labelled``."""
    yield from value_problems(volume.data)
    labels = finite_values(volume.data)
    if labels.dtype.kind == "f" and (broken := labels[labels != np.rint(labels)]).size:
        yield f"{broken.size} labels are no integers, such as {broken[0]:.5g}; save integer labels"
    if labels.size and labels.min() < 0:
        yield f"label {labels.min():.5g} is negative; count labels from 0"
    wanted = "positive voxel" if label_values is None else f"voxel labelled {', '.join(map(str, sorted(label_values)))}"
    if not there:
        yield f"no {wanted}; draw the mask, or leave the cell blank"
    elif labelled is not None and labelled < slice_count(volume.geometry) and labelled not in there:
        yield f"no {wanted} in slice {labelled}, but in {', '.join(map(str, there))}; correct the slice"


def _unit_problems(fat_fraction: Volume, fat: FewSlices | None) -> Iterator[str]:
    """Say what speaks against percent: no value above those of a fraction, or another unit where fat is brightest."""
    values = finite_values(fat_fraction.data)
    if values.size and 0 < values.max() <= _LARGEST_FRACTION:
        yield f"values up to {values.max():.3g} are a fraction; multiply by 100 to make percent"
        return
    shown = few_slices(fat_fraction.data, fat_fraction.geometry, most=_SLICES_SHOWN)
    if fat is None or fat.images.shape != shown.images.shape:
        return
    in_fat = shown.images[fat.images >= np.percentile(fat.images, _BRIGHTEST)]
    in_fat = in_fat[np.isfinite(in_fat) & (in_fat != 0)]  # some maps are of muscle alone
    if in_fat.size >= _ENOUGH and not _LARGEST_FRACTION < (usual := float(np.median(in_fat))) <= _LARGEST_PERCENT:
        yield f"values of about {usual:.3g} where the fat image is brightest are no percent; give 0 to 100"


def _constant(data: NDArray[Any]) -> float | None:
    """Give the one finite value that ``data`` has, or None where there are more or none."""
    values = finite_values(data)
    return float(values.flat[0]) if values.size and values.min() == values.max() else None
