"""The table of tissues is complete."""

import numpy as np

from musclesense.phantom.anatomy.section import Tissue
from musclesense.phantom.scanner.tissues import by_tissue
from musclesense.phantom.tables import read_table


def test_every_tissue_has_a_value_in_every_column() -> None:
    columns, *rows = read_table("scanner/tissues.yaml").items()
    assert [name for name, _ in rows] == [tissue.name.lower() for tissue in Tissue]
    assert all(len(row) == len(columns[1]) for _, row in rows)
    assert all(np.isfinite(by_tissue(name)).all() for name in columns[1])


def test_air_gives_no_signal_and_fat_fractions_are_parts() -> None:
    assert by_tissue("density")[Tissue.AIR] == by_tissue("water_shown")[Tissue.AIR] == 0
    assert by_tissue("fat_fraction").min() >= 0 and by_tissue("fat_fraction").max() <= 1
