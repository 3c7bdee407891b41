"""The cohorts that can be made: how many subjects of which group, scanned how."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from musclesense.cohort.table import Region
from musclesense.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Group:
    """Subjects of one group.

    Attributes:
        name: Its name, one of ``disease.PATTERNS``.
        subjects: How many.
        severity: Lowest and highest severity; the subjects spread over it.
        retested: How many of them have a second session two weeks later.
    """

    name: str
    subjects: int
    severity: tuple[float, float]
    retested: int = 0


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A phantom cohort.

    Attributes:
        groups: The groups, in the order of the table.
        regions: Regions scanned at every session.
        rows: Voxels from anterior to posterior.
        columns: Voxels from right to left.
        frame_mm: Width of the field of view.
        slices: Slices of an acquisition; the middle one is the labelled one.
        slice_mm: Distance of slices.
        oversampling: Points drawn along the side of a voxel.
    """

    groups: tuple[Group, ...]
    regions: tuple[Region, ...] = (Region.CALF, Region.THIGH)
    rows: int
    columns: int
    frame_mm: float = 400.0
    slices: int
    slice_mm: float = 10.0
    oversampling: int

    @property
    def voxel_mm(self) -> float:
        """Usual side of a voxel in the plane."""
        return self.frame_mm / self.columns


SMOKE = Preset(
    groups=(
        Group(name="control", subjects=6, severity=(0.0, 0.3)),
        Group(name="IBM", subjects=3, severity=(0.2, 0.8)),
        Group(name="CMT", subjects=3, severity=(0.2, 0.8)),
    ),
    rows=80,
    columns=160,
    slices=1,
    oversampling=2,
)
"""Seconds: for tests."""

DEMO = Preset(
    groups=(
        Group(name="control", subjects=11, severity=(0.0, 0.5), retested=2),
        Group(name="IBM", subjects=5, severity=(0.2, 1.0), retested=1),
        Group(name="CMT", subjects=5, severity=(0.2, 1.0), retested=1),
        Group(name="ALS", subjects=5, severity=(0.2, 0.9), retested=1),
        Group(name="KD", subjects=4, severity=(0.2, 1.0), retested=1),
    ),
    rows=160,
    columns=320,
    slices=3,
    oversampling=2,
)
"""Half a minute: 30 subjects, 72 acquisitions."""

PRESETS: Mapping[str, Preset] = MappingProxyType({"smoke": SMOKE, "demo": DEMO})


def find_preset(name: str) -> Preset:
    """Give a preset by its name.

    Raises:
        InputError: There is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r} is unknown; use {' or '.join(PRESETS)}")
    return PRESETS[name]
