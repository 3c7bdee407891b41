"""The list over HTTP, from the first look to the corrected mask and the lists to take along."""

import csv
import io
import json
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

import musclesense as ms
from musclesense.imaging.nifti import read_volume
from musclesense.segmentation.corrected import measure

from ...segmentation.conftest import TwoLimbs
from .conftest import NAMES, Review, masks, say

FIRST, DOUBTED, FLAGGED = NAMES


def view_of(client: Any, scan: str) -> tuple[str, dict[str, Any]]:
    own = f"/api/scans/{masks(client)[scan]['id']}"
    answer = client.get(f"{own}/view")
    assert answer.status_code == 200, answer.text
    return own, answer.json()


def erased(view: dict[str, Any], *numbers: int) -> bytes:
    return b"".join(struct.pack("<I", number) + bytes(view["rows"] * view["columns"]) for number in numbers)


def paint(client: Any, scan: str, *numbers: int, by: str = "A. Reader", base: str | None = None) -> Any:
    own, view = view_of(client, scan)
    asked = {"by": by, "base": view["base"] if base is None else base}
    return client.post(f"{own}/painted", params=asked, content=erased(view, *numbers))


def test_doubtful_masks_are_first_then_flagged_ones(review: Review, folder: Path) -> None:
    client = review(folder)
    assert [*masks(client)] == [DOUBTED, FLAGGED, FIRST]
    assert masks(client)[DOUBTED]["flags"] == ["doubtful"] and masks(client)[DOUBTED]["score"] == 0.31


def test_what_is_said_is_kept_for_the_next_server(review: Review, folder: Path) -> None:
    assert say(review(folder), DOUBTED, verdict="fail", comment="a <b>").json()["verdict"] == "fail"
    assert say(review(folder), FIRST, verdict="pass", by="B").json()["by"] == "B"
    there = masks(review(folder))
    assert [there[name]["verdict"] for name in NAMES] == ["pass", "fail", ""]
    assert there[DOUBTED]["comment"] == "a <b>"
    assert say(review(folder), DOUBTED, verdict="").json()["verdict"] == ""


def test_two_tabs_do_not_lose_each_others_words(review: Review, folder: Path) -> None:
    one, other = review(folder), review(folder)
    say(one, DOUBTED, comment="from one")
    say(other, DOUBTED, verdict="fail")
    say(one, FLAGGED, verdict="pass")
    there = masks(other)
    assert (there[DOUBTED]["comment"], there[DOUBTED]["verdict"]) == ("from one", "fail")
    assert there[FLAGGED]["verdict"] == "pass"


@pytest.mark.parametrize(
    "wrong",
    [{"verdict": "good"}, {"by": ""}, {"by": "x" * 101}, {"comment": "x" * 2001}, {"comment": "a\x00"}, {"comment": 3}],
)
def test_what_is_no_verdict_is_refused(wrong: dict[str, Any], review: Review, folder: Path) -> None:
    client = review(folder)
    answer = say(client, FIRST, **wrong)
    assert answer.status_code == 422 and answer.json()["detail"]
    assert not (folder / "review.json").exists()


def test_a_verdict_on_a_mask_that_is_gone_is_refused(review: Review, folder: Path) -> None:
    assert say(client := review(folder), FIRST, verdict="pass", mask_sha256="0" * 64).status_code == 409
    assert masks(client)[FIRST]["verdict"] == ""


def test_a_painted_mask_lies_beside_the_automatic_one_and_is_measured_as_the_command_does(
    review: Review, folder: Path, limbs: TwoLimbs, tmp_path: Path
) -> None:
    client, own = review(folder), folder / FIRST
    before = {file.name: file.read_bytes() for file in own.iterdir()}
    say(client, FIRST, verdict="fail", comment="slice 1")
    assert paint(client, FIRST, 1).json()["state"] == "done"
    assert {file.name: file.read_bytes() for file in own.iterdir() if file.is_file()} == before

    made = own / "corrected"
    old, new = read_volume(own / "mask.nii.gz"), read_volume(made / "mask.nii.gz")
    assert np.flatnonzero((old.data != new.data).any(axis=(1, 2))).tolist() == [1] and not new.data[1].any()
    assert np.allclose(nib.load(made / "mask.nii.gz").affine, limbs.geometry.affine)
    scan = ms.read_scan(fat=limbs.fat, water=limbs.water)
    measure(made / "mask.nii.gz", scan, automatic=own).save(tmp_path / "measured")
    for file in ("measurements.csv", "changes.csv"):
        assert (made / file).read_bytes() == (tmp_path / "measured" / file).read_bytes()
    told = json.loads((made / "run.json").read_text())["corrected"]
    assert told["by"] == "A. Reader" and told["at"].endswith("+00:00") and told["slices_changed"] == [1]

    there = masks(client)[FIRST]
    assert (there["verdict"], there["before"], there["comment"]) == ("", "fail", "slice 1")
    assert there["corrected"]["by"] == "A. Reader"
    assert say(client, FIRST, verdict="pass").json()["verdict"] == "pass"
    place, _ = view_of(client, FIRST)
    assert not any(client.get(f"{place}/view/mask/1").content) and any(client.get(f"{place}/view/mask/2").content)
    assert paint(client, FIRST, 2, by="B").json()["state"] == "done"  # on the corrected one
    assert not read_volume(made / "mask.nii.gz").data[1:3].any()
    page = client.get(f"/scans/{there['id']}").text
    assert "What was changed" in page and "Corrected by B" in page
    assert client.get(f"{place}/files/corrected/changes.csv").content == (made / "changes.csv").read_bytes()


