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
    """How a disease is spread over the muscles, and how it looks in them.

    Attributes:
        involvement: How much each muscle takes part at full severity, 0 to 1; muscles not named take ``others``.
        others: Involvement of the other muscles.
        scatter: Spread of involvement between muscles of one subject, as standard deviation.
        asymmetry: Spread of severity between the sides, as standard deviation of its logarithm.
        distal_slope: Relative rise of the disease per mm away from the hip.
        wasting_mm: How far the border of a muscle withdraws at full involvement.
        oedema: Chance that a muscle is oedematous, and how strongly, each 0 to 1.
        patchiness: Strength of patches that spare or replace parts of a muscle.
        streakiness: Strength of streaks along the fascicles.
        males_only: Women do not fall ill with it.
    """

    involvement: Mapping[str, float]
    others: float
    scatter: float = 0.12
    asymmetry: float = 0.08
    distal_slope: float = 0.0
    wasting_mm: float = 2.2
    oedema: tuple[float, float] = (0.0, 0.0)
    patchiness: float = 1.0
    streakiness: float = 1.0
    males_only: bool = False


PATTERNS: Mapping[str, Pattern] = MappingProxyType(
    {name: Pattern(**pattern) for name, pattern in read_table("disease/patterns.yaml").items()}
)
"""By the name of the group; ``control`` has no disease."""
