"""Real scans on the page, in a browser: segmented by the networks of the package, corrected, downloaded."""

import csv
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest

from musclesense.cli.main import main
from musclesense.storage.niivue import is_packed

from ..serve.test_main import started
from ..shared.browser import as_volume, browser, coloured, expect, has, judged, saved, stroke, tab
from ..shared.waiting import end, wait_until

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
__all__ = ["browser"]
ECHOES = tuple(f"te{echo}_{part}" for echo in (345, 460, 575) for part in ("magnitude", "phase"))
SCANS = {
    "fat and water": ("ideal_thigh", ("fat", "water"), slice(5, 8)),
    "echoes with phases": ("siemens_thigh", ECHOES, slice(4, 6)),
    "both calves, turbo spin echo": ("tse_calf", ("te16",), slice(4, 7)),
    "one limb, T1": ("sts_calf_010", ("t1",), slice(25, 28)),
    "zip of DICOM": ("sts_thigh_045", (), slice(30, 35)),
}
"""Folder, images and slices: few, so that it takes seconds."""
_COLOURED = """() => {
  const own = document.getElementById("canvas");
  const {data} = own.getContext("2d").getImageData(0, 0, own.width, own.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) count += data[at] !== data[at + 1] || data[at + 1] !== data[at + 2];
  return count / (data.length / 4);
}"""
"""How much of the picture is no grey."""


class Given(NamedTuple):
    """What a visitor uploads, what the command reads, and an image in whose voxels masks must lie."""

    upload: list[Path]
    path: Path
    image: Any


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, address = started(tmp_path_factory.mktemp("data"))
    yield address
    end(process)


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A tab with the first page."""
    yield from tab(browser, address)


@pytest.fixture(params=SCANS)
def given(request: pytest.FixtureRequest, real_data: Path, tmp_path: Path) -> Given:
    folder, names, slices = SCANS[request.param]
    (tmp_path / "scan").mkdir()
    if not names:
        return _dicom(real_data / folder, slices, tmp_path)
    files = [tmp_path / "scan" / f"{name}.nii.gz" for name in names]
    for file in files:
        nib.save(nib.load(real_data / folder / file.name).slicer[:, :, slices], file)
    return Given(files, tmp_path / "scan", nib.load(files[0]))


def _dicom(folder: Path, slices: slice, tmp_path: Path) -> Given:
    """A zip of a folder of slices; the same thigh lies beside it as NIfTI."""
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for file in sorted((folder / "dicom").iterdir())[slices]:
            archive.write(shutil.copy(file, tmp_path / "scan"), f"DICOM/PA000001/SE000003/{file.stem}")
    return Given([tmp_path / "export.zip"], tmp_path / "scan", nib.load(folder / "t1.nii.gz").slicer[:, :, slices])


def rows_of(table: Path) -> list[dict[str, str]]:
    """The totals of a table of measurements."""
    with table.open() as file:
        return [row for row in csv.DictReader(file) if row["slice"] == "all"]


def cells_of(page: Any) -> list[list[str]]:
    """What the page's table shows of limb, label, volume and fat fraction."""
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator("#totals tbody tr").all()]
    return [[row[number] for number in (0, 1, 3, 4)] for row in rows]


def as_shown(row: dict[str, str]) -> list[str]:
    numbers = (f"{float(row[name]):.1f}" if row[name] else "–" for name in ("volume_ml", "fat_fraction_percent"))  # noqa: RUF001
    return [row["limb"], row["label"], *numbers]


def test_a_real_scan_is_segmented_corrected_and_taken_home(page: Any, given: Given, tmp_path: Path) -> None:
    page.set_input_files("#files", [*map(str, given.upload)])
    page.click("#send")
    page.wait_for_selector("#totals")
    has(page, "#viewer-said", "")
    assert judged(page) == []

    main(["segment", str(given.path), "--out", str(tmp_path / "own"), "--anonymous"])
    own = tmp_path / "own" / "measurements.csv"
    table = saved(page, "a[href$='measurements.csv']", tmp_path / "measurements.csv")
    assert table.read_bytes() == own.read_bytes()
    assert cells_of(page) == [as_shown(row) for row in rows_of(own)]
    _require_shown(page, tmp_path)
    if is_packed():
        _require_volume(page)

    page.click("#brush")
    stroke(page, 0.25, 0.75)  # the edge of the image stays clear, which would leave the slice out of totals
    expect(page.locator("#save")).to_be_enabled()
    page.click("#save")
    page.wait_for_selector("#changes")
    new = saved(page, ".downloads >> nth=0 >> a[href$='measurements.csv']", tmp_path / "corrected.csv")
    for before, now in zip(rows_of(own), rows_of(new), strict=True):
        if before["label"] == "muscle":
            assert float(now["volume_ml"]) > float(before["volume_ml"])
            assert now["fat_fraction_percent"] != before["fat_fraction_percent"] or not before["fat_fraction_percent"]
    assert cells_of(page) == [as_shown(row) for row in rows_of(new)]
    _require_own_voxels(page, given, tmp_path)


def _require_volume(page: Any) -> None:
    """The mask is seen over the volume, as much of it as is asked for."""
    as_volume(page)
    seen = coloured(page)
    page.keyboard.press("m")
    wait_until(lambda: coloured(page) < seen / 2)
    page.keyboard.press("m")
    wait_until(lambda: coloured(page) == seen)
    assert judged(page) == []


def _require_shown(page: Any, tmp_path: Path) -> None:
    """Over the slice that is shown as much of the picture has a colour as the mask has voxels there."""
    mask = nib.load(saved(page, "a[href$='mask.nii.gz']", tmp_path / "shown.nii.gz"))
    number = int(page.input_value("#slice"))
    (top, bottom), (left, right) = page.evaluate("box")
    page.focus("#canvas")
    page.keyboard.press("o")  # no outline
    has(page, "#viewer-said", "")
    part = np.count_nonzero(np.asarray(mask.dataobj)[..., number]) / ((bottom - top) * (right - left))
    assert part < page.evaluate(_COLOURED) < 1.3 * part  # the picture is smooth, so that borders are wider
    page.keyboard.press("m")
    assert page.evaluate(_COLOURED) == 0
    page.keyboard.press("m")


def _require_own_voxels(page: Any, given: Given, tmp_path: Path) -> None:
    """Every image that is downloaded lies as the upload does, of DICOM but for the order in which it is stored."""
    links = [link.get_attribute("href") for link in page.locator(".downloads a[href$='.nii.gz']").all()]
    turned = nib.as_closest_canonical if given.upload[0].suffix == ".zip" else lambda image: image
    wanted = turned(given.image)
    for number, link in enumerate(links):
        image = turned(nib.load(saved(page, f"a[href='{link}']", tmp_path / f"{number}.nii.gz")))
        assert image.shape == wanted.shape and np.allclose(image.affine, wanted.affine, atol=1e-3)
        assert np.isfinite(image.get_fdata()).all()
    assert len(links) >= 2  # the automatic mask and the corrected one
