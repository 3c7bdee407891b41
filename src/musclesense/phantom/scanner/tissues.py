"""The physics of each tissue, from ``tissues.yaml``."""

import numpy as np
from numpy.typing import NDArray

from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.tables import read_table

_TABLE = read_table("scanner/tissues.yaml")


def by_tissue(name: str) -> NDArray[np.float64]:
    """Give a column of the table as an array whose index is the `Tissue`.

    >>> float(by_tissue("t2_ms")[Tissue.MUSCLE])
    32.0
    """
    column = _TABLE["columns"].index(name)
    return np.array([_TABLE[tissue.name.lower()][column] for tissue in Tissue], float)
