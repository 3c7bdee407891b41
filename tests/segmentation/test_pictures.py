"""Pictures show the voxels of the files, the subject's right on the left."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from musclesense.imaging.grid import Grid
from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.pictures import WIDTH, slice_pictures
from musclesense.segmentation.scan import Scan, from_images
from musclesense.vocabulary import Limbs

from .conftest import LEFT_MM, RIGHT_MM, body_mm, found_in, odd_geometry, write_limbs

GRID = Grid(2.5, 80, 160)
SHOWN_MM = 160 + RIGHT_MM + LEFT_MM + 2 * 8
"""Across both limbs and the margin."""
Picture = NDArray[np.uint8]


def picture(folder: Path, codes: str, number: int = 1, bright_mm: float = 9.0) -> Picture:
    """The picture of a slice with a bright mark 80 mm to the right and 25 mm in front of the middle."""
    geometry = odd_geometry(codes)
    limbs = write_limbs(folder, geometry)
    scan = from_images({"fat": limbs.fat})
    points = body_mm(geometry)
    mark = np.hypot(points[..., 0] - 80, points[..., 1] - 25) < bright_mm
    marked = Scan({"fat": np.where(mark, 3e4, scan.channels["fat"])}, None, geometry, scan.files)
    found = found_in(marked, limbs.left.astype(np.uint8), grid=GRID).measured
    (drawn,) = slice_pictures(found, [number])
    return drawn


def of_colour(drawn: Picture, colour: tuple[int, int, int]) -> NDArray[np.intp]:
    """Rows and columns of the pixels of a colour."""
    return np.argwhere((drawn == colour).all(axis=2))


def mm(drawn: Picture) -> float:
    """Millimetres of a pixel."""
    return SHOWN_MM / drawn.shape[1]


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ILA", "PSR", "SAL"])
def test_the_subjects_right_is_on_the_left_and_anterior_above(codes: str, tmp_path: Path) -> None:
    drawn = picture(tmp_path, codes)
    assert drawn.shape[1] == WIDTH
    grey = drawn[..., 0].astype(int)
    grey[np.ptp(drawn, axis=2) > 0] = 0
    body, bright = np.argwhere(grey > 40), np.argwhere(grey == grey.max())
    middle = (body.min(axis=0) + body.max(axis=0)) / 2
    # The body reaches from 115 mm on the right to 130 mm on the left; the mark lies 87.5 mm right
    # of its middle and 25 mm in front.
    assert (bright.mean(axis=0) - middle) * mm(drawn) == pytest.approx([-25, -87.5], abs=5)
    outline = of_colour(drawn, (0x4C, 0xC9, 0xF0))
    assert np.ptp(outline[:, 1]) * mm(drawn) == pytest.approx(2 * LEFT_MM, abs=8)
    assert outline[:, 1].mean() > middle[1]


def test_it_is_cut_to_the_body_with_square_pixels(tmp_path: Path) -> None:
    drawn = picture(tmp_path, "RAS")
    outline = of_colour(drawn, (0x4C, 0xC9, 0xF0))
    assert np.ptp(outline[:, 0]) == pytest.approx(np.ptp(outline[:, 1]), abs=6)  # a circle
    assert drawn.shape[0] * mm(drawn) == pytest.approx(2 * LEFT_MM + 2 * 8, abs=12)


def test_the_frame_of_the_networks_is_drawn_in_place(tmp_path: Path) -> None:
    geometry = odd_geometry("LPS")
    limbs = write_limbs(tmp_path, geometry)
    found = found_in(from_images({"fat": limbs.fat}), limbs.left.astype(np.uint8), grid=Grid(2.5, 80, 64)).measured
    (drawn,) = slice_pictures(found, [1])
    frame = of_colour(drawn, (150, 150, 150))
    columns = np.bincount(frame[:, 1], minlength=WIDTH)
    left, right = np.flatnonzero(columns > drawn.shape[0] / 2)[[0, -1]]
    assert (right - left) * mm(drawn) == pytest.approx(160, abs=6)
    assert (left + right) / 2 == pytest.approx(WIDTH / 2, abs=8)


def test_an_empty_slice_is_drawn_whole() -> None:
    geometry = Geometry.from_affine((30, 20, 1), np.eye(4))
    scan = Scan({"fat": np.zeros(geometry.shape, dtype=np.float32)}, None, geometry, {})
    found = found_in(scan, np.zeros(geometry.shape, np.uint8), Limbs.BOTH, grid=Grid(2.5, 8, 16)).measured
    (drawn,) = slice_pictures(found, [0])
    assert drawn.shape[0] / drawn.shape[1] == pytest.approx(20 / 30, abs=0.01)
    assert {*np.unique(drawn).tolist()} <= {0, 150}  # black, and the frame
