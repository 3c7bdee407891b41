"""The page in a browser: upload, mask, brush, undo, measure again, download; by keyboard, and as axe judges it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

import musclesense as ms
from musclesense.imaging.nifti import read_volume

from ..segmentation.conftest import TwoLimbs, found_in
from ..shared.browser import browser, expect, judged, new_page, saved
from ..shared.waiting import end
from .conftest import BUNDLE
from .test_main import started

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
__all__ = ["browser"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, address = started(tmp_path_factory.mktemp("data"), "--model", str(BUNDLE))
    yield address
    end(process)


def tab(browser: Any, address: str) -> Iterator[Any]:
    """A tab that takes nothing amiss: no error of a script, no policy that is broken, no address elsewhere."""
    said: list[str] = []
    own = new_page(browser)
    own.on("pageerror", lambda error: said.append(str(error)))
    own.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    own.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith((address, "blob:")) else None)
    own.goto(address)
    yield own
    own.close()
    assert [one for one in said if "status of 410" not in one] == []  # of what was deleted


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A tab with the first page."""
    yield from tab(browser, address)


def has(page: Any, selector: str, text: str) -> None:
    """Wait for a text."""
    expect(page.locator(selector)).to_have_text(text)


def pixels(page: Any) -> Any:
    """The canvas, as numbers."""
    told = page.evaluate("[...document.querySelector('#canvas').getContext('2d').getImageData(0, 0, 300, 300).data]")
    return np.array(told)


def test_from_the_upload_to_the_corrected_mask(page: Any, limbs: TwoLimbs, tmp_path: Path) -> None:
    assert judged(page) == []
    page.set_input_files("#files", [str(limbs.fat), str(limbs.water)])
    assert page.locator("#list li").count() == 2
    page.select_option("#region", "thigh")
    page.select_option("#limbs", "both")
    page.click("#send")
    page.wait_for_selector("#totals")
    has(page, "#viewer-said", "")
    assert judged(page) == []
    automatic = saved(page, "a[href$='files/mask.nii.gz']", tmp_path / "mask.nii.gz")
    before = page.inner_text("#totals tbody tr:nth-child(2) td.main")

    page.focus("#canvas")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    has(page, "#where", "slice 1 of 0–3")  # noqa: RUF001
    page.keyboard.press("e")
    assert page.get_attribute("#eraser", "aria-pressed") == "true"
    for _ in range(40):
        page.keyboard.press("]")
    box = page.locator("#canvas").bounding_box()
    _stroke(page, box, 0.6, 0.95)
    has(page, "#paint-said", "1 slice changed, not measured yet")
    page.keyboard.press("Control+z")
    expect(page.locator("#save")).to_be_disabled()
    page.keyboard.press("Control+y")
    expect(page.locator("#save")).to_be_enabled()
    page.click("#save")
    page.wait_for_selector("#changes")
    assert (
        page.inner_text("#totals tbody tr:nth-child(2) td.main") != before or page.locator("#changes tr").count() == 3
    )
    assert int(page.inner_text("#changes tbody tr:nth-child(2) td:nth-child(4)")) > 0

    corrected = saved(page, ".downloads >> nth=0 >> a[href$='mask.nii.gz']", tmp_path / "corrected.nii.gz")
    old, new = read_volume(automatic), read_volume(corrected)
    assert np.allclose(nib.load(corrected).affine, limbs.geometry.affine)
    assert np.flatnonzero((old.data != new.data).any(axis=(1, 2))).tolist() == [1]
    gone = (old.data > 0) & (new.data == 0)
    assert gone.any() and not (new.data > old.data).any() and not gone[:, limbs.right.any(axis=(0, 2))].any()


def _stroke(page: Any, box: dict[str, float], first: float, last: float) -> None:
    """Draw over the left limb, which is on the right."""
    for step, part in enumerate((first, (first + last) / 2, last)):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + 0.5 * box["height"], steps=5)
        if not step:
            page.mouse.down()
    page.mouse.up()


def test_the_picture_follows_what_is_chosen(page: Any) -> None:
    page.click("text=Example: thighs")
    page.wait_for_selector("#totals")
    has(page, "#viewer-said", "")
    seen = [pixels(page)]
    for change in ("#image >> option", "white", "opacity", "contour"):
        if change.startswith("#"):
            page.select_option("#image", "water")
        elif change == "contour":
            page.uncheck("#contour")
        else:
            page.evaluate(f"document.querySelector('#{change}').value = 0.9")
            page.dispatch_event(f"#{change}", "input")
        has(page, "#viewer-said", "")
        seen.append(pixels(page))
    assert len({one.tobytes() for one in seen}) >= 3


def test_a_text_file_is_answered_with_what_is_wrong(page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no scan")
    page.set_input_files("#files", str(tmp_path / "notes.txt"))
    page.click("#send")
    page.wait_for_selector("h1:has-text('was not segmented')")
    assert "holds no image" in page.inner_text(".problem")
    assert judged(page) == []
    page.click("text=Delete it now")
    page.wait_for_selector("h1:has-text('is deleted')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [820, 640, 360])
def test_it_fits_a_tablet_and_large_letters(scheme: str, width: int, browser: Any, address: str) -> None:
    own = new_page(browser, width, 800, color_scheme=scheme)
    own.goto(address)
    assert own.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert judged(own) == []
    own.close()


# The list of review


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
    _stroke(page, page.locator("#canvas").bounding_box(), 0.6, 0.95)
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
