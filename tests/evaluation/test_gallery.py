"""Galleries: which scans they show, in which order, and that the panels show what is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from musclesense.evaluation.gallery import COLUMN_INCHES, Shown, chosen, save_gallery, shown
from musclesense.evaluation.report.figures import DPI
from musclesense.evaluation.report.overlays import PREDICTION, TRUTH
from musclesense.metrics.case import Case
from musclesense.segmentation.scan import Scan

from ..segmentation.conftest import found_in, odd_geometry, write_limbs

CaseMaker = Callable[..., Case]


def case(line: int, dice: float | None, region: str = "calf", slice_: int = 0, label: str = "muscle") -> Case:
    who: dict[str, Any] = {"outer": 0, "inner": 0, "subject": f"s{line}", "session": "", "group": "CMT"}
    return Case(**who, line=line, region=region, slice=slice_, label=label, dice=dice, tp=1, fp=1, fn=1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.booleans(), st.integers(1, 12))
def test_the_worst_or_all_from_the_best_to_the_worst(dice: list[float], worst_first: bool, rows: int) -> None:
    cases = [case(line, one, region) for region in ("calf", "thigh") for line, one in enumerate(dice)]
    found = chosen(cases, worst_first=worst_first, rows=rows)
    assert [*found] == ["calf", "thigh"]
    for scans in found.values():
        shown_ = [own[0].dice or 0.0 for own in scans]
        assert len(shown_) == min(rows, len(dice)) and len({own[0].line for own in scans}) == len(scans)
        assert shown_ == (sorted(dice)[:rows] if worst_first else sorted(shown_, reverse=True))
        if not worst_first:
            assert shown_[0] == max(dice) and (rows == 1 or shown_[-1] == min(dice))


def test_of_a_scan_its_worst_slice_is_shown_by_the_mean_of_its_labels() -> None:
    cases = [case(2, 0.9, slice_=1), case(2, 0.5, slice_=1, label="b"), case(2, 0.8, slice_=4), case(2, None, slice_=5)]
    ((own,),) = chosen(cases, worst_first=False).values()
    assert [(one.slice, one.label) for one in own] == [(1, "muscle"), (1, "b")]
    assert chosen([case(2, None)], worst_first=True) == {}


@pytest.mark.parametrize("codes", ["ILA", "RAS", "PSL"])
@pytest.mark.parametrize("channels", [("fat", "water"), ("fat",)])
def test_panels_show_fat_water_and_both_masks(codes: str, channels: tuple[str, ...], tmp_path: Path) -> None:
    limbs = write_limbs(tmp_path, odd_geometry(codes))
    images = {"fat": 100.0 * limbs.left + 40.0 * limbs.right, "water": 100.0 * limbs.right + 40.0 * limbs.left}
    scan = Scan({name: images[name].astype(np.float32) for name in channels}, None, limbs.geometry, {})
    found = found_in(scan, limbs.right.astype(np.uint8))
    row = shown(found, limbs.left.astype(np.uint8), [case(2, 0.25, slice_=3)])
    assert row.says == "s2, CMT, Dice 0.250" and [*row.panels] == [*channels, "masks"]
    fat, masks = row.panels["fat"], row.panels["masks"]
    half = fat.shape[1] // 2
    assert fat[:, half:].sum() > fat[:, :half].sum(), "the left limb, which is fatter, stands on the right"
    blue, amber = (np.all(masks == colour, axis=-1) for colour in (PREDICTION, TRUTH))
    middle = masks.shape[1] // 2
    assert blue[:, :middle].any() and not blue[:, middle:].any() and amber[:, middle:].any()
    assert not amber[:, :middle].any()
    assert row.aspect == pytest.approx(fat.shape[0] * 2.0 / (fat.shape[1] * 1.6), rel=0.01)


@pytest.mark.parametrize("names", [["fat", "water", "masks"], ["fat", "masks"]])
def test_a_gallery_is_as_wide_as_a_column_and_the_same_again(names: list[str], tmp_path: Path) -> None:
    grey = np.linspace(0, 255, 60 * 120).reshape(60, 120).astype(np.uint8)
    panels = {name: grey for name in names if name != "masks"} | {"masks": np.repeat(grey[..., None], 3, axis=2)}
    rows = [Shown("S1, $x^2$, 李", panels, 0.5), Shown("S2", panels, 0.8)]
    made = save_gallery(tmp_path / "gallery", rows)
    assert [file.suffix for file in made] == [".png", ".svg", ".pdf"]
    before = [file.read_bytes() for file in made]
    assert [file.read_bytes() for file in save_gallery(tmp_path / "gallery", rows)] == before
    with Image.open(made[0]) as picture:
        assert picture.width == round(COLUMN_INCHES * DPI)
        assert picture.height > picture.width * 1.3 / len(names)


def test_rows_without_water_take_it_from_all(tmp_path: Path) -> None:
    grey = np.zeros((20, 40), np.uint8)
    masks = np.zeros((20, 40, 3), np.uint8)
    every = {"fat": grey, "water": grey, "masks": masks}
    rows = [Shown("a", every, 0.5), Shown("b", {"fat": grey, "masks": masks}, 0.5)]
    for own, named in ((rows, False), (rows[:1], True)):
        save_gallery(tmp_path / "gallery", own)
        text = (tmp_path / "gallery.svg").read_text()
        assert "<!-- fat -->" in text and ("<!-- water -->" in text) is named


@pytest.mark.parametrize(
    ("says", "written"),
    [
        ("sub-001, ses-2, control, Dice 0.958", "sub-001, ses-2, control, Dice 0.958"),
        (f"{'s' * 60}, CMT, Dice 0.5", f"{'s' * 14}…{'s' * 14}, CMT, Dice 0.5"),
    ],
)
def test_a_row_says_all_and_of_long_names_the_ends(says: str, written: str, tmp_path: Path) -> None:
    save_gallery(tmp_path / "gallery", [Shown(says, {"fat": np.zeros((20, 40), np.uint8)}, 0.5)])
    assert f"<!-- {written} -->" in (tmp_path / "gallery.svg").read_text(encoding="utf-8")
