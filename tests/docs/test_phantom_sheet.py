"""The contact sheets' command."""

import sys
from pathlib import Path

import matplotlib.image
import pytest
from docs.figures.phantom_sheet import draw_groups, draw_levels, main

from musclesense.errors import InputError
from musclesense.phantom.cohorts.presets import Group, Preset, Stack
from musclesense.vocabulary import Region


def few(*groups: str) -> Preset:
    """A coarse cohort with one subject in each group, at the calf and at the thigh in turn."""
    return Preset(
        groups=tuple(Group(name=name, subjects=1, severity=(0.2, 0.4)) for name in groups),
        stack=Stack(rows=80, columns=160, voxel_mm=2.5, slices=3, points=1),
        alternate=True,
    )


def test_command_draws_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["contact_sheet", str(out), "--preset", "smoke", "--region", "calf"])
    main()
    image = matplotlib.image.imread(out)
    assert image.shape[0] > 300
    assert image.std() > 0.1


def test_levels_stand_one_a_row(tmp_path: Path) -> None:
    draw_levels(tmp_path / "levels.png", few("IBM"), 1, Region.CALF, "sub-001")
    draw_groups(tmp_path / "groups.png", few("IBM"), 1, Region.CALF)
    levels, groups = (matplotlib.image.imread(tmp_path / f"{name}.png") for name in ("levels", "groups"))
    assert levels.shape[0] == pytest.approx(3 * groups.shape[0], abs=1)


def test_what_is_not_in_the_preset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="thigh is not scanned"):
        draw_groups(tmp_path / "groups.png", few("IBM"), 1, Region.THIGH)
    with pytest.raises(InputError, match=r"'sub-002' has no calf in this preset; use one of sub-001, sub-003$"):
        draw_levels(tmp_path / "levels.png", few("IBM", "CMT", "KD"), 1, Region.CALF, "sub-002")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("preset", ["any_scanner", "any_contrast"])
def test_slices_for_any_scanner_are_drawn(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.figures.phantom_sheet.ANY_SCANNER", (2, 2))
    out = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["contact_sheet", str(out), "--preset", preset])
    main()
    assert matplotlib.image.imread(out).std() > 0.1


@pytest.mark.parametrize("option", [("--region", "calf"), ("--levels", "sub-001")])
def test_slices_for_any_scanner_take_no_region_or_levels(
    option: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["contact_sheet", str(tmp_path / "sheet.png"), "--preset", "any_scanner", *option])
    with pytest.raises(SystemExit, match=r"^preset any_scanner: takes neither --region nor --levels; leave them out$"):
        main()
    assert not list(tmp_path.iterdir())
