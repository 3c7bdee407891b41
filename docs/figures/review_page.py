"""Pictures of the page of ``musclesense review``: ``python -m docs.figures.review_page [OUT]``.

Simulates scans, two of them spoilt, segments them, says something of three masks, and takes the list and a mask. Needs
playwright and a Chromium, which `MUSCLESENSE_BROWSER` names.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from musclesense.imaging.nifti import write_volume
from musclesense.intake.batch import How, segment_table
from musclesense.phantom.cohorts.generate import scan_subject
from musclesense.phantom.cohorts.presets import find_preset
from musclesense.phantom.cohorts.subjects import list_subjects

PICTURES = Path(__file__).parents[1] / "img"
BROWSER = os.environ.get("MUSCLESENSE_BROWSER", "/usr/bin/chromium")
SUBJECTS, SLICES, SEED = (2, 5, 9, 13, 17, 20), 5, 7


def write_scans(folder: Path) -> Path:
    """Simulate thighs: one loses a part at the edge, one is full of noise; gives their table."""
    preset = find_preset("demo")
    assert preset.stack is not None
    preset = replace(preset, stack=replace(preset.stack, slices=SLICES))
    lines = ["subject,region,fat,water"]
    for place, number in enumerate(SUBJECTS):
        sessions = scan_subject(preset, list_subjects(preset)[number], SEED)
        scan = next(session.scan for session in sessions if session.region == "thigh")
        name = f"S{number:03}"
        for channel in ("fat", "water"):
            image, file = scan.volumes()[channel], folder / f"{name}_{channel}.nii.gz"
            write_volume(file, spoilt(image, place), scan.geometry(), np.float32)
        lines.append(f"{name},thigh,{name}_fat.nii.gz,{name}_water.nii.gz")
    table = folder / "cohort.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def spoilt(image: Any, place: int) -> Any:
    """Leave an image as it is, or spoil it."""
    if place == 2:
        return np.roll(image, image.shape[0] // 4, axis=0)
    if place == 4:
        return np.abs(image + np.random.default_rng(SEED).normal(0, 0.06 * image.max(), image.shape))
    return image


@contextmanager
def served(*verb: str) -> Iterator[str]:
    """Serve a page by its verb; gives its address."""
    command = [sys.executable, "-m", "musclesense", *verb, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def take(address: str, out: Path) -> None:
    """Say something of three masks, and take the pictures."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as own, own.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"]) as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(address)
        page.fill("#who", "A. Reader")
        page.click("#masks tbody tr:nth-child(1) a")
        say(page, "fail", "noise")
        page.click("#next")
        page.wait_for_selector("#viewer-said:empty", state="attached")
        say(page, "fail", "the right thigh is cut")
        page.screenshot(path=out / "review_mask.png")
        page.click("#next")
        say(page, "pass", "")
        page.set_viewport_size({"width": 1400, "height": 560})
        page.goto(address)
        page.screenshot(path=out / "review_list.png")


def say(page: Any, verdict: str, comment: str) -> None:
    """Judge the mask that is open."""
    page.fill("#comment", comment)
    page.click(f"button.{verdict}")
    page.wait_for_selector(f"button.{verdict}[aria-pressed=true]")


def main(out: Path = PICTURES) -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "thighs"
        segment_table(write_scans(Path(folder)), results, How(model=None, effort="fast"))
        with served("review", str(results)) as address:
            take(address, out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
