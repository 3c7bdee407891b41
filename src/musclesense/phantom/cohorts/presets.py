"""The cohorts that can be made, from ``presets.yaml``: who is in which group, who comes again, how all are scanned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from musclesense.errors import InputError
from musclesense.phantom.tables import names_in, read_table
from musclesense.vocabulary import Region

BOTH_REGIONS = (Region.CALF, Region.THIGH)
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

    Raises:
        InputError: No body of these ages can be drawn.
    """

    name: str  # its name, one of ``disease.patterns.PATTERNS``
    subjects: int  # how many
    severity: tuple[float, float]  # lowest and highest severity; the subjects spread over it
    ages: tuple[float, float] = USUAL_AGES
    """Youngest and oldest, in years: children below `ADULT_AGE`, or adults within `ADULT_AGES`."""
    retested: int = 0  # how many of them have a second session two weeks after the first
    followed: Mapping[Region, tuple[int, ...]] = field(default_factory=dict, hash=False)
    """For each region, how many come again after one year, after two, and so on."""
    progress: float = 0.0  # by how much severity rises in a year

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
    """Parallel slices, the middle of the stack at mid-level."""

    rows: int  # voxels from anterior to posterior
    columns: int  # voxels from right to left
    voxel_mm: float  # side of a voxel in the plane
    slices: int
    slice_mm: float = 10.0  # thickness and distance of slices
    points: int  # points drawn for each voxel, spread over its whole volume


Sequence = Literal["dixon", "turbo_spin_echo", "any_scanner", "any_contrast", "any_dixon"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A phantom cohort."""

    groups: tuple[Group, ...]  # the groups, in the order of the table
    sequence: Sequence = "dixon"
    """``dixon``: three gradient echoes of both limbs, fat and water by our own separation. Or ``turbo_spin_echo``:
    T2-weighted fat and water images of one limb, as the vendor's software gives them. Or a generator of slices."""
    stack: Stack | None
    """The slices of an acquisition. None: each acquisition is one slice from a scanner at random, of the generator that
    ``sequence`` names: `any_scanner`, `any_contrast` or `any_dixon`."""
    alternate: bool = False  # subjects are scanned at the calf or at the thigh, in turn, rather than at both


PRESETS = names_in("cohorts/presets.yaml")
"""The names of those in ``presets.yaml``."""


@cache
def find_preset(name: str) -> Preset:
    """Give a preset by its name.

    Raises:
        InputError: There is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r} is unknown; use {', '.join(PRESETS[:-1])} or {PRESETS[-1]}")
    table = read_table("cohorts/presets.yaml")[name]
    stack = Stack(**table["stack"]) if table["stack"] else None
    return Preset(**{**table, "groups": tuple(Group(**group) for group in table["groups"]), "stack": stack})
