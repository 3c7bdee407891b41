"""The picture shows the voxels of the files, the subject's right on the left."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from musclesense.imaging.grid import Grid, slice_axis
from musclesense.imaging.nifti import Geometry
from musclesense.segmentation.quality import draw_quality_control
from musclesense.segmentation.scan import Scan, from_images, read_scan
from musclesense.vocabulary import Limbs

from .conftest import LEFT_MM, RIGHT_MM, body_mm, found_in, odd_geometry, write_limbs

GRID = Grid(2.5, 80, 160)


def draw(folder: Path, codes: str, shown: Limbs = Limbs.BOTH) -> Figure:
    limbs = write_limbs(folder, odd_geometry(codes))
    scan = from_images({"fat": limbs.fat, "water": limbs.water})
    classes = (limbs.right | limbs.left).astype(np.uint8)
    return draw_quality_control(found_in(scan, classes, shown, grid=GRID))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "ILA", "PSR", "SAL"])
def test_the_subjects_right_is_on_the_left_and_anterior_above(codes: str, tmp_path: Path) -> None:
    geometry = odd_geometry(codes)
    limbs = write_limbs(tmp_path, geometry)
    scan = from_images({"fat": limbs.fat})
    points = body_mm(geometry)
    mark = np.hypot(points[..., 0] - 80, points[..., 1] - 25) < 6
    marked = Scan({"fat": np.where(mark, 3e4, scan.channels["fat"])}, None, geometry, scan.files)
    figure = draw_quality_control(found_in(marked, limbs.left.astype(np.uint8), grid=GRID))
    axes = figure.axes[1]
    image = np.asarray(axes.get_images()[0].get_array())
    body, bright = np.argwhere(image > 0), np.argwhere(image == image.max())
    middle = (body.min(axis=0) + body.max(axis=0)) / 2
    # The body reaches from 115 mm on the right to 130 mm on the left; the mark lies 87.5 mm right
    # of its middle and 25 mm in front.
    assert (bright.mean(axis=0) - middle) * (2.0, 1.6) == pytest.approx([-25, -87.5], abs=4)
    assert axes.get_aspect() == pytest.approx(2.0 / 1.6)
    lines = [np.asarray(collection.get_paths()[0].vertices) for collection in axes.collections]
    (outline,) = (line for line in lines if line.size)
    width_mm = np.ptp(outline[:, 0]) * 1.6
    assert width_mm == pytest.approx(2 * LEFT_MM, abs=8)
    assert outline[:, 0].mean() > middle[1]


def test_titles_say_slice_and_fat_fraction_of_each_side(tmp_path: Path) -> None:
    figure = draw(tmp_path, "ILA")
    assert len(figure.axes) == 6
    first = figure.axes[0]
    assert [first.get_title(loc=place) for place in ("left", "center", "right")] == [
        "R  20.0 %",
        "slice 0",
        "L  60.0 %",
    ]
    assert figure.get_suptitle().startswith("fat image, 4 slices: mask of the right (amber) and left (blue) limb")


def test_one_limb_is_named_alone(tmp_path: Path) -> None:
    figure = draw(tmp_path, "RAS", Limbs.LEFT)
    titles = [figure.axes[0].get_title(loc=place) for place in ("left", "right")]
    assert titles[0] == "" and titles[1].startswith("L  ")
    assert "mask of the left (blue) limb" in figure.get_suptitle()


def test_the_picture_is_cut_to_the_body(tmp_path: Path) -> None:
    axes = draw(tmp_path, "RAS").axes[0]
    width_mm = np.ptp(axes.get_xlim()) * 1.6
    assert width_mm == pytest.approx(160 + RIGHT_MM + LEFT_MM + 2 * 8, abs=12)
    bottom, top = axes.get_ylim()
    assert bottom > top and (bottom - top) * 2.0 == pytest.approx(2 * LEFT_MM + 2 * 8, abs=12)


def test_the_frame_of_the_networks_is_drawn_in_place(tmp_path: Path) -> None:
    axes = draw(tmp_path, "LPS").axes[0]
    (frame,) = axes.patches
    assert isinstance(frame, Rectangle)
    assert frame.get_width() * 1.6 == pytest.approx(400)
    assert frame.get_height() * 2.0 == pytest.approx(200)
    body = np.argwhere(np.asarray(axes.get_images()[0].get_array()) > 0)
    centre = (body.min(axis=0) + body.max(axis=0)) / 2
    assert frame.get_y() + frame.get_height() / 2 == pytest.approx(centre[0], abs=2)
    assert frame.get_x() + frame.get_width() / 2 == pytest.approx(centre[1], abs=2)


def test_of_a_tall_stack_some_slices_are_shown(tmp_path: Path) -> None:
    geometry = odd_geometry("RAS", (0, 0, 0))
    tall = Geometry.from_affine((*geometry.shape[:2], 40), geometry.affine)
    assert slice_axis(tall) == 2
    limbs = write_limbs(tmp_path, tall, (0, 0, 0))
    scan = from_images({"fat": limbs.fat})
    figure = draw_quality_control(found_in(scan, limbs.right.astype(np.uint8), grid=GRID))
    shown = [axes.get_title() for axes in figure.axes if axes.get_images()]
    assert len(shown) == 18 and shown[0] == "slice 0" and shown[-1] == "slice 39"
    assert "18 of 40 slices" in figure.get_suptitle()


def test_a_single_empty_slice_is_drawn_whole(tmp_path: Path) -> None:
    geometry = Geometry.from_affine((30, 20, 1), np.eye(4))
    scan = Scan({"fat": np.zeros(geometry.shape, dtype=np.float32)}, None, geometry, {})
    empty = np.zeros(geometry.shape, dtype=np.uint8)
    figure = draw_quality_control(found_in(scan, empty, grid=GRID))
    figure.savefig(tmp_path / "qc.png")
    assert figure.axes[0].get_xlim() == (-0.5, 29.5)
    assert [axes.get_title() for axes in figure.axes] == ["slice 0"]


@pytest.mark.parametrize("shape", [(2, 4000, 1), (3, 2000, 18), (4000, 2, 18), (2, 2, 400), (1, 4096, 2)])
def test_the_picture_of_a_narrow_image_is_no_larger_than_another(shape: tuple[int, int, int]) -> None:
    image = np.indices(shape).sum(axis=0).astype(np.float32) % 7
    scan = read_scan(fat=(image, np.diag([-1.0, -1.0, 5.0, 1.0])))
    figure = found_in(scan, np.zeros(shape, np.uint8), Limbs.ONE, channels=("fat",)).figure()
    width, height = figure.get_size_inches() * figure.dpi
    assert width <= 1500 and height <= 6500
