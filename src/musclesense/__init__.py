"""Segment calf and thigh muscle in MRI, measure its fat fraction, and test networks by nested cross-validation.

    import musclesense as ms

    scan = ms.read_scan(fat="fat.nii.gz", water="water.nii.gz")
    result = ms.segment(scan, region="thigh")
    print(result.table)
    result.save("result")

Importing the package is fast: what a function needs is imported when it is called.
"""

from musclesense.api import (
    compare,
    load_model,
    make_phantom,
    measure,
    read_cohort,
    read_scan,
    read_study,
    segment,
    separate,
)
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
    "compare",
    "load_model",
    "make_phantom",
    "measure",
    "read_cohort",
    "read_scan",
    "read_study",
    "segment",
    "separate",
]
