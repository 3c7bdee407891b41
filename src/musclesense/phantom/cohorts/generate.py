"""Make a cohort from nothing: draw subjects, scan them, write files and table."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from threadpoolctl import threadpool_limits

from musclesense.cohort.table import Acquisition, write_table
from musclesense.errors import InputError
from musclesense.imaging.nifti import write_volume
from musclesense.messages import log
from musclesense.phantom.anatomy.limbs import Body, child, sample_limbs
from musclesense.phantom.anatomy.templates import compartment_values
from musclesense.phantom.cohorts.presets import ADULT_AGE, WEEKS_A_YEAR, Group, Preset, find_preset
from musclesense.phantom.cohorts.subjects import Subject, Visit, list_subjects
from musclesense.phantom.disease.infiltration import sample_infiltration
from musclesense.phantom.disease.patterns import PATTERNS
from musclesense.phantom.scanner.acquisition import SimulatedScan, scan_any, scan_limbs
from musclesense.phantom.scanner.signal import Scanner
from musclesense.phantom.scanner.turbo_spin_echo import TseScanner
from musclesense.phantom.version import current_version
from musclesense.storage.atomic import atomic_folder
from musclesense.storage.paths import require_free
from musclesense.storage.processes import in_processes
from musclesense.storage.records import write_csv, write_json
from musclesense.version import __version__
from musclesense.vocabulary import Channel, Region

Slices = Literal["all", "mid"]
TableRows = tuple[list[Acquisition], list[dict[str, Any]]]
"""Rows of the cohort table and of the table of sessions."""
SESSION_COLUMNS = ("subject", "session", "weeks", "group", "sex", "age", "severity")
FORMAT = 2
"""Of ``phantom.json``; 1 had the digest of the sources in the place of ``phantom``, the version."""
QUIET_SECONDS = 10.0
"""How long a generation runs before it tells how far it has come, and how often it then does."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Session:
    """A subject at one visit in one region."""

    visit: Visit
    region: Region
    body: Body | None  # the subject's, at that age; None where every acquisition draws a subject of its own
    severity: float | None  # how far the disease has come; None likewise
    scan: SimulatedScan


def generate(
    out: Path, *, preset: str, seed: int, workers: int = 1, slices: Slices = "all", label_all: bool = False
) -> Path:
    """Make a phantom cohort in a new folder; the same arguments but for ``workers`` give the same bytes.

    >>> generate(Path("phantom"), preset="smoke", seed=1, workers=4)  # doctest: +SKIP
    PosixPath('phantom/cohort.csv')

    Args:
        out: The folder, absent or empty. It appears whole or not at all.
        preset: Name of one of ``presets.PRESETS``.
        seed: Number that everything random comes from, from 0 up.
        workers: Processes that draw subjects side by side.
        slices: Every slice of an acquisition, or the middle one, which is all that training needs.
        label_all: Leave ``slice`` blank in the table, so that every slice counts as labelled.

    Returns:
        The cohort table, ``out/cohort.csv``.

    Raises:
        InputError: Unknown preset or slices, negative seed, no worker, or ``out`` is in use or cannot be written.
    """
    cohort = find_preset(preset)
    if seed < 0:
        raise InputError(f"seed {seed} is negative; give a whole number from 0 up")
    if workers < 1:
        raise InputError(f"workers {workers} is too few; give 1 or more")
    require_known_slices(slices)
    require_free(out, or_empty=True)
    subjects = list_subjects(cohort)
    with atomic_folder(out) as draft:
        make = partial(make_subject, draft, cohort, seed, slices == "mid", label_all)
        parts = list(_report_progress(in_processes(make, subjects, workers), len(subjects)))
        write_table(draft / "cohort.csv", [row for rows, _ in parts for row in rows])
        write_csv(draft / "sessions.csv", SESSION_COLUMNS, [row for _, rows in parts for row in rows])
        regions = sorted({region for subject in subjects for visit in subject.visits for region in visit.regions})
        made = {
            "format": FORMAT,
            "phantom": current_version(preset),
            "preset": preset,
            "seed": seed,
            "slices": slices,
            "musclesense": __version__,
            "compartments": {region.value: compartment_values(region) for region in regions},
        }
        write_json(draft / "phantom.json", made)
    return out / "cohort.csv"


def require_known_slices(slices: str) -> None:
    """Refuse what is neither ``all`` nor ``mid``.

    >>> require_known_slices("mid")
    """
    if slices not in get_args(Slices):
        raise InputError(f"slices {slices!r} is unknown; use all or mid")


