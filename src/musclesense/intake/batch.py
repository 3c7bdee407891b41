"""Many scans of a table: each segmented into a folder of its own, and one table of all measurements."""

import csv
import functools
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from musclesense.cohort.table import LABEL_COLUMNS, Acquisition, read_table, write_table
from musclesense.errors import ArgumentError, DiskError, InputError, first_line
from musclesense.imaging.nifti import read_geometry
from musclesense.intake.dicom_seg import dicom_seg
from musclesense.intake.found import read
from musclesense.messages import log
from musclesense.networks.predictor import AUTO
from musclesense.networks.shipped import default_model
from musclesense.networks.spec import Effort
from musclesense.segmentation.cohort import unseen_networks
from musclesense.segmentation.measured import MASK, NOTHING, read_record, require_place
from musclesense.segmentation.measured import TABLE as MEASUREMENTS
from musclesense.segmentation.measuring import PLAIN, Measuring
from musclesense.segmentation.scan import Scan, from_images
from musclesense.segmentation.segmenter import Segmenter, segment
from musclesense.storage.digests import digest_of_bytes, digest_of_input, sha256_of
from musclesense.storage.locks import locked
from musclesense.storage.paths import is_dicom, is_file, is_folder, is_there, require_writable
from musclesense.storage.processes import in_processes
from musclesense.storage.records import as_it_was, read_json, require_format, write_csv, write_json
from musclesense.version import __version__
from musclesense.vocabulary import Channel, Limbs

TABLE, RECORD, FORMAT = "cohort.csv", "batch.json", 1
_WHO = ("subject", "session", "region", "group")
_LONGEST_FOLDER = 100


@dataclass(frozen=True, kw_only=True)
class How:
    """How the scans of a table are segmented.

    Attributes:
        model: What `Segmenter.load` takes; None: of the networks of the package the one that takes the images.
        device: Where the networks compute.
        allow_class: Networks of the user's own that the model may name.
        effort: How often networks look at a slice, of `Effort`.
        out_of_fold: Of a study, each subject by the networks that have not seen it.
        anonymous: Leave the names of files out of each ``run.json``.
        dicom_seg: Write a DICOM segmentation, too, of each scan that is DICOM.
        measuring: How the masks are measured.
        jobs: How many scans are segmented at once.
        part: Number of a part, from 1, and of all parts: only its scans are segmented, and no tables are written, so
            that parts may run beside each other; None: all.
    """

    model: str | Path | None
    device: str = AUTO
    allow_class: tuple[str, ...] = ()
    effort: str = Effort.DEFAULT
    out_of_fold: bool = False
    anonymous: bool = False
    dicom_seg: bool = False
    measuring: Measuring = PLAIN
    jobs: int = 1
    part: tuple[int, int] | None = None


def part_of(said: str | None) -> tuple[int, int] | None:
    """Understand which part of a table is asked for.

    >>> part_of("3/10")
    (3, 10)

    Raises:
        InputError: It is none.
    """
    if said is None:
        return None
    own, _, parts = said.partition("/")
    if own.isdecimal() and parts.isdecimal() and 1 <= int(own) <= int(parts):
        return int(own), int(parts)
    raise InputError(f"--part {said}: is no part; give its number and that of all parts, such as 3/10")


@dataclass(frozen=True)
class _Task:
    row: Acquisition
    place: Path
    column: str
    """Of the table, for the mask."""
    networks: tuple[int, ...] | None = None
    """Numbers of those that segment; None: all."""


def segment_table(table: Path, out: Path, how: How) -> list[str]:
    """Segment every scan of a cohort table, and write a table of all measurements and one of the new masks.

    A scan that was segmented in the same way before is skipped. One that cannot be used is told of at the end.

    Args:
        table: A cohort table. A row has images by name, or what `found.read` takes in its column ``scan``.
        out: Folder for the results of each scan, `TABLE`, the table of measurements and `RECORD`.
        how: What is asked for.

    Returns:
        What is wrong with the scans that have no result, one line each.

    Raises:
        InputError: The table cannot be read, it is not that of the study, or ``out`` cannot be written.
    """
    if how.jobs < 1:
        raise InputError(f"--jobs {how.jobs}: is too few; give 1 or more")
    tasks = _tasks(table, out, how)
    require_writable(out)
    _require_own_tables(out)
    if how.part is not None:
        number, parts = how.part
        tasks = tasks[number - 1 :: parts]
        problems = _done(tasks, how)
    else:
        with locked(out):
            problems = _done(tasks, how)
            _write_tables(out, [task for task in tasks if task.place.name not in problems], how, problems)
    return [f"line {task.row.line}: {problems[name]}" for task in tasks if (name := task.place.name) in problems]


