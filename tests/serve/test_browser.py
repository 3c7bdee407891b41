"""The page in a browser: upload, mask, brush, undo, measure again, download; what is refused; keys and windows."""

import gzip
import re
import signal
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import nibabel as nib
import numpy as np
import pytest
from experiments.trust.spoilt import SPOILT

from musclesense.imaging.nifti import read_volume
from musclesense.serve import desk

from ..segmentation.conftest import TwoLimbs
from ..shared.browser import as_volume, browser, coloured, expect, has, judged, new_page, saved, stroke, tab
from ..shared.waiting import end, wait_until
from .conftest import BUNDLE, served
from .doing import stands
from .test_main import started

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
__all__ = ["browser"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, address = started(tmp_path_factory.mktemp("data"), "--model", str(BUNDLE))
    yield address
    end(process)


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A tab with the first page."""
    yield from tab(browser, address)


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
    stroke(page, 0.6, 0.95)  # over the left limb, which is on the right
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


def test_the_volume_follows_keys_sliders_and_the_brush(page: Any, limbs: TwoLimbs) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_input_files("#files", [str(limbs.fat), str(limbs.water)])
    page.select_option("#region", "thigh")
    page.click("#send")
    page.wait_for_selector("#totals")
    has(page, "#viewer-said", "")
    assert not any("niivue" in url for url in asked), "it is read when it is asked for"
    as_volume(page)
    assert page.locator("#canvas").is_hidden() and judged(page) == []
    whole = coloured(page)
    assert whole > 2000
    slider(page, "opacity", 0)
    wait_until(lambda: coloured(page) < whole / 4)
    slider(page, "opacity", 0.35)
    wait_until(lambda: coloured(page) == whole)

    page.focus("#volume-canvas")
    before = page.locator("#volume-canvas").screenshot()
    page.keyboard.press("ArrowRight")
    wait_until(lambda: page.locator("#volume-canvas").screenshot() != before)
    box = page.locator("#volume-canvas").bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.55 * box["height"])  # over slices
    page.mouse.wheel(0, 100)
    wait_until(lambda: page.input_value("#slice") != "2")

    page.click("#eraser")  # slices are painted
    expect(page.locator("#canvas")).to_be_visible()
    page.fill("#size", "40")
    stroke(page, 0.05, 0.95)
    expect(page.locator("#save")).to_be_enabled()
    page.focus("#canvas")
    page.keyboard.press("Escape")
    as_volume(page)
    erased = coloured(page)
    assert erased < 0.95 * whole
    page.click("#undo")
    wait_until(lambda: coloured(page) > erased)
    page.focus("#volume-canvas")
    page.keyboard.press("v")
    expect(page.locator("#canvas")).to_be_visible()


def slider(page: Any, name: str, value: float) -> None:
    page.evaluate(f"document.querySelector('#{name}').value = {value}")
    page.dispatch_event(f"#{name}", "input")


# What cannot be used, by the networks of the package


@pytest.fixture(scope="module")
def real_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, address = started(tmp_path_factory.mktemp("data"), "--upload-mb", "8")
    yield address
    end(process)


@pytest.fixture
def real_page(browser: Any, real_address: str) -> Iterator[Any]:
    """A tab with the first page; uploads may have 8 MiB, and 32 when they are unpacked."""
    yield from tab(browser, real_address)


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no scan")
    return folder / "notes.txt"


def _cut_off(folder: Path) -> Path:
    _water(folder)
    content = (folder / "water.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    return folder / "cut.nii.gz"


def _bomb(folder: Path) -> Path:
    with gzip.open(folder / "bomb.nii.gz", "wb") as file:
        for _ in range(33):
            file.write(bytes(2**20))
    return folder / "bomb.nii.gz"


def _zip_bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scan/fat.nii", bytes(33 * 2**20))
    return folder / "bomb.zip"


def _half_a_zip(folder: Path) -> Path:
    content = _zip_bomb(folder).read_bytes()
    (folder / "half.zip").write_bytes(content[: len(content) // 2])
    return folder / "half.zip"


def _brain(folder: Path) -> Path:
    drawn = SPOILT["brain"]()
    nib.save(nib.Nifti1Image(drawn.images["image"].astype(np.float32), drawn.affine), folder / "brain.nii.gz")
    return folder / "brain.nii.gz"


def _times(folder: Path) -> Path:
    water = nib.load(_water(folder))
    nib.save(nib.Nifti1Image(np.stack([water.get_fdata()] * 2, axis=-1), water.affine), folder / "times.nii.gz")
    return folder / "times.nii.gz"


def _water(folder: Path) -> Path:
    """The water image of a thigh."""
    drawn = SPOILT["water given as fat, alone"]()
    nib.save(nib.Nifti1Image(drawn.images["fat"], drawn.affine), folder / "water.nii.gz")
    return folder / "water.nii.gz"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_text, "holds no image (.nii, .nii.gz, .nrrd) and no DICOM"),
        (_cut_off, "voxels cannot be read"),
        (_bomb, "upload: is larger than 32 MiB when unpacked; give one scan alone"),
        (_zip_bomb, "upload: is larger than 32 MiB when unpacked; give one scan alone"),
        (_half_a_zip, "archive: is damaged or cut off; make the zip again"),
        (_brain, "most slices show the head"),
        (_times, "are not known; give echo times MS MS ..."),
    ],
)
def test_what_cannot_be_used_is_told(make: Callable[[Path], Path], said: str, real_page: Any, tmp_path: Path) -> None:
    page, file = real_page, make(tmp_path)
    page.set_input_files("#files", str(file))
    page.click("#send")
    page.wait_for_selector("h1:has-text('was not segmented')")
    assert said in page.inner_text(".problem")
    if file.suffix == ".gz":
        has(page, "#names", f"image-001 is {file.name}")  # which the page's script writes
    assert judged(page) == [] and str(tmp_path) not in page.inner_text("main")
    page.click("text=Delete it now")
    page.wait_for_selector("h1:has-text('is deleted')")


def test_what_is_too_large_is_not_even_sent(real_page: Any, tmp_path: Path) -> None:
    with (tmp_path / "large.nii").open("wb") as file:
        file.truncate(9 * 2**20)
    real_page.set_input_files("#files", str(tmp_path / "large.nii"))
    has(real_page, "#problem", "This is more than 8 MiB. Choose one scan alone.")
    expect(real_page.locator("#send")).to_be_disabled()
    real_page.set_input_files("#files", str(_water(tmp_path)))
    expect(real_page.locator("#problem")).to_be_hidden()
    expect(real_page.locator("#send")).to_be_enabled()


def test_without_scripts_what_is_too_large_is_told_by_the_server(
    browser: Any, real_address: str, tmp_path: Path
) -> None:
    with (tmp_path / "large.nii").open("wb") as file:
        file.truncate(9 * 2**20)
    page = new_page(browser, java_script_enabled=False)
    page.goto(real_address)
    page.set_input_files("#files", str(tmp_path / "large.nii"))
    page.click("#send")
    has(page, ".problem", "The upload is larger than 8 MiB.")
    page.click("text=Back")
    page.set_input_files("#files", str(_text(tmp_path)))
    page.click("#send")
    page.wait_for_selector("h1:has-text('was not segmented')")  # the page loads itself again
    page.close()


@pytest.mark.parametrize(
    ("most", "said"),
    [("256", "The upload is larger than 256 MiB."), ("1024", "image-001.nii: ")],
)
def test_300_mb_are_refused_or_read_piece_by_piece(most: str, said: str, browser: Any, tmp_path: Path) -> None:
    with (tmp_path / "large.nii").open("wb") as file:
        file.truncate(300 * 10**6)
    process, address = started(tmp_path / "data", "--upload-mb", most)
    with ExitStack() as ending:
        ending.callback(end, process)
        page = new_page(browser, java_script_enabled=False)  # scripts refuse it before it is sent
        ending.callback(page.close)
        page.goto(address)
        page.set_input_files("#files", str(tmp_path / "large.nii"))
        page.click("#send")
        expect(page.locator(".problem")).to_contain_text(said)
        status = Path(f"/proc/{process.pid}/status")
        if status.is_file():
            peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            assert peak and int(peak[1]) < 150_000, "it has held what it was given"
        assert sum(one.stat().st_size for one in (tmp_path / "data").rglob("*") if one.is_file()) < 10**6


def test_water_that_is_given_as_fat_is_flagged(real_page: Any, tmp_path: Path) -> None:
    page = real_page
    page.set_input_files("#files", str(_water(tmp_path)))
    page.select_option("#list select", "fat")
    page.click("#send")
    page.wait_for_selector("#totals")
    assert "as in a water image" in page.inner_text(".flagged")
    assert page.locator("h1 .dot.flag").count() == 1 and judged(page) == []


# What people do with windows and keys


def test_by_keys_alone_from_the_file_to_its_removal(page: Any, limbs: TwoLimbs) -> None:
    page.on("filechooser", lambda _: None)  # long before the key, so that the system's own dialog never opens
    page.bring_to_front()
    reached(page, "#files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([str(limbs.fat), str(limbs.water)])
    reached(page, "#region")
    page.keyboard.type("thigh")
    reached(page, "#limbs")
    page.keyboard.type("both")
    reached(page, "#send")
    page.keyboard.press("Enter")
    page.wait_for_selector("#totals")
    has(page, "#viewer-said", "")
    reached(page, "#canvas")
    page.keyboard.press("End")
    has(page, "#where", "slice 3 of 0–3")  # noqa: RUF001
    reached(page, "form button")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('is deleted')")


def reached(page: Any, selector: str) -> None:
    """Go on by the tabulator until an element has the focus."""
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached")


def test_who_comes_back_finds_the_files_and_may_say_more(page: Any, limbs: TwoLimbs) -> None:
    page.set_input_files("#files", [str(limbs.fat), str(limbs.water)])
    page.select_option("#region", "calf")
    page.click("#send")
    page.wait_for_selector("h1:has-text('was not segmented')")
    assert "trained on thigh" in page.inner_text(".problem")
    page.go_back()
    expect(page.locator("#list li")).to_have_count(2)
    page.select_option("#region", "thigh")
    page.click("#send")
    page.wait_for_selector("#totals")


def test_of_two_windows_the_second_that_paints_is_told(page: Any, browser: Any, limbs: TwoLimbs) -> None:
    page.set_input_files("#files", [str(limbs.fat), str(limbs.water)])
    page.select_option("#region", "thigh")
    page.click("#send")
    page.wait_for_selector("#totals")
    other = new_page(browser)
    other.goto(page.url)
    for one, first, last in ((page, 0.6, 0.95), (other, 0.05, 0.4)):
        one.bring_to_front()  # a window behind another draws no frames, which clicks wait for
        has(one, "#viewer-said", "")
        one.click("#eraser")
        stroke(one, first, last)
        expect(one.locator("#save")).to_be_enabled()
    page.bring_to_front()
    page.click("#save")
    page.wait_for_selector("#changes")
    before = page.inner_text("#changes")
    other.bring_to_front()
    other.click("#save")
    expect(other.locator("#paint-said")).to_contain_text("corrected in another window meanwhile")
    other.close()
    page.reload()
    assert page.inner_text("#changes") == before
    page.click("text=Delete it now")
    page.wait_for_selector("h1:has-text('is deleted')")


# What ends midway


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A file of 40 MB, which takes no room."""
    with (tmp_path / "many.nii").open("wb") as file:
        file.truncate(40 * 10**6)
    return tmp_path / "many.nii"


def test_an_upload_that_is_stopped_or_left_midway_leaves_nothing(
    browser: Any, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, goes_on, read = tmp_path / "data", threading.Event(), desk._steady

    async def held(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in read(body):
            yield piece
            await anyio.to_thread.run_sync(goes_on.wait)

    def begun(page: Any) -> None:
        """Send a file, of which the server takes no more than a part until it may go on."""
        goes_on.clear()
        page.set_input_files("#files", str(many))
        page.select_option("#limbs", "both")
        page.click("#send")
        whole = many.stat().st_size
        wait_until(lambda: any(0 < one.stat().st_size < whole for one in data.glob("jobs/*/upload/*")))

    monkeypatch.setattr(desk, "_steady", held)
    with served(stands, data=data) as client, ExitStack() as ending:
        ending.callback(goes_on.set)
        for page in tab(browser, str(client.base_url)):
            begun(page)
            page.click("#stop")
            expect(page.locator("#sending")).to_be_hidden()
            expect(page.locator("#problem")).to_be_hidden()
            goes_on.set()
            wait_until(lambda: not any(data.glob("jobs/*")))
            page.click("#send")  # what was chosen is still there
            page.wait_for_selector("#totals")
        (kept,) = data.glob("jobs/*")
        other = new_page(browser)
        other.goto(str(client.base_url))
        begun(other)
        other.close()
        goes_on.set()
        wait_until(lambda: [*data.glob("jobs/*")] == [kept])


def test_a_server_that_ends_during_an_upload_is_told(browser: Any, many: Path, tmp_path: Path) -> None:
    process, address = started(tmp_path / "data")
    page = new_page(browser)
    page.goto(address)
    page.set_input_files("#files", str(many))
    process.send_signal(signal.SIGSTOP)  # it takes no more than what the system keeps for it
    page.click("#send")
    expect(page.locator("#sent-said")).to_contain_text("of 40.0 MB")
    end(process)
    has(page, "#problem", "The server could not be reached. Is it running?")
    expect(page.locator("#send")).to_be_enabled()
    page.close()


def test_a_scan_is_deleted_while_it_is_segmented(browser: Any, tmp_path: Path) -> None:
    with served(stands, data=tmp_path / "data") as client:
        for page in tab(browser, str(client.base_url)):
            page.set_input_files("#files", str(_text(tmp_path)))
            page.select_option("#limbs", "right")  # which takes for ever
            page.click("#send")
            page.wait_for_selector("h1:has-text('At work')")
            wait_until(lambda: any((tmp_path / "data").glob("jobs/*/begun")))
            page.click("text=Stop and delete it")
            page.wait_for_selector("h1:has-text('is deleted')")
            assert judged(page) == [] and not any((tmp_path / "data").glob("jobs/*"))
            page.goto(str(client.base_url))  # others go on
            page.set_input_files("#files", str(_text(tmp_path)))
            page.select_option("#limbs", "both")
            page.click("#send")
            page.wait_for_selector("#totals")
