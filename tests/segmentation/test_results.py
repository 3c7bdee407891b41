"""The table of fat fractions, for label sets with several classes."""

import numpy as np

from musclesense.segmentation.results import fat_fraction_rows, limb_halves
from musclesense.segmentation.scan import from_images
from musclesense.vocabulary import Limbs, Side

from .conftest import TwoLimbs


def test_each_class_has_its_row_and_an_absent_one_is_blank(limbs: TwoLimbs) -> None:
    scan = from_images({"fat": limbs.fat, "water": limbs.water})
    classes = np.zeros(limbs.geometry.shape, dtype=np.uint8)
    classes[limbs.left] = 2
    classes[0][limbs.left[0]] = 0
    halves = limb_halves(scan, Limbs.BOTH)
    rows = fat_fraction_rows(scan, ("gracilis", "vastus"), classes, halves)
    assert [(row["limb"], row["label"]) for row in rows[-4:]] == [
        ("right", "gracilis"),
        ("right", "vastus"),
        ("left", "gracilis"),
        ("left", "vastus"),
    ]
    assert len(rows) == 4 * (4 + 1)
    present = [row for row in rows if row["voxels"]]
    assert {(row["slice"], row["limb"], row["label"]) for row in present} == {
        (number, "left", "vastus") for number in (1, 2, 3, "all")
    }
    assert {row["fat_fraction_percent"] for row in present} == {"60.00"}
    assert {row["fat_fraction_percent"] for row in rows if row not in present} == {""}
    voxel_ml = 1.6 * 2.0 * 10 / 1000
    assert present[-1]["volume_ml"] == f"{np.count_nonzero(limbs.left[1:]) * voxel_ml:.3f}"


def test_halves_hold_every_voxel_once(limbs: TwoLimbs) -> None:
    scan = from_images({"fat": limbs.fat})
    halves = limb_halves(scan, Limbs.BOTH)
    assert np.array_equal(halves[Side.RIGHT], ~halves[Side.LEFT])
    assert halves[Side.RIGHT][limbs.right].all() and halves[Side.LEFT][limbs.left].all()
    assert list(limb_halves(scan, Limbs.RIGHT)) == [Side.RIGHT]