def test_of_two_who_paint_the_second_is_told(review: Review, folder: Path) -> None:
    client = review(folder)
    _, view = view_of(client, FIRST)
    assert paint(client, FIRST, 1).status_code == 200
    answer = paint(client, FIRST, 2, base=view["base"])
    assert answer.status_code == 409 and "has changed since" in answer.json()["detail"]
    assert read_volume(folder / FIRST / "corrected" / "mask.nii.gz").data[2].any()


def test_painted_slices_that_are_none_are_refused_and_nothing_is_written(review: Review, folder: Path) -> None:
    client = review(folder)
    own, view = view_of(client, FIRST)
    good = erased(view, 1)
    for content, by in (
        (b"", "A"),
        (good[:-1], "A"),
        (good * 9, "A"),
        (erased(view, 9), "A"),
        (good, ""),
        (good, "\n"),
    ):
        answer = client.post(f"{own}/painted", params={"by": by, "base": view["base"]}, content=content)
        assert answer.status_code in (413, 422), answer.text
    assert client.post(f"{own}/painted", content=good).status_code == 422
    assert "holds no label" in paint(client, FIRST, 0, 1, 2, 3).json()["detail"]
    assert not (folder / FIRST / "corrected").exists()


def test_a_corrected_mask_that_somebody_drew_elsewhere_is_kept(review: Review, folder: Path) -> None:
    place = folder / FIRST / "corrected"
    place.mkdir()
    drawn = (folder / FIRST / "mask.nii.gz").read_bytes()
    (place / "mask.nii.gz").write_bytes(drawn)
    answer = paint(review(folder), FIRST, 1)
    assert answer.status_code == 422 and "was not made by this command" in answer.json()["detail"]
    assert (place / "mask.nii.gz").read_bytes() == drawn


def test_the_table_has_no_formula_and_every_mask(review: Review, folder: Path) -> None:
    client = review(folder)
    say(client, DOUBTED, verdict="fail", comment='=HYPERLINK("x"), "y"', by="@A")
    answer = client.get("/api/review.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="review.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["scan"] for row in rows] == [DOUBTED, FLAGGED, FIRST]
    own = rows[0]
    assert (own["verdict"], own["comment"], own["by"]) == ("fail", '\'=HYPERLINK("x"), "y"', "'@A")
    assert own["flags"] == "doubtful" and own["score"] == "0.310" and own["mask"].endswith("S002-thigh/mask.nii.gz")


def test_failed_masks_are_listed_for_correction_by_their_images(review: Review, folder: Path, limbs: TwoLimbs) -> None:
    client = review(folder)
    assert yaml.safe_load(client.get("/api/review.yml").text) == {"FILES_SEG": []}
    say(client, DOUBTED, verdict="fail")
    say(client, FLAGGED, verdict="pass")
    assert yaml.safe_load(client.get("/api/review.yml").text) == {"FILES_SEG": [str(limbs.fat)]}


@pytest.mark.parametrize("name", ["0" * 16, "..", "%2e%2e", NAMES[0], "0" * 15, "../../etc", "0" * 16 + "%00"])
def test_there_is_no_other_mask(name: str, review: Review, folder: Path) -> None:
    client = review(folder)
    for path in ("/view", "/view/mask/0", "/files/automatic/mask.nii.gz"):
        assert client.get(f"/api/scans/{name}{path}").status_code in (404, 422)
    assert client.post(f"/api/scans/{name}/review", json={"by": "A", "mask_sha256": ""}).status_code in (404, 405, 422)
    answer = client.get(f"/scans/{name}")
    assert answer.status_code in (404, 307) or answer.url.path == "/"


@pytest.mark.parametrize(
    "path", ["automatic/run.json", "automatic/..%2frun.json", "corrected/mask.nii.gz", "other/mask.nii.gz", "x/../.."]
)
def test_there_is_no_other_file(path: str, review: Review, folder: Path) -> None:
    own, _ = view_of(client := review(folder), FIRST)
    assert client.get(f"{own}/files/automatic/mask.nii.gz").status_code == 200
    assert client.get(f"{own}/files/{path}").status_code == 404
    for image, number in (("fat", 4), ("fat", -1), ("none", 0), ("..%2fmask", 0)):
        assert client.get(f"{own}/view/{image}/{number}").status_code == 404


def test_others_need_the_token_and_other_sites_change_nothing(review: Review, folder: Path) -> None:
    closed = review(folder, host="10.0.0.5", token="0123456789abcdef")
    assert closed.get("/").headers["location"] == "/sign-in" and closed.get("/api/scans").status_code == 401
    assert closed.post("/sign-in", data={"token": "0123456789abcdef"}).status_code == 303
    assert closed.get("/").status_code == 200
    client = review(folder)
    own = masks(client)[FIRST]
    body = {"by": "A", "mask_sha256": own["mask_sha256"], "verdict": "pass"}
    answer = client.post(f"/api/scans/{own['id']}/review", json=body, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403 and masks(client)[FIRST]["verdict"] == ""
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert client.get("/", headers={"host": "evil.example"}).status_code == 421


def test_cases_of_a_study_are_judged_and_not_painted(review: Review, study: Path) -> None:
    client = review(study)
    there = masks(client)
    name = next(iter(there))
    assert say(client, name, verdict="fail", comment="the drawn mask is cut").json()["verdict"] == "fail"
    own = f"/api/scans/{there[name]['id']}"
    view = client.get(f"{own}/view").json()
    assert {one["name"] for one in view["images"]} == {"image", "networks"}
    size = view["rows"] * view["columns"]
    assert len(client.get(f"{own}/view/image/0").content) == 2 * size
    assert len(client.get(f"{own}/view/mask/0").content) == size
    asked = {"by": "A", "base": ""}
    assert client.post(f"{own}/painted", params=asked, content=erased(view, 0)).status_code == 409
    assert masks(review(study))[name]["verdict"] == "fail"