def _done(tasks: Sequence[_Task], how: How) -> dict[str, str]:
    """Segment scans; gives what is wrong with those that have no result, by the names of their folders."""
    problems = dict[str, str]()
    done = in_processes(partial(_finish, how), tasks, how.jobs)
    for number, (task, wrong) in enumerate(zip(tasks, done, strict=True), start=1):
        log.info(f"{number} of {len(tasks)}: {task.place}" + (": no result" if wrong else ""))
        if wrong is not None:
            problems[task.place.name] = wrong
    return problems


def _tasks(table: Path, out: Path, how: How) -> list[_Task]:
    """Give what is to be done, after all that can be checked before the work."""
    segmenter = None if how.model is None else _networks(how, how.model)
    unseen: Mapping[str, tuple[int, ...]] | None = None
    column = LABEL_COLUMNS[0]
    if how.out_of_fold:
        if segmenter is None:
            raise ArgumentError("{out_of_fold}: takes a study below runs/; give {model}", out_of_fold="", model="STUDY")
        rows, unseen, column = unseen_networks(Path(str(how.model)), table, segmenter)
    else:
        every = read_table(table).tell().acquisitions
        rows = [row for row in every if segmenter is None or row.region in segmenter.spec.regions]
        if len(rows) < len(every):
            log.warning(f"{table}: {len(every) - len(rows)} rows are of a region that the model was not trained on")
    if not rows:
        raise InputError(f"{table}: holds no scan of a region that the model was trained on; give another model")
    problems = [f"{table}, line {row.line}: names no image and no scan; add one" for row in rows if not _sources(row)]
    if problems:
        raise InputError(*problems)
    for row in rows if how.measuring.slices else ():
        _require_slices(row, how.measuring)
    return [
        _Task(row, out / name, column, None if unseen is None else unseen[row.subject])
        for row, name in zip(rows, _names(rows), strict=True)
    ]


def _require_slices(row: Acquisition, measuring: Measuring) -> None:
    """Refuse slices that an image does not have, as far as a header tells; one that cannot be read fails later."""
    for file in [*row.channels.values()][:1]:
        try:
            geometry = read_geometry(file)
        except InputError:
            return
        measuring.require_slices(geometry, str(file))


def _names(rows: Sequence[Acquisition]) -> Iterator[str]:
    """Name the folders of scans by what people look for; rows that are called alike are numbered."""
    met = Counter[str]()
    for row in rows:
        limbs = row.limbs if row.limbs_known and row.limbs is not Limbs.BOTH else ""
        said = "-".join(filter(None, (row.subject, row.session, row.region, limbs)))
        name = re.sub(r"[^\w.+-]", "_", said)[:_LONGEST_FOLDER].lstrip(".") or "scan"
        met[name.lower()] += 1
        yield name if met[name.lower()] == 1 else f"{name}-no{met[name.lower()]}"


def _sources(row: Acquisition) -> dict[str, Path]:
    return dict(row.channels) if row.scan is None else {"scan": row.scan}


def _finish(how: How, task: _Task) -> str | None:
    """Segment one scan unless that was done before; say what is wrong with it, or None."""
    try:
        _share_cores(how.jobs)
        asked = _asked(how, task)
        if (read_record(task.place) or {}).get("asked") == asked and is_file(task.place / MEASUREMENTS):
            return None
        require_place(task.place)
        row = task.row
        scan = _read(row, None if how.model is None else _networks(how, how.model))
        networks = _networks(how, how.model or default_model(scan.channels, [row.region]))
        made = segment(
            scan,
            model=networks if task.networks is None else networks.only(task.networks),
            region=row.region,
            limbs=row.limbs if row.limbs_known else AUTO,
            device=how.device,
            effort=how.effort,
            told=how.out_of_fold,
            measuring=how.measuring,
        )
        more = dicom_seg(made) if how.dicom_seg else NOTHING
        made.measured.save(task.place, made.record(how.anonymous) | {"asked": asked}, more)
    except DiskError:
        raise
    except InputError as error:
        return "; ".join(error.at_command_line)
    except Exception as error:  # one scan must not end all others, whatever is wrong with it
        return f"{task.place.name}: {type(error).__name__}: {first_line(error)}; segment it alone with --debug"
    return None


