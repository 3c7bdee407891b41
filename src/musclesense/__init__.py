"""Segment calf and thigh muscle in MRI, measure its fat fraction, and prove networks by nested cross-validation.

Importing the package is fast: what a function needs is imported when it is called.
"""

from musclesense.api import make_phantom, read_cohort
from musclesense.errors import InputError
from musclesense.version import __version__
from musclesense.vocabulary import Channel, Echo, Limbs, Region, Side

__all__ = [
    "Channel",
    "Echo",
    "InputError",
    "Limbs",
    "Region",
    "Side",
    "__version__",
    "make_phantom",
    "read_cohort",
]
