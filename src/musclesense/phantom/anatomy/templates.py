"""The templates of thigh and calf, and the values of their muscles in images of compartments."""

from collections.abc import Mapping

from musclesense.phantom.anatomy.calf import CALF
from musclesense.phantom.anatomy.keyframes import Template
from musclesense.phantom.anatomy.thigh import THIGH
from musclesense.vocabulary import Region, Side

TEMPLATES: Mapping[Region, Template] = {Region.THIGH: THIGH, Region.CALF: CALF}
FIRST_VALUE: Mapping[Region, int] = {Region.THIGH: 1, Region.CALF: 41}
LEFT_OFFSET = 100
"""Added to the value of a right compartment to give that of the left one."""


def compartment_values(region: Region) -> dict[str, int]:
    """Give the value of each muscle on each side in ``compartments.nii.gz``, unique over both regions."""
    return {
        f"{name}_{side}": value + (LEFT_OFFSET if side is Side.LEFT else 0)
        for side in Side
        for value, name in enumerate(TEMPLATES[region].muscles, start=FIRST_VALUE[region])
    }