def _read(row: Acquisition, networks: Segmenter | None) -> Scan:
    if row.scan is not None:
        return read(row.scan)
    wanted = {*Channel} if networks is None else {*networks.spec.channels, networks.spec.placed_by, "fat", "water"}
    first = next(iter(row.channels))  # slices are counted along it
    return from_images({name: file for name, file in row.channels.items() if name in {first, *wanted}})


def _asked(how: How, task: _Task) -> str:
    """Give a digest of all that a result comes from."""
    files = () if how.model is None else _networks(how, how.model).files
    chosen = files if task.networks is None else [files[number] for number in task.networks]
    content = {
        "musclesense": __version__,
        "sources": {name: _digest(path) for name, path in _sources(task.row).items()},
        "networks": [_digest_of_network(file) for file in chosen],
        "effort": str(how.effort),
        "region": str(task.row.region),
        "limbs": str(task.row.limbs) if task.row.limbs_known else AUTO,
        "measuring": how.measuring.to_record(),
        **({"dicom_seg": True} if how.dicom_seg else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_digest_of_network = functools.cache(digest_of_bytes)


def _digest(path: Path) -> str:
    """Give a digest of a scan: of a file, of DICOM, or of all files of a folder with the names that tell them apart."""
    if is_dicom(path) or not is_folder(path):
        return digest_of_input(path)
    files = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*")) if is_file(file)}
    digests = {name: sha256_of(file) for name, file in files.items()}
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


@functools.lru_cache(maxsize=4)
def _networks(how: How, model: str | Path) -> Segmenter:
    """Load networks, once in each process."""
    return Segmenter.load(model, how.device, how.allow_class, how.effort)


def _share_cores(jobs: int) -> None:
    """Let one of several processes take its part of the cores; both libraries of networks look as they are loaded."""
    if jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))


def _require_own_tables(out: Path) -> None:
    """Refuse to replace tables that no earlier batch wrote, or that somebody changed."""
    known = read_json(out / RECORD, remedy="give another folder") if is_file(out / RECORD) else {"results": {}}
    require_format(out / RECORD, known, newest=FORMAT)
    tables = known.get("results", {}) if isinstance(known, dict) else {}
    if tables is None:
        return
    there = [out / name for name in (TABLE, MEASUREMENTS) if is_there(out / name)]
    if strangers := [file for file in there if tables.get(file.name) != digest_of_bytes(file)]:
        raise InputError(*(f"{file}: exists already; give another folder" for file in strangers))


def _write_tables(out: Path, tasks: Sequence[_Task], how: How, problems: Mapping[str, str]) -> None:
    rows, masks = list[dict[str, Any]](), list[Acquisition]()
    for task in tasks:
        record = read_record(task.place) or {}
        limbs = Limbs(record.get("limbs", task.row.limbs))
        who = {name: str(getattr(task.row, name)) for name in _WHO}
        rows += [who | own for own in _measured(task.place / MEASUREMENTS)]
        mask: dict[str, Any] = {task.column: task.place / MASK}
        masks.append(replace(task.row, **mask, limbs=limbs, limbs_known=True))
    write_json(out / RECORD, {"format": FORMAT, "results": None})  # so that half of them are known as this command's
    write_csv(out / MEASUREMENTS, [*_WHO, *how.measuring.columns], rows)
    write_table(out / TABLE, masks)
    digests = {name: digest_of_bytes(out / name) for name in (TABLE, MEASUREMENTS)}
    write_json(out / RECORD, {"format": FORMAT, "results": digests, "no_result": dict(problems)})


def _measured(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as content:
        for row in csv.DictReader(content):
            yield {name: as_it_was(value) for name, value in row.items()}
