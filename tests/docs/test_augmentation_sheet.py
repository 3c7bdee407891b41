"""The contact sheet of augmented samples."""

import sys

import pytest
from docs.figures import augmentation_sheet as contact_sheet
from PIL import Image


def test_draws_a_table_as_a_png(data, tmp_path, monkeypatch):
    out, cohort = tmp_path / "new" / "sheet.png", data / "phantom-smoke-1" / "cohort.csv"
    ranges = tmp_path / "ranges.yaml"
    ranges.write_text("{shift: 0.5, scale: [0.7, 1.3], flip_horizontal: 0.5, flip_vertical: 0.5}")
    monkeypatch.setattr(contact_sheet, "Grid", lambda: contact_sheet.cache.Grid(spacing_mm=10.0, rows=20, columns=40))
    arguments = [str(out), str(cohort), "--augmentation", str(ranges), "--cache", str(tmp_path / "cache")]
    monkeypatch.setattr(sys, "argv", ["contact_sheet", *arguments])
    contact_sheet.main()
    with Image.open(out) as image:
        assert image.width / image.height == pytest.approx(2.4 * 6 / (1.5 * 4), rel=0.01)
        assert any(abs(red - blue) > 100 for _, (red, _, blue, *_) in image.getcolors(10**6)), "no outline is drawn"
