"""The cohorts that can be made: how many subjects of which group, when they come, and how they are scanned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from musclesense.errors import InputError
from musclesense.vocabulary import Region

CALF, THIGH = BOTH_REGIONS = (Region.CALF, Region.THIGH)
USUAL_AGES = (20.0, 75.0)
ADULT_AGE = 18.0
"""Below it, a body is a child's."""
ADULT_AGES = (20.0, 80.0)
"""Ages of adult bodies (`anatomy.limbs.Body.sample`); outside them there is none."""
WEEKS_TO_RETEST = 2
WEEKS_A_YEAR = 52


@dataclass(frozen=True, kw_only=True)
class Group:
    """Subjects of one group.

    Attributes:
        name: Its name, one of ``disease.patterns.PATTERNS``.
        subjects: How many.
        severity: Lowest and highest severity; the subjects spread over it.
        ages: Youngest and oldest, in years: children below `ADULT_AGE`, or adults within `ADULT_AGES`.
        retested: How many of them have a second session two weeks after the first.
        followed: For each region, how many come again after one year, after two, and so on.
        progress: By how much severity rises in a year.

    Raises:
        InputError: No body of these ages can be drawn.
    """

    name: str
    subjects: int
    severity: tuple[float, float]
    ages: tuple[float, float] = USUAL_AGES
    retested: int = 0
    followed: Mapping[Region, tuple[int, ...]] = field(default_factory=dict, hash=False)
    progress: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.ages
        youngest, oldest = ADULT_AGES
        if not (0 <= low < high < ADULT_AGE or youngest <= low < high <= oldest):
            raise InputError(
                f"group {self.name}: ages {low:g} to {high:g} cannot be drawn; "
                f"give a range below {ADULT_AGE:g}, or one within {youngest:g} to {oldest:g}"
            )


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Parallel slices, the middle of the stack at mid-level.

    Attributes:
        rows: Voxels from anterior to posterior.
        columns: Voxels from right to left.
        voxel_mm: Side of a voxel in the plane.
        slices: How many.
        slice_mm: Thickness and distance of slices.
        points: Points drawn for each voxel, spread over its whole volume.
    """

    rows: int
    columns: int
    voxel_mm: float
    slices: int
    slice_mm: float = 10.0
    points: int


@dataclass(frozen=True, kw_only=True)
class Dixon:
    """Three gradient echoes of both limbs, fat and water by our own separation: the main cohort."""

    stack: Stack


@dataclass(frozen=True, kw_only=True)
class TurboSpinEcho:
    """T2-weighted fat and water images of one limb, as the vendor's software gives them: the secondary cohort."""

    stack: Stack


@dataclass(frozen=True, kw_only=True)
class AnyScanner:
    """One fat-bright slice from a scanner at random: `any_scanner.synthetic_slice`."""


Sequence = Dixon | TurboSpinEcho | AnyScanner


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A phantom cohort.

    Attributes:
        groups: The groups, in the order of the table.
        sequence: How every acquisition is made.
        alternate: Subjects are scanned at the calf or at the thigh, in turn, rather than at both.
    """

    groups: tuple[Group, ...]
    sequence: Sequence
    alternate: bool = False


SMOKE = Preset(
    groups=(
        Group(name="control", subjects=6, severity=(0.0, 0.3)),
        Group(name="IBM", subjects=3, severity=(0.2, 0.8)),
        Group(name="CMT", subjects=3, severity=(0.2, 0.8)),
    ),
    sequence=Dixon(stack=Stack(rows=80, columns=160, voxel_mm=2.5, slices=1, points=4)),
)
"""Seconds: for tests."""

DEMO = Preset(
    groups=(
        Group(name="control", subjects=11, severity=(0.0, 0.5), retested=2),
        Group(name="IBM", subjects=5, severity=(0.2, 0.9), retested=1),
        Group(name="CMT", subjects=5, severity=(0.2, 0.9), retested=1),
        Group(name="ALS", subjects=5, severity=(0.2, 0.9), retested=1),
        Group(name="KD", subjects=4, severity=(0.2, 0.9), retested=1),
    ),
    sequence=Dixon(stack=Stack(rows=160, columns=320, voxel_mm=1.25, slices=3, points=4)),
)
"""Half a minute: 30 subjects, 72 acquisitions."""

PAPER = Preset(
    groups=(
        Group(
            name="control",
            subjects=72,
            severity=(0.0, 0.5),
            retested=4,
            followed={CALF: (20,), THIGH: (10,)},
            progress=0.005,
        ),
        Group(name="ALS", subjects=21, severity=(0.15, 0.9), followed={CALF: (15,), THIGH: (10,)}, progress=0.08),
        Group(name="KD", subjects=21, severity=(0.2, 0.88), followed={CALF: (15, 6), THIGH: (12, 2)}, progress=0.03),
        Group(
            name="IBM",
            subjects=20,
            severity=(0.2, 0.85),
            ages=(45.0, 80.0),
            retested=4,
            followed={CALF: (18, 12), THIGH: (16, 8)},
            progress=0.05,
        ),
        Group(name="CMT", subjects=20, severity=(0.2, 0.85), followed={CALF: (18, 14), THIGH: (14, 5)}, progress=0.02),
        Group(name="HYPOPP", subjects=12, severity=(0.15, 0.9), followed={CALF: (12, 6), THIGH: (8, 2)}, progress=0.02),
    ),
    sequence=Dixon(stack=Stack(rows=300, columns=640, voxel_mm=0.6, slices=11, points=2)),
)
"""The paper's main cohort: 166 subjects, 571 acquisitions (310 calf, 261 thigh), 8 subjects scanned again after two
weeks. Who came how often is not told; here patients come again after one and two years, fewer each time."""

SECONDARY = Preset(
    groups=(
        Group(name="DMD", subjects=4, severity=(0.3, 0.9), ages=(6.0, 12.0)),
        Group(name="control", subjects=4, severity=(0.0, 0.1), ages=(6.0, 12.0)),
        Group(name="control", subjects=1, severity=(0.0, 0.2), ages=(30.0, 45.0)),
    ),
    sequence=TurboSpinEcho(stack=Stack(rows=444, columns=444, voxel_mm=0.36, slices=4, slice_mm=3.0, points=3)),
    alternate=True,
)
"""The paper's secondary cohort: 9 acquisitions of one limb each, by another sequence, of children but for one."""

ANY_SCANNER = Preset(
    groups=(Group(name="any", subjects=120, severity=(0.0, 1.0)),), sequence=AnyScanner(), alternate=True
)
"""Slices from scanners at random, 120 of them, to validate and test the networks that are trained on such slices."""

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {"smoke": SMOKE, "demo": DEMO, "paper": PAPER, "secondary": SECONDARY, "any_scanner": ANY_SCANNER}
)


def find_preset(name: str) -> Preset:
    """Give a preset by its name.

    Raises:
        InputError: There is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r} is unknown; use {', '.join(list(PRESETS)[:-1])} or {list(PRESETS)[-1]}")
    return PRESETS[name]
