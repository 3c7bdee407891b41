"""The contact sheet's command."""

import sys
from pathlib import Path

import matplotlib.image
import pytest

from musclesense.phantom.contact_sheet import main


def test_command_draws_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["contact_sheet", str(out), "--preset", "smoke", "--region", "calf"])
    main()
    image = matplotlib.image.imread(out)
    assert image.shape[0] > 300
    assert image.std() > 0.1
