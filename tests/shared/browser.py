"""A browser for tests of pages: any Chromium or Chrome that is installed. Whatever waits in it waits for the page."""

import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from musclesense.storage.niivue import is_packed

from .waiting import LONGEST_SECONDS

_INSTALLED = filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser")))
_BROWSER = os.environ.get("MUSCLESENSE_BROWSER") or next(_INSTALLED, None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The browser, or the reason why there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    if _BROWSER is None or not Path(_BROWSER).is_file():
        pytest.skip("needs a browser (Chromium or Chrome): install one, or name it by MUSCLESENSE_BROWSER")
    playwright.expect.set_options(timeout=1000 * LONGEST_SECONDS)
    with playwright.sync_playwright() as own:
        one = own.chromium.launch(executable_path=_BROWSER, args=["--no-sandbox"])
        yield one
        one.close()


def new_page(browser: Any, width: int = 1280, height: int = 900, **asked: Any) -> Any:
    """Open a tab in which nothing gives up."""
    page = browser.new_page(viewport={"width": width, "height": height}, **asked)
    page.set_default_timeout(1000 * LONGEST_SECONDS)
    return page


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


def expect(found: Any) -> Any:
    """Wait for what is said of an element, by no code that the page would have to evaluate: its policy forbids that."""
    from playwright.sync_api import expect

    return expect(found)


def as_volume(page: Any) -> None:
    """Show the scan as a volume, by its key, and wait until it is there."""
    if not is_packed():
        pytest.skip("needs NiiVue in the package, where make setup puts it")
    page.keyboard.press("v")
    expect(page.locator("#volume-canvas")).to_be_visible()
    has(page, "#volume-said", "")


def coloured(page: Any) -> int:
    """How many pixels of the volume are no grey."""
    picture = np.asarray(Image.open(BytesIO(page.locator("#volume-canvas").screenshot())).convert("RGB")).astype(int)
    return int(np.count_nonzero(np.ptp(picture, axis=2) > 24))


def has(page: Any, selector: str, text: str) -> None:
    """Wait for a text."""
    expect(page.locator(selector)).to_have_text(text)


def stroke(page: Any, first: float, last: float) -> None:
    """Draw across the middle of the slice that is shown, between two places in parts of its width."""
    box = page.locator("#canvas").bounding_box()
    for step, part in enumerate((first, (first + last) / 2, last)):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + 0.5 * box["height"], steps=5)
        if not step:
            page.mouse.down()
    page.mouse.up()


def judged(page: Any) -> list[str]:
    """What axe finds wrong: contrast, labels, headings and the like."""
    page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found["violations"]]


def saved(page: Any, selector: str, out: Path) -> Path:
    """Click what downloads a file, and keep it."""
    with page.expect_download() as download:
        page.click(selector)
    download.value.save_as(out)
    return out
