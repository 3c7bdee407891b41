"""The page without a server, in a browser: the mask that it gives is that of `musclesense.segment`."""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import pytest

import musclesense as ms
from musclesense.imaging.nifti import read_volume
from musclesense.serve.work import _write_example
from musclesense.site.writing import write_site
from musclesense.storage.niivue import is_packed

from ..shared.browser import as_volume, browser, coloured, judged, new_page, saved

__all__ = ["browser"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
RUNTIME = Path(os.environ.get("MUSCLESENSE_ONNXRUNTIME_WEB", "onnxruntime-web.tgz"))
REAL = os.environ.get("MUSCLESENSE_REAL_DATA")


class _Quiet(SimpleHTTPRequestHandler):
    more: ClassVar[dict[str, str]] = {}

    def end_headers(self) -> None:
        for name, value in self.more.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not RUNTIME.exists():
        pytest.skip("needs npm's package onnxruntime-web; MUSCLESENSE_ONNXRUNTIME_WEB names it")
    folder = write_site(tmp_path_factory.mktemp("site") / "page", runtime=RUNTIME)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A tab that takes nothing amiss: no error of a script, no policy that is broken, no address elsewhere."""
    said: list[str] = []
    own = new_page(browser)
    own.on("pageerror", lambda error: said.append(str(error)))
    own.on(
        "console",
        lambda message: (
            said.append(message.text)
            if message.type in ("error", "warning")
            and "GPU stall" not in message.text  # of a processor that draws volumes
            else None
        ),
    )
    own.context.on(
        "request", lambda asked: said.append(asked.url) if not asked.url.startswith((address, "blob:")) else None
    )
    own.goto(address)
    own.wait_for_selector("#unserved", state="hidden")
    yield own
    own.close()
    assert said == []


def segmented(page: Any, file: Path, shows: str, region: str) -> None:
    """Let the page segment an image, and wait until it is shown."""
    page.set_input_files("#file", str(file))
    page.select_option("#shows", label=shows)
    page.select_option("#region", region)
    page.click("#send")
    page.wait_for_selector("#totals tr")
    page.wait_for_selector("#viewer-said:empty", state="attached")


def dice(one: Any, other: Any) -> float:
    return float(2 * np.count_nonzero((one > 0) & (one == other)) / (np.count_nonzero(one) + np.count_nonzero(other)))


@pytest.mark.parametrize(
    ("region", "image", "shows", "model"),
    [
        ("thigh", "fat", "the fat image", "any_scanner_fat"),
        ("calf", "water", "one image of any contrast", "any_contrast"),
    ],
)
def test_the_mask_of_a_phantom_is_that_of_the_program(
    region: str, image: str, shows: str, model: str, page: Any, tmp_path: Path
) -> None:
    _write_example(tmp_path / "scan", region)
    file = tmp_path / "scan" / f"image-001_{image}.nii.gz"
    if region == "calf":  # slices so near each other that they count for each other
        thick = nib.load(file)
        nib.Nifti1Image(thick.get_fdata(dtype=np.float32), thick.affine @ np.diag([1, 1, 0.25, 1])).to_filename(file)
    scan = ms.read_scan(fat=file) if image == "fat" else ms.read_scan(image=file)
    _compare(page, file, shows, ms.segment(scan, model=model, region=region), tmp_path)
    assert judged(page) == []


def test_several_cores_are_used_where_the_host_allows_it(page: Any, tmp_path: Path, monkeypatch: Any) -> None:
    headers = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    monkeypatch.setattr(_Quiet, "more", headers)
    page.reload()
    assert page.evaluate("crossOriginIsolated")
    workers: list[str] = []
    page.on("worker", lambda one: workers.append(one.url))
    _write_example(tmp_path / "scan", "thigh")
    file = tmp_path / "scan" / "image-001_fat.nii.gz"
    made = ms.segment(ms.read_scan(fat=file), model="any_scanner_fat", region="thigh")
    _compare(page, file, "the fat image", made, tmp_path)
    assert len(workers) > 1 or page.evaluate("navigator.hardwareConcurrency") == 1


@pytest.mark.skipif(not REAL, reason="needs real scans; MUSCLESENSE_REAL_DATA names their folder")
def test_the_mask_of_a_real_scan_is_that_of_the_program(page: Any, tmp_path: Path) -> None:
    file = Path(str(REAL)) / "ideal_thigh" / "fat.nii.gz"
    made = ms.segment(ms.read_scan(fat=file), model="any_scanner_fat", region="thigh", limbs="both")
    _compare(page, file, "the fat image", made, tmp_path)


def _compare(page: Any, file: Path, shows: str, made: Any, out: Path) -> None:
    segmented(page, file, shows, made.region)
    given, wanted = read_volume(saved(page, "#download", out / "mask.nii.gz")), made.mask
    assert np.allclose(given.geometry.affine, nib.load(file).affine, atol=1e-6)
    assert given.data.shape == wanted.shape and wanted.any()
    assert dice(given.data, wanted) >= 0.999
    slices = [row for row in made.rows if row["slice"] != "all" and row["label"] == "muscle"]
    ml = {limb: sum(row["volume_ml"] for row in slices if row["limb"] == limb) for limb in ("right", "left")}
    shown = page.locator("#totals tr").all_inner_texts()
    for text in shown:
        limb, label, volume, *_ = text.split("\t")
        if label == "muscle":
            assert float(volume) == pytest.approx(ml[limb], rel=0.01, abs=0.1)


def test_what_is_painted_is_measured_and_downloaded(page: Any, tmp_path: Path) -> None:
    _write_example(tmp_path / "scan", "thigh")
    segmented(page, tmp_path / "scan" / "image-001_fat.nii.gz", "the fat image", "thigh")
    before = page.inner_text("#totals")
    if is_packed():
        as_volume(page)
        assert coloured(page) > 2000 and judged(page) == []
    page.keyboard.press("e")
    page.fill("#size", "40")
    box = page.locator("#canvas").bounding_box()
    for step, part in enumerate((0.6, 0.8, 0.95)):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + 0.5 * box["height"], steps=5)
        if not step:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#save:enabled")
    given = read_volume(saved(page, "#download", tmp_path / "mask.nii.gz")).data
    automatic = read_volume(saved(page, "#automatic", tmp_path / "automatic.nii.gz")).data
    assert (automatic > given).any() and not (given > automatic).any()
    assert np.flatnonzero((automatic != given).any(axis=(0, 1))).tolist() == [2]
    assert page.inner_text("#totals") != before
    rows = saved(page, "#csv", tmp_path / "measurements.csv").read_text().splitlines()
    assert rows[0].startswith("slice,limb,label,voxels,volume_ml")
    voxels = sum(int(row.split(",")[3]) for row in rows if row.startswith("all,"))
    assert voxels == np.count_nonzero(given)


@pytest.mark.parametrize(
    ("content", "said"), [(b"no scan", "is no NIfTI image"), (b"\x1f\x8b\x08\x00", "cannot be unpacked")]
)
def test_what_is_no_image_is_told(content: bytes, said: str, page: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.nii.gz").write_bytes(content)
    page.set_input_files("#file", str(tmp_path / "notes.nii.gz"))
    page.click("#send")
    assert "Choose the region" in page.inner_text("#problem")
    page.select_option("#region", "calf")
    page.click("#send")
    page.wait_for_selector(f"#problem:has-text('{said}')")
    assert judged(page) == []
    assert page.is_enabled("#send") and page.is_hidden("#working")


def test_what_a_browser_does_not_hold_and_several_files_are_told(page: Any, tmp_path: Path) -> None:
    for name, size in (("large.nii", 257 * 2**20), ("one.nii", 1)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)  # takes no room
    page.set_input_files("#file", str(tmp_path / "large.nii"))
    page.wait_for_selector("#problem:has-text('more than 256 MiB')")
    assert page.is_disabled("#send")
    page.set_input_files("#file", str(tmp_path / "one.nii"))
    page.wait_for_selector("#problem", state="hidden")
    assert page.is_enabled("#send")


def test_it_can_be_stopped_and_begun_again(page: Any, tmp_path: Path) -> None:
    _write_example(tmp_path / "scan", "calf")
    page.set_input_files("#file", str(tmp_path / "scan" / "image-001_fat.nii.gz"))
    page.select_option("#region", "calf")
    page.select_option("#limbs", "one")
    page.click("#send")
    page.wait_for_selector("#said:has-text('slice 1 of 5')")
    page.click("#stop")
    page.wait_for_selector("#working", state="hidden")
    page.click("#send")
    page.wait_for_selector("#totals tr")
    assert page.locator("#totals th").all_inner_texts() == ["one", "one"]
    assert page.inner_text("#values") == "1 muscle, 2 other_muscle"
