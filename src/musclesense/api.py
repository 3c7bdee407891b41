"""What ``import musclesense`` gives: each function a few lines over the rooms, which are imported when it is called.

Paths are ``str`` or ``Path``. Images are paths, nibabel images, or pairs of an array and its affine.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from musclesense.cohort.table import CohortTable

PathLike = str | os.PathLike[str]


def read_cohort(table: PathLike) -> "CohortTable":
    """Read a cohort table: one row for each acquisition.

    Args:
        table: CSV file; its columns are described in the reference, "Cohort table".

    Returns:
        The table. ``.frame`` is a pandas table, ``.acquisitions`` are typed rows.

    Raises:
        InputError: The file is missing or rows cannot be understood; all of them are named.

    >>> import musclesense as ms
    >>> cohort = ms.read_cohort("phantom/cohort.csv")
    >>> cohort.frame.groupby("region").size().to_dict()
    {'calf': 12, 'thigh': 12}
    """
    from musclesense.cohort.table import read_table

    return read_table(Path(table))


def make_phantom(
    folder: PathLike,
    *,
    preset: str = "demo",
    seed: int = 1,
    workers: int | None = None,
    slices: Literal["all", "mid"] = "all",
    label_all: bool = False,
) -> "CohortTable":
    """Make a cohort of simulated scans with known masks and fat fractions.

    Args:
        folder: Folder to make; it must not exist, or be empty.
        preset: ``smoke`` (seconds), ``demo``, ``paper``, ``secondary`` or ``any_scanner``.
        seed: The same seed gives the same bytes.
        workers: Processes. None: one for each core.
        slices: ``all``, or ``mid`` for the middle slice of each acquisition alone.
        label_all: Let every slice count as labelled, not the middle one alone.

    Returns:
        The cohort table of the new folder.

    Raises:
        InputError: Unknown preset, negative seed, or the folder is in use.

    >>> import musclesense as ms
    >>> cohort = ms.make_phantom("another", preset="smoke", workers=1)
    >>> cohort.path.as_posix()
    'another/cohort.csv'
    """
    from musclesense.phantom.cohorts.generate import generate

    workers = workers or os.cpu_count() or 1
    made = generate(Path(folder), preset=preset, seed=seed, workers=workers, slices=slices, label_all=label_all)
    return read_cohort(made)
