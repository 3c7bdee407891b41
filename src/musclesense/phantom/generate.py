"""Make a cohort from nothing: draw subjects, scan them, separate fat and water, write files and table."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from musclesense import __version__
from musclesense.cohort.table import Acquisition, Limbs, Region, write_table
from musclesense.errors import InputError
from musclesense.files import atomic_folder, write_json
from musclesense.imaging.dixon import separate
from musclesense.imaging.nifti import Geometry, write_volume
from musclesense.phantom.anatomy import (
    Body,
    Limb,
    Pose,
    Tissue,
    draw_section,
    reach_mm,
    sample_limbs,
    sample_poses,
)
from musclesense.phantom.disease import PATTERNS, Infiltration, infiltrate, sample_infiltration
from musclesense.phantom.presets import Preset, find_preset
from musclesense.phantom.signal import Drawing, Scanner, acquire, loaded, slice_signal, stored
from musclesense.phantom.templates import TEMPLATES
from musclesense.phantom.texture import Floats

ECHOES = ("te345", "te460", "te575")
LEFT_OFFSET = 100
"""Added to the value of a right compartment to give that of the left one."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who a subject is before anything is drawn.

    Attributes:
        index: Position in the cohort, from 0: with the cohort's seed it fixes everything random.
        group: Name of the group.
        severity: Lowest and highest severity of this subject.
        sessions: How many times the subject is scanned.
    """

    index: int
    group: str
    severity: tuple[float, float]
    sessions: int

    @property
    def name(self) -> str:
        """Name in the table and of the folder."""
        return f"sub-{self.index + 1:03d}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """An acquisition in display order: arrays (slices, rows anterior to posterior, columns right to left)."""

    echoes: NDArray[np.complex64]
    mask: NDArray[np.uint8]
    compartments: NDArray[np.uint8]
    fat_fraction: Floats


def generate(out: Path, *, preset: str, seed: int, workers: int = 1) -> Path:
    """Make a phantom cohort in a new folder; the same preset and seed give the same bytes.

    Args:
        out: The folder, absent or empty. It appears whole or not at all.
        preset: Name of one of ``presets.PRESETS``.
        seed: Number that everything random comes from, from 0 up.
        workers: Processes that draw subjects side by side.

    Returns:
        The cohort table, ``out/cohort.csv``.

    Raises:
        InputError: Unknown preset, negative seed, no worker, or ``out`` is in use or cannot be written.
    """
    cohort = find_preset(preset)
    if seed < 0:
        raise InputError(f"seed {seed} is negative; give a whole number from 0 up")
    if workers < 1:
        raise InputError(f"workers {workers} is too few; give 1 or more")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists already; remove it or give another folder")
    with atomic_folder(out) as draft:
        make = partial(_make_subject, draft, cohort, seed)
        if workers == 1:
            parts = [make(subject) for subject in list_subjects(cohort)]
        else:
            # Spawned, since a forked process may inherit locked threads of torch or wandb.
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
                parts = list(pool.map(make, list_subjects(cohort)))
        write_table(draft / "cohort.csv", [acquisition for part in parts for acquisition in part])
        compartments = {region.value: compartment_values(region) for region in cohort.regions}
        made = {"preset": preset, "seed": seed, "version": __version__, "compartments": compartments}
        write_json(draft / "phantom.json", made)
    return out / "cohort.csv"


def list_subjects(preset: Preset) -> list[Subject]:
    """List the subjects of a cohort; severities of a group spread evenly over its range."""
    subjects: list[Subject] = []
    for group in preset.groups:
        low, high = group.severity
        step = (high - low) / group.subjects
        for number in range(group.subjects):
            subjects.append(
                Subject(
                    index=len(subjects),
                    group=group.name,
                    severity=(low + step * number, low + step * (number + 1)),
                    sessions=2 if number < group.retested else 1,
                )
            )
    return subjects


def compartment_values(region: Region) -> dict[str, int]:
    """Give the value of each muscle on each side in ``compartments.nii.gz``."""
    return {
        f"{name}_{side.value}": value + (LEFT_OFFSET if side is Limbs.LEFT else 0)
        for side in (Limbs.RIGHT, Limbs.LEFT)
        for value, name in enumerate(TEMPLATES[region].muscles, start=1)
    }


def scan_subject(
    preset: Preset, subject: Subject, seed: int
) -> Iterator[tuple[int, Region, Scan, np.random.Generator]]:
    """Draw a subject and scan every region at every session.

    Anatomy and disease come from random states of the subject, pose and scanner from those of the session,
    so sessions differ by how the limbs lie and by the scanner alone.

    Yields:
        Session (from 1), region, scan, and a random state for what follows.
    """
    body_seed, *region_seeds = np.random.SeedSequence([seed, subject.index]).spawn(1 + len(preset.regions))
    rng = np.random.default_rng(body_seed)
    body, severity = Body.sample(rng), rng.uniform(*subject.severity)
    for region, region_seed in zip(preset.regions, region_seeds, strict=True):
        subject_seed, *session_seeds = region_seed.spawn(1 + subject.sessions)
        rng = np.random.default_rng(subject_seed)
        limbs = sample_limbs(rng, body, region)
        infiltrations = sample_infiltration(rng, PATTERNS[subject.group], severity, region)
        for session, session_seed in enumerate(session_seeds, start=1):
            rng = np.random.default_rng(session_seed)
            yield session, region, _scan(rng, preset, limbs, infiltrations), rng


def _scan(
    rng: np.random.Generator,
    preset: Preset,
    limbs: tuple[Limb, Limb],
    infiltrations: tuple[Infiltration, Infiltration],
) -> Scan:
    poses, scanner = sample_poses(rng, limbs), Scanner.sample(rng)
    parts = list(zip(limbs, poses, infiltrations, strict=True))
    values = compartment_values(limbs[0].region)
    unlabelled = [
        value for name, value in values.items() if name.rpartition("_")[0] in TEMPLATES[limbs[0].region].unlabelled
    ]
    echoes, masks, compartments, fractions = [], [], [], []
    for number in range(preset.slices):
        offset = number - (preset.slices - 1) / 2
        drawing = _draw_slice(preset, parts, offset * preset.slice_mm)
        signal = slice_signal(
            drawing,
            scanner,
            oversampling=preset.oversampling,
            level=2 * offset / max(preset.slices, 2),
            aspect=preset.rows / preset.columns,
        )
        echoes.append(signal.echoes)
        fractions.append(signal.fat_fraction)
        voxels = _most_common(drawing.compartment, preset.oversampling)
        compartments.append(voxels)
        masks.append((voxels > 0) & ~np.isin(voxels, unlabelled))
    return Scan(
        echoes=acquire(rng, np.stack(echoes, axis=1), scanner),
        mask=np.stack(masks).astype(np.uint8),
        compartments=np.stack(compartments),
        fat_fraction=np.stack(fractions),
    )


def _draw_slice(preset: Preset, parts: list[tuple[Limb, Pose, Infiltration]], offset_mm: float) -> Drawing:
    """Draw both limbs on fine points; where they touch, the first one keeps its place."""
    rows, columns = preset.rows * preset.oversampling, preset.columns * preset.oversampling
    step = preset.voxel_mm / preset.oversampling
    x = ((np.arange(columns) - (columns - 1) / 2) * step).astype(np.float32)
    y = ((np.arange(rows) - (rows - 1) / 2) * step).astype(np.float32)
    x, y = np.meshgrid(x, y)
    drawing = Drawing(
        tissue=np.zeros(x.shape, np.uint8),
        muscle_fat=np.zeros(x.shape, np.float32),
        density=np.ones(x.shape, np.float32),
        compartment=np.zeros(x.shape, np.uint8),
    )
    for limb, pose, infiltration in parts:
        distance = np.hypot(x - np.float32(pose.centre_mm[0]), y - np.float32(pose.centre_mm[1]))
        near = (distance < reach_mm(limb)) & (drawing.tissue == Tissue.AIR)
        section = draw_section(limb, pose, offset_mm, x[near], y[near], infiltration.atrophy_mm)
        side = LEFT_OFFSET if limb.side is Limbs.LEFT else 0
        drawing.tissue[near] = section.tissue
        drawing.muscle_fat[near] = infiltrate(section, infiltration)
        drawing.density[near] = section.density
        drawing.compartment[near] = np.where(section.muscle > 0, section.muscle + side, 0)
    return drawing


def _most_common(labels: NDArray[np.uint8], oversampling: int) -> NDArray[np.uint8]:
    """Give voxels at least half full of muscle the compartment that most of their points belong to, others 0."""
    rows, columns = labels.shape
    blocks = labels.reshape(rows // oversampling, oversampling, columns // oversampling, oversampling)
    points = blocks.transpose(0, 2, 1, 3).reshape(rows // oversampling, columns // oversampling, -1)
    full = 2 * np.count_nonzero(points, axis=-1) >= points.shape[-1]
    candidates = points[full]
    votes = (candidates[:, :, None] == candidates[:, None, :]).sum(axis=-1) * (candidates > 0)
    voxels = np.zeros(full.shape, np.uint8)
    voxels[full] = np.take_along_axis(candidates, votes.argmax(axis=-1)[:, None], axis=-1)[:, 0]
    return voxels


def _make_subject(root: Path, preset: Preset, seed: int, subject: Subject) -> list[Acquisition]:
    """Scan a subject and write its files; gives its rows of the table."""
    rows = []
    for session, region, scan, rng in scan_subject(preset, subject, seed):
        folder = root / subject.name / f"ses-{session}" / region.value
        folder.mkdir(parents=True)
        _write_scan(folder, scan, _orientation(rng, preset))
        rows.append(
            Acquisition(
                line=0,
                subject=subject.name,
                session=f"ses-{session}",
                group=subject.group,
                region=region,
                channels={
                    "fat": folder / "fat.nii.gz",
                    "water": folder / "water.nii.gz",
                    **{echo: folder / f"{echo}_magnitude.nii.gz" for echo in ECHOES},
                },
                mask=folder / "mask.nii.gz",
                slice=preset.slices // 2,
                fat_fraction=folder / "true_fat_fraction.nii.gz",
            )
        )
    return rows


def _write_scan(folder: Path, scan: Scan, affine: NDArray[np.float64]) -> None:
    """Write what a scanner stores, and the truth."""
    flipped = affine[0, 0] > 0

    def to_array(display: NDArray[Any]) -> NDArray[Any]:
        """Turn display order (..., slices, rows, columns) into (..., i, j, k)."""
        turned = np.swapaxes(display, -1, -3)
        return np.ascontiguousarray(turned[..., ::-1, ::-1, :] if flipped else turned)

    magnitude, phase = stored(to_array(scan.echoes))
    separation = separate(loaded(magnitude, phase))
    images: dict[str, tuple[NDArray[Any], DTypeLike]] = {
        "fat": (np.rint(separation.fat), np.int16),
        "water": (np.rint(separation.water), np.int16),
        "mask": (to_array(scan.mask), np.uint8),
        "compartments": (to_array(scan.compartments), np.uint8),
        "true_fat_fraction": (to_array(scan.fat_fraction).round(1), np.float32),
    }
    for number, echo in enumerate(ECHOES):
        images[f"{echo}_magnitude"] = (magnitude[number], np.int16)
        images[f"{echo}_phase"] = (phase[number], np.int16)
    for name, (data, dtype) in images.items():
        i, j, k = data.shape
        write_volume(folder / f"{name}.nii.gz", data, Geometry.from_affine((i, j, k), affine), dtype)


def _orientation(rng: np.random.Generator, preset: Preset) -> NDArray[np.float64]:
    """Draw an affine: axes to right and anterior or to left and posterior, the stack a little oblique or not."""
    sign = rng.choice([-1.0, 1.0])
    zooms = np.array([sign * preset.voxel_mm, sign * preset.voxel_mm, preset.slice_mm])
    tilt = rng.choice([0.0, rng.normal(0, 0.04)])
    rotation = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    centre = (np.array([preset.columns, preset.rows, preset.slices]) - 1) / 2
    affine = np.eye(4)
    affine[:3, :3] = rotation * zooms
    affine[:3, 3] = rng.normal(0, 10, 3) - affine[:3, :3] @ centre
    return affine
