"""The picture says which slices it shows, of which limb, and how fatty their muscles are."""

from pathlib import Path

import numpy as np
import pytest

from musclesense.imaging.grid import Grid, slice_axis
from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.measured import MeasuredMask
from musclesense.segmentation.quality import captions, draw_quality_control, heading
from musclesense.segmentation.scan import from_images, read_scan
from musclesense.vocabulary import Limbs

from .conftest import found_in, odd_geometry, write_limbs

GRID = Grid(2.5, 80, 160)


def found_of(folder: Path, codes: str, shown: Limbs = Limbs.BOTH) -> MeasuredMask:
    limbs = write_limbs(folder, odd_geometry(codes))
    scan = from_images({"fat": limbs.fat, "water": limbs.water})
    return found_in(scan, (limbs.right | limbs.left).astype(np.uint8), shown, grid=GRID).measured


@pytest.mark.parametrize("codes", ["ILA", "RAS"])
def test_captions_say_slice_and_fat_fraction_of_each_side(codes: str, tmp_path: Path) -> None:
    found = found_of(tmp_path, codes)
    said = captions(found, 0)
    assert (said.left[0], said.middle, said.right[0]) == ("R  20.0 %", "slice 0", "L  60.0 %")
    assert heading(found, 4).startswith("fat image, 4 slices: mask of the right (amber) and left (blue) limb")


def test_one_limb_is_named_alone(tmp_path: Path) -> None:
    found = found_of(tmp_path, "RAS", Limbs.LEFT)
    said = captions(found, 0)
    assert said.left[0] == "" and said.right[0].startswith("L  ")
    assert "mask of the left (blue) limb" in heading(found, 4)


def test_where_nothing_is_known_of_fat_no_number_is_said(tmp_path: Path) -> None:
    limbs = write_limbs(tmp_path, odd_geometry("RAS"))
    found = found_in(from_images({"fat": limbs.fat}), limbs.right.astype(np.uint8), grid=GRID).measured
    assert (captions(found, 1).left[0], captions(found, 1).right[0]) == ("R", "L")


@pytest.mark.parametrize(("count", "shown"), [(40, 18), (18, 18), (4, 4)])
def test_of_a_tall_stack_some_slices_are_shown(count: int, shown: int, tmp_path: Path) -> None:
    geometry = odd_geometry("RAS", (0, 0, 0))
    tall = Geometry.from_affine((*geometry.shape[:2], count), geometry.affine)
    assert slice_axis(tall) == 2
    limbs = write_limbs(tmp_path, tall, (0, 0, 0))
    found = found_in(from_images({"fat": limbs.fat}), limbs.right.astype(np.uint8), grid=GRID).measured
    several, four = draw_quality_control(found), draw_quality_control(found_of(tmp_path, "RAS"))
    assert several.height / four.height == pytest.approx(-(-shown // 3) / 2, rel=0.1)
    assert f"{shown} of {count} slices" in heading(found, shown) or shown == count


@pytest.mark.parametrize("shape", [(2, 4000, 1), (3, 2000, 18), (4000, 2, 18), (2, 2, 400), (1, 4096, 2)])
def test_the_picture_of_a_narrow_image_is_no_larger_than_another(shape: tuple[int, int, int]) -> None:
    image = np.indices(shape).sum(axis=0).astype(np.float32) % 7
    scan = read_scan(fat=(image, np.diag([-1.0, -1.0, 5.0, 1.0])))
    picture = found_in(scan, np.zeros(shape, np.uint8), Limbs.ONE, channels=("fat",)).figure()
    assert picture.width <= 1520 and picture.height <= 6500
