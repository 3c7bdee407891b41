"""The contact sheet of augmented samples."""

import sys

import numpy as np
import pytest
from docs.figures import augmentation_sheet as contact_sheet
from PIL import Image

from musclesense.imaging.grid import Grid


def test_draws_a_table_as_a_png(data, tmp_path, monkeypatch):
    out, cohort = tmp_path / "new" / "sheet.png", data / "phantom-smoke-1" / "cohort.csv"
    ranges = tmp_path / "ranges.yaml"
    ranges.write_text("{shift: 0.5, scale: [0.7, 1.3], flip_horizontal: 0.5, flip_vertical: 0.5}")
    monkeypatch.setattr(contact_sheet, "Grid", lambda: Grid(spacing_mm=10.0, rows=20, columns=40))
    arguments = [str(out), str(cohort), "--augmentation", str(ranges), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["contact_sheet", *arguments])
    contact_sheet.main()
    with Image.open(out) as image:
        assert image.width / image.height == pytest.approx(2.4 * 6 / (1.5 * 4), rel=0.01)
        pixels = np.asarray(image.convert("RGB")).astype(int)
        assert (np.abs(pixels[..., 0] - pixels[..., 2]) > 100).any(), "no outline is drawn"
