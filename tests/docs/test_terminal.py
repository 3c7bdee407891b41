"""The picture of a terminal."""

from pathlib import Path

import numpy as np
import pytest
from docs.figures.terminal import Cell, draw
from PIL import Image


def pixels_of(screen: list[list[Cell]], out: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    draw(screen, out)
    with Image.open(out) as image:
        return np.asarray(image.convert("RGB"))


def test_half_blocks_are_two_pixels_and_what_is_behind_a_text_is_filled(tmp_path: Path) -> None:
    screen = [[Cell("▄", "#ff0000", "#0000ff"), Cell(" ", "white", "#00ff00")] * 4]
    pixels = pixels_of(screen, tmp_path / "new" / "out.png")
    height, width, _ = pixels.shape
    column, half = width // 8, height // 2
    assert (pixels[: half - 2, 2 : column - 2] == (0, 0, 255)).all()
    assert (pixels[half + 2 :, 2 : column - 2] == (255, 0, 0)).all()
    assert (pixels[:, column + 2 : 2 * column - 2] == (0, 255, 0)).all()


@pytest.mark.parametrize(
    ("text", "right", "low"), [("\u2801", False, False), ("\u2880", True, True), ("\u2808", True, False)]
)
def test_a_dot_of_braille_is_where_it_belongs(tmp_path: Path, text: str, right: bool, low: bool) -> None:
    lit = pixels_of([[Cell(text, "white", "black")]], tmp_path / "out.png")[..., 0] > 128
    rows, columns = np.nonzero(lit)
    assert len(rows)
    assert (columns.mean() > lit.shape[1] / 2) == right
    assert (rows.mean() > lit.shape[0] / 2) == low


def test_a_text_has_its_colour_and_the_same_screen_the_same_bytes(tmp_path: Path) -> None:
    screen = [[Cell(letter, "#ff8000", "black") for letter in "Dice"]]
    pixels = pixels_of(screen, tmp_path / "one.png").reshape(-1, 3).astype(int)
    assert (np.abs(pixels - (255, 128, 0)).sum(axis=1) < 30).any()
    draw(screen, tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
