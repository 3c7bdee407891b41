"""The scans of a report in a viewer: what is written beside the page, and what a browser makes of it."""

import base64
import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from musclesense.cli.main import main
from musclesense.errors import InputError
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.points import nearest
from musclesense.storage.niivue import NIIVUE, VARIABLE, Viewer, is_packed
from musclesense.storage.npm import Package
from musclesense.studies.layout import StudyFolder
from musclesense.studies.overlays import read_overlays, write_overlays
from musclesense.studies.reading import read_study

from ...shared.browser import browser, judged, new_page

__all__ = ["browser"]

StudyWriter = Callable[..., Path]
GIVEN = os.environ.get(VARIABLE)
SOME = [(0, 0), (0, 1), (1, 0)]


@pytest.fixture
def without_niivue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Package, "files", lambda *_: {"niivue.umd.js": b"// a viewer"})


def several_slices(study: Path) -> None:
    """Let each run have kept each slice at three heights."""
    for run in StudyFolder(study).finished_runs():
        lines = {case.line for one in read_study(study).runs if one.folder == run for case in one.cases}
        kept = [one for line in sorted(lines) for one in read_overlays(run, line)]
        more = [replace(one, slice=one.slice + up, image=np.roll(one.image, up, 0)) for one in kept for up in (0, 2, 1)]
        write_overlays(run, more)


def read(script: Path) -> dict[str, Any]:
    """The images of a script, as arrays."""
    text = re.fullmatch(r"volumes\[\d+\] = (.*);\n", script.read_text(encoding="utf-8"))
    assert text
    packed = {name: gzip.decompress(base64.b64decode(one)) for name, one in json.loads(text[1]).items()}
    return {name: nib.Nifti1Image.from_bytes(one) for name, one in packed.items()}


@pytest.mark.usefixtures("without_niivue")
def test_each_acquisition_is_a_volume_of_the_slices_that_were_kept(write_study: StudyWriter) -> None:
    study = write_study(finished=SOME)
    several_slices(study)
    folder = write_report(study, Viewer()).parent / "volumes"
    chosen = {line: run for run, own in nearest(read_study(study)) for line, _ in own}
    assert {file.name for file in folder.iterdir()} == {
        *("niivue.umd.js", "LICENSE"),
        *(f"{line}.js" for line in chosen),
    }
    assert len(chosen) == 8
    for line, run in chosen.items():
        volumes, kept = read(folder / f"{line}.js"), sorted(read_overlays(run.folder, line), key=lambda one: one.slice)
        assert [*volumes] == ["image", "truth", "prediction"] and [one.slice for one in kept] == [5, 6, 7]
        for name, volume in volumes.items():
            assert volume.header.get_zooms() == (1.25, 1.25, 10)
            assert nib.aff2axcodes(volume.affine) == ("L", "P", "S")
            for at, one in enumerate(kept):
                assert np.array_equal(np.asarray(volume.dataobj)[..., at].T, getattr(one, name))


@pytest.mark.usefixtures("without_niivue")
def test_the_same_study_gives_the_same_bytes_in_place_of_earlier_ones(write_study: StudyWriter) -> None:
    study = write_study(finished=SOME)
    folder = write_report(study, Viewer()).parent / "volumes"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    (folder / "99.js").write_text("left")
    write_report(study, Viewer())
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_page_without_a_viewer_has_none(write_study: StudyWriter) -> None:
    page = write_report(write_study(finished=SOME))
    assert "volumes" not in page.read_text(encoding="utf-8") and not (page.parent / "volumes").exists()


@pytest.mark.usefixtures("without_niivue")
@pytest.mark.parametrize("asked", [["--volumes"], ["--viewer", "niivue.tgz"]])
def test_the_command_asks_for_it(write_study: StudyWriter, asked: list[str]) -> None:
    study = write_study(finished=SOME)
    main(["report", str(study), *asked])
    assert (study / "report" / "volumes" / "LICENSE").read_text().startswith(f"{NIIVUE.name} {NIIVUE.version}")


def test_another_viewer_is_refused_and_nothing_is_written(write_study: StudyWriter, tmp_path: Path) -> None:
    study = write_study(finished=SOME)
    (tmp_path / "niivue.umd.js").write_text("another")
    with pytest.raises(InputError, match=r"holds another niivue.umd.js; give @niivue/niivue"):
        write_report(study, Viewer(tmp_path))
    assert not (study / "report").exists()


@pytest.fixture
def shown(browser: Any, write_study: StudyWriter) -> Any:
    if not (GIVEN or is_packed()):
        pytest.skip(f"needs NiiVue in the package, where make setup puts it, or named by {VARIABLE}")
    study = write_study(finished=SOME)
    several_slices(study)
    tab = new_page(browser, 1400)
    tab.goto(write_report(study, Viewer(Path(GIVEN) if GIVEN else None)).absolute().as_uri())
    yield tab
    tab.close()


def test_a_browser_shows_scan_and_masks_from_disk(shown: Any) -> None:
    asked: list[str] = []
    shown.on("request", lambda request: asked.append(request.url))
    lines = json.loads(shown.locator("#case-lines").evaluate("one => one.content.textContent"))
    assert judged(shown) == []
    shown.locator("#points a circle").nth(1).dispatch_event("click")
    assert not asked, "nothing of it is read before it is asked for"
    shown.get_by_role("button", name="Viewer").click()
    shown.wait_for_function("line => document.getElementById('volume').dataset.line === line", arg=str(lines[1]))
    seen = "viewer.then(nv => nv.volumes.map(one => [one.name, one.colormap, one.hdr.dims.slice(1, 4).join()]))"
    assert shown.evaluate(seen) == [
        ["image.nii.gz", "gray", "320,160,3"],
        ["truth.nii.gz", "truth", "320,160,3"],
        ["prediction.nii.gz", "prediction", "320,160,3"],
    ]
    assert judged(shown) == []
    shown.locator("#slice").fill("2")
    shown.wait_for_function("viewer.then(nv => nv.scene.crosshairPos[2] > 0.8)")
    shown.locator("#masks").fill("0")
    shown.wait_for_function("viewer.then(nv => nv.volumes[2].opacity === 0)")
    shown.get_by_role("button", name="Worse").click()
    shown.wait_for_function("line => document.getElementById('volume').dataset.line === line", arg=str(lines[0]))
    shown.get_by_role("button", name="Viewer").click()
    assert shown.locator("#case img").is_visible() and not shown.locator("#volume").is_visible()
    assert {url.rpartition("/")[2] for url in asked} == {"niivue.umd.js", f"{lines[0]}.js", f"{lines[1]}.js"}
    assert all(url.startswith("file:") for url in asked)


def test_a_viewer_that_is_not_there_is_told(shown: Any, tmp_path: Path) -> None:
    for file in tmp_path.rglob("niivue.umd.js"):
        file.unlink()
    shown.locator("#points a circle").first.dispatch_event("click")
    shown.get_by_role("button", name="Viewer").click()
    shown.wait_for_function("document.getElementById('case-says').textContent.includes('niivue.umd.js is not there')")
