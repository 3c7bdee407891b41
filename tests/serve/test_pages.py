"""Every state of the page has one, and says what is to be done."""

from pathlib import Path

import pytest

from musclesense.segmentation import measuring
from musclesense.serve import work
from musclesense.serve.shell import FLAGS
from musclesense.serve.store import State, Store
from musclesense.storage import niivue

from ..shared.waiting import wait_until
from .conftest import Serve, ended, example
from .doing import fails, hangs


def test_the_first_page_works_without_scripts(serve: Serve) -> None:
    client = serve(upload_mb=77, keep_hours=1.5)
    text = client.get("/").text
    assert 'action="/jobs" method="post" enctype="multipart/form-data"' in text
    assert (
        "77 MiB" in text and "1.5 hours" in text and all(f"<option>{one}</option>" in text for one in ("calf", "both"))
    )
    answer = client.post("/jobs", files={"example": (None, "calf")})
    assert answer.status_code == 303 and answer.headers["location"].startswith("/jobs/")


@pytest.mark.parametrize("path", ["/", "/sign-in", "/jobs/none"])
def test_nothing_is_asked_from_elsewhere(path: str, serve: Serve) -> None:
    text = serve().get(path).text
    assert "//" not in text.replace("http://www.w3.org", "").replace("<!DOCTYPE", "")
    assert "style=" not in text and "onclick" not in text and "<script>" not in text


def test_scripts_and_styles_ask_nothing_from_elsewhere() -> None:
    for file in (Path(work.__file__).parent / "static").iterdir():
        assert "http" not in file.read_text("utf-8").replace("http://www.w3.org/2000/svg", ""), file.name


def test_a_scan_that_waits_and_one_that_runs(serve: Serve, tmp_path: Path) -> None:
    client = serve(hangs)
    runs, waits = example(client), example(client)
    wait_until((tmp_path / "data" / "jobs" / runs / "begun").exists)
    assert "At work" in client.get(f"/jobs/{runs}").text
    assert "It is next." in client.get(f"/jobs/{waits}").text


def test_a_scan_that_failed(serve: Serve) -> None:
    client = serve(fails)
    name = example(client)
    ended(client, name)
    page = client.get(f"/jobs/{name}").text
    assert "This scan was not segmented" in page and "image-001.nii.gz: &lt;i&gt;" in page


def test_a_result_with_what_is_to_be_looked_at(serve: Serve) -> None:
    client = serve()
    name = example(client)
    ended(client, name)
    page = client.get(f"/jobs/{name}").text
    assert "Look at this" in page and FLAGS["cut"] in page and "a warning &lt;b&gt;" in page
    assert f"/api/jobs/{name}/files/mask.nii.gz" in page and "1.2" in page


def test_what_is_deleted_expired_or_never_was(serve: Serve, tmp_path: Path) -> None:
    client = serve()
    name = example(client)
    ended(client, name)
    assert client.post(f"/jobs/{name}/delete").headers["location"] == f"/jobs/{name}"
    page = client.get(f"/jobs/{name}")
    assert page.status_code == 410 and "is deleted" in page.text
    name = example(client)
    ended(client, name)
    Store(tmp_path / "data").end(name, State.EXPIRED)
    page = client.get(f"/jobs/{name}")
    assert page.status_code == 410 and "has expired" in page.text
    assert client.get("/jobs/" + "0" * 32).status_code == client.get("/none").status_code == 404
    assert "nothing at this address" in client.get("/none").text


def test_a_form_that_is_refused_gets_a_page(serve: Serve) -> None:
    answer = serve().post("/jobs", files={"region": (None, "calf")})
    assert answer.status_code == 422 and "Choose the images of one scan" in answer.text


def test_every_flag_is_explained() -> None:
    flags = {measuring.CUT, measuring.LIMB_CUT, measuring.LEFT_OUT, measuring.OFF_LEVEL, measuring.DOUBTFUL}
    assert {*FLAGS} == flags


@pytest.mark.parametrize("packed", [True, False])
def test_a_result_is_shown_as_a_volume_where_the_package_holds_niivue(
    packed: bool, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(niivue, "FOLDER", tmp_path)
    monkeypatch.setattr(niivue, "is_packed", lambda: packed)
    (tmp_path / "niivue.umd.js").write_text("// a viewer")
    client = serve()
    name = example(client)
    ended(client, name)
    page, script = client.get(f"/jobs/{name}").text, client.get("/static/niivue/niivue.umd.js")
    assert (script.status_code, script.text == "// a viewer") == ((200, True) if packed else (404, False))
    for part in ('id="as-volume"', 'id="volume-canvas"', "/static/volume.js"):
        assert (part in page) is packed
    assert "niivue.umd.js" not in page  # which is read when it is asked for
