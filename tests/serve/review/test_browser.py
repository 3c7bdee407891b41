"""The list of masks in a browser: looked through by keys, judged, painted; as axe judges it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import musclesense as ms
from musclesense.imaging.nifti import read_volume
from musclesense.storage.niivue import is_packed

from ...segmentation.conftest import TwoLimbs, found_in
from ...shared.browser import as_volume, browser, expect, has, judged, new_page, saved, stroke, tab
from ...shared.waiting import end
from ..test_main import started

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
__all__ = ["browser"]


@pytest.fixture
def reviewed(limbs: TwoLimbs, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The list of three masks, and its folder."""
    folder = tmp_path / "results"
    scan = ms.read_scan(fat=limbs.fat, water=limbs.water)
    found_in(scan, (limbs.right | limbs.left).astype(np.uint8)).save(folder / "S1")
    for name in ("S2", "S3"):
        shutil.copytree(folder / "S1", folder / name)
    process, address = started(tmp_path, verb=("review", str(folder)))
    yield address, folder
    end(process)


def said_of(folder: Path) -> list[tuple[str, str, str, str]]:
    """What the record holds."""
    entries = json.loads((folder / "review.json").read_text("utf-8"))["entries"]
    return [(one["scan"], one["verdict"], one["comment"], one["by"]) for one in entries]


@pytest.fixture
def listed(browser: Any, reviewed: tuple[str, Path]) -> Iterator[Any]:
    """A tab with the list."""
    yield from tab(browser, reviewed[0])


def turned_to(page: Any, name: str) -> None:
    """Wait until the page of a scan is there, and its scripts hear keys."""
    page.wait_for_selector(f"h1:has-text('{name}')")
    page.wait_for_load_state()


def test_a_cohort_is_looked_through_by_keys(listed: Any, reviewed: tuple[str, Path]) -> None:
    page, (address, folder) = listed, reviewed
    assert judged(page) == []
    page.click("#masks tbody tr:nth-child(1) a")
    has(page, "#viewer-said", "")
    page.keyboard.press("1")
    has(page, "#review-said", "Type your name first; it is kept in this browser.")
    page.keyboard.type("A. Reader 1")
    page.focus("#canvas")
    page.keyboard.press("1")
    expect(page.locator("#review-said")).to_contain_text("Saved: A. Reader 1")
    assert page.get_attribute("button.pass", "aria-pressed") == "true"
    assert judged(page) == []
    if is_packed():
        as_volume(page)
        assert judged(page) == []
    page.keyboard.press("n")
    turned_to(page, "S2")
    page.keyboard.press("c")
    page.keyboard.type("n 2")  # no keys of the list while somebody types
    page.keyboard.press("Enter")
    expect(page.locator("#review-said")).to_contain_text("Saved")
    page.keyboard.press("2")
    expect(page.locator("button.fail")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("u")
    turned_to(page, "S3")
    page.keyboard.press("p")
    turned_to(page, "S2")
    assert page.input_value("#who") == "A. Reader 1" and page.input_value("#comment") == "n 2"
    page.keyboard.press("0")
    expect(page.locator("button.fail")).to_have_attribute("aria-pressed", "false")
    assert said_of(folder) == [("S1", "pass", "", "A. Reader 1"), ("S2", "", "n 2", "A. Reader 1")]
    page.goto(f"{address}/?show=pass")
    assert page.locator("#masks tbody tr").count() == 1
    assert saved(page, "text=Table (CSV)", folder / "own.csv").read_text("utf-8").count("A. Reader 1") == 2


def test_a_mask_of_the_list_is_painted_and_measured(listed: Any, reviewed: tuple[str, Path]) -> None:
    page, (_, folder) = listed, reviewed
    page.fill("#who", "B")
    page.click("#masks tbody tr:nth-child(1) a")
    has(page, "#viewer-said", "")
    page.click("#eraser")
    for _ in range(40):
        page.keyboard.press("]")
    stroke(page, 0.6, 0.95)
    has(page, "#paint-said", "1 slice changed, not measured yet")
    page.click("#save")
    page.wait_for_selector("#changes")
    assert "Corrected by B" in page.inner_text("#job") and judged(page) == []
    old, new = (read_volume(folder / "S1" / part / "mask.nii.gz") for part in (".", "corrected"))
    assert (old.data != new.data).any() and not (new.data > old.data).any()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 800, 360])
def test_the_list_fits_every_width(scheme: str, width: int, browser: Any, reviewed: tuple[str, Path]) -> None:
    own = new_page(browser, width, 800, color_scheme=scheme)
    own.goto(reviewed[0])
    assert own.evaluate("document.documentElement.scrollWidth <= innerWidth") and judged(own) == []
    own.click("#masks tbody tr:nth-child(1) a")
    has(own, "#viewer-said", "")
    assert own.evaluate("document.documentElement.scrollWidth <= innerWidth") and judged(own) == []
    own.close()
