"""Pictures of the pages of ``musclesense serve`` and ``site``: ``python -m docs.figures.serve_page RUNTIME [OUT]``.

Lets the page simulate a thigh and segment it. `RUNTIME` is npm's package onnxruntime-web, as of ``site --runtime``.
Needs playwright and a Chromium, which `MUSCLESENSE_BROWSER` names, and NiiVue in the package.
"""

import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from docs.figures.review_page import BROWSER, PICTURES, served

from musclesense.serve.work import _write_example
from musclesense.site.writing import write_site

_LONGEST_MS = 3_600_000
DESKTOP, TABLET = {"width": 1280, "height": 1010}, {"width": 820, "height": 1320}


def take(browser: Any, address: str, out: Path) -> None:
    """Take the form, a result and its volume."""
    page = browser.new_page(viewport=TABLET, color_scheme="dark")
    page.set_default_timeout(_LONGEST_MS)
    page.goto(address)
    page.click("summary")
    page.screenshot(path=out / "page_form.png")
    page.click("text=Example: thighs")
    settled(page)
    page.screenshot(path=out / "page_tablet.png")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESKTOP)
    page.screenshot(path=out / "page_result.png")
    page.click("#as-volume")
    page.wait_for_selector("#volume-said:empty", state="attached")
    page.screenshot(path=out / "page_volume.png")


def take_site(browser: Any, folder: Path, image: Path, out: Path) -> None:
    """Take the page without a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(_LONGEST_MS)
    page.goto(f"http://127.0.0.1:{server.server_port}")
    page.set_input_files("#file", str(image))
    page.select_option("#shows", label="the fat image")
    page.select_option("#region", "thigh")
    page.click("#send")
    settled(page)
    page.screenshot(path=out / "page_site.png")
    server.shutdown()


def settled(page: Any) -> None:
    """Wait until a result is shown."""
    page.wait_for_selector("#totals")
    page.wait_for_selector("#viewer-said:empty", state="attached")


def main(runtime: Path, out: Path = PICTURES) -> None:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as own:
        browser = own.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        with served("serve", "--data", f"{folder}/data") as address:
            take(browser, address, out)
        _write_example(Path(folder) / "scan", "thigh")
        image = Path(folder) / "scan" / "image-001_fat.nii.gz"
        take_site(browser, write_site(Path(folder) / "site", runtime=runtime), image, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
