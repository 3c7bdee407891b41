"""The diseases: which muscles each takes, and how it looks in them.

To add a disease, add its pattern, with its sources, to ``patterns.yaml`` and a group of subjects to a preset in
``cohorts/presets.yaml``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from musclesense.phantom.tables import read_table


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """How a disease is spread over the muscles, and how it looks in them."""

    involvement: Mapping[str, float]
    """How much each muscle takes part at full severity, 0 to 1; muscles not named take ``others``."""
    others: float  # involvement of the other muscles
    scatter: float = 0.12  # spread of involvement between muscles of one subject, as standard deviation
    asymmetry: float = 0.08  # spread of severity between the sides, as standard deviation of its logarithm
    distal_slope: float = 0.0  # relative rise of the disease per mm away from the hip
    wasting_mm: float = 2.2  # how far the border of a muscle withdraws at full involvement
    oedema: tuple[float, float] = (0.0, 0.0)  # chance that a muscle is oedematous, and how strongly, each 0 to 1
    patchiness: float = 1.0  # strength of patches that spare or replace parts of a muscle
    streakiness: float = 1.0  # strength of streaks along the fascicles
    males_only: bool = False  # women do not fall ill with it


PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {name: Pattern(**pattern) for name, pattern in read_table("disease/patterns.yaml").items()}
)
"""By the name of the group; ``control`` has no disease."""
