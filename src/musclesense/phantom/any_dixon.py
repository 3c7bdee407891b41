"""Slices of the paper's three-point Dixon acquisition by any scanner of 1.5 or 3 T: fat, water and the outer echoes.

As `any_contrast`, with these four images of each slice in place of one of any contrast.
"""

from collections.abc import Collection

import numpy as np

from musclesense.phantom import any_contrast
from musclesense.phantom.any_scanner import SyntheticSlice
from musclesense.phantom.scanner.sequences import three_echoes
from musclesense.vocabulary import Region

INGREDIENTS = any_contrast.INGREDIENTS
"""As there; without ``sequences`` repetition time and flip angle are the paper's, and grey values are as received."""
MASK_VALUES = any_contrast.MASK_VALUES


def synthetic_slice(
    rng: np.random.Generator, *, regions: Collection[Region] = tuple(Region), without: Collection[str] = ()
) -> SyntheticSlice:
    """Draw a subject and the four images of one slice; the same random state gives the same ones.

    >>> one = synthetic_slice(np.random.default_rng(0), regions=[Region.CALF])
    >>> [str(name) for name in one.others], one.image.shape == one.others["water"].shape
    (['water', 'te345', 'te575'], True)
    """
    return any_contrast.synthetic_slice(rng, regions=regions, without=without, acquired=three_echoes)