def scan_subject(preset: Preset, subject: Subject, seed: int, *, middle_only: bool = False) -> Iterator[Session]:
    """Draw a subject and scan every region at every visit.

    Anatomy and disease come from random states of the subject, pose and noise from those of the session, the scanner
    from that of the first one. So two sessions in one year differ by how limbs and slices lie and by noise alone; from
    year to year the disease goes on.

    >>> preset = find_preset("smoke")
    >>> session = next(scan_subject(preset, list_subjects(preset)[0], seed=1))
    >>> session.visit.name, session.region, session.scan.mask.shape
    ('ses-1', <Region.CALF: 'calf'>, (1, 80, 160))

    ``seed`` is the cohort's; ``middle_only`` makes the middle slice of each acquisition alone.
    """
    if preset.stack is None:
        for visit in subject.visits:
            for region in visit.regions:
                scan = scan_any(_random_state(seed, subject, region, visit.session), region, preset.sequence)
                yield Session(visit=visit, region=region, body=None, severity=None, scan=scan)
        return
    rng = np.random.default_rng([seed, subject.index])
    body, severity = sample_body(rng, subject.group), rng.uniform(*subject.severity)
    side = int(rng.integers(2))
    shown = side if preset.sequence == "turbo_spin_echo" else None
    scanners: dict[Region, Scanner | TseScanner | None] = {}
    for visit in subject.visits:
        years = visit.weeks // WEEKS_A_YEAR
        older, now = replace(body, age=body.age + years), min(severity + years * subject.group.progress, 1.0)
        for region in visit.regions:
            rng = _random_state(seed, subject, region, visit.session)
            always = _random_state(seed, subject, region)
            limbs = sample_limbs(always, body, region)
            state = sample_infiltration(always, PATTERNS[subject.group.name], now, region, older.age)
            scanner = scanners.get(region)
            scan = scan_limbs(rng, preset.stack, limbs, state, side=shown, scanner=scanner, middle_only=middle_only)
            scanners[region] = scan.scanner
            yield Session(visit=visit, region=region, body=older, severity=now, scan=scan)


def _random_state(seed: int, subject: Subject, region: Region, *session: int) -> np.random.Generator:
    """Give the random state of a subject's region: of all sessions, or of one."""
    return np.random.default_rng([seed, subject.index, 1 + list(Region).index(region), *session])


def sample_body(rng: np.random.Generator, group: Group) -> Body:
    """Draw a body of the ages of a group, and of the sex that falls ill.

    >>> sample_body(np.random.default_rng(0), Group(name="KD", subjects=1, severity=(0.2, 0.9))).female
    False
    """
    low, high = group.ages
    adult, males_only = high >= ADULT_AGE, PATTERNS[group.name].males_only
    body = Body.sample(rng)
    while (adult and not low <= body.age <= high) or (males_only and body.female):
        body = Body.sample(rng)
    return body if adult else child(rng, body, float(rng.uniform(low, high)))


def _report_progress(parts: Iterator[TableRows], count: int) -> Iterator[TableRows]:
    """Pass on what is made, and tell on stderr now and then how long the rest will take."""
    started = told = time.monotonic()
    for number, part in enumerate(parts, start=1):
        now = time.monotonic()
        if now - told > QUIET_SECONDS and number < count:
            left = (now - started) / number * (count - number)
            log.info(f"phantom: {number} of {count} subjects, about {left / 60:.1f} min left")
            told = now
        yield part


def make_subject(
    root: Path, preset: Preset, seed: int, middle_only: bool, label_all: bool, subject: Subject
) -> TableRows:
    """Scan a subject and write its files below ``root``; gives its rows of the two tables."""
    acquisitions, sessions = [], []
    # Its matrices are small: a second thread on them would cost more than it brings, beside other workers above all.
    with threadpool_limits(1):
        for session in scan_subject(preset, subject, seed, middle_only=middle_only):
            folder = root / subject.name / session.visit.name / session.region
            files = _write_scan(session.scan, folder)
            acquisitions.append(_acquisition(subject, session, files, label_all=label_all))
            sessions.append(_session_row(subject, session))
    # A visit is one row, however many regions were scanned.
    return acquisitions, list({row["session"]: row for row in sessions}.values())


def _write_scan(scan: SimulatedScan, folder: Path) -> dict[str, Path]:
    """Write the images of a scan and its header; gives the files by the names of `SimulatedScan.volumes`."""
    folder.mkdir(parents=True)
    geometry, files = scan.geometry(), {}
    for name, data in scan.volumes().items():
        files[name] = folder / f"{name}.nii.gz"
        write_volume(files[name], data, geometry, data.dtype)
    if scan.header:
        write_json(folder / "scan.json", dict(scan.header))
    return files


def _acquisition(subject: Subject, session: Session, files: Mapping[str, Path], *, label_all: bool) -> Acquisition:
    channels = {name.value: files.get(name) or files.get(f"{name}_magnitude") for name in Channel}
    return Acquisition(
        line=0,
        subject=subject.name,
        session=session.visit.name,
        group=subject.group.name,
        region=session.region,
        limbs=session.scan.limbs,
        channels={name: file for name, file in channels.items() if file is not None},
        mask=files["mask"],
        compartments=files["compartments"],
        slice=None if label_all else session.scan.middle,
        fat_fraction=files.get("true_fat_fraction"),
    )


def _session_row(subject: Subject, session: Session) -> dict[str, Any]:
    body, severity = session.body, session.severity
    return {
        "subject": subject.name,
        "session": session.visit.name,
        "weeks": session.visit.weeks,
        "group": subject.group.name,
        "sex": "" if body is None else "female" if body.female else "male",
        "age": "" if body is None else int(body.age),
        "severity": "" if severity is None else round(severity, 3),
    }
