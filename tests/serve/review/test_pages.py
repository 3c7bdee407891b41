"""Every state of the pages: full, chosen, empty, done, failed, and a mask that cannot be shown."""

import shutil
from pathlib import Path

import pytest

from .conftest import NAMES, Review, masks, say


def test_the_list_shows_what_matters_and_no_markup_of_others(review: Review, folder: Path) -> None:
    client = review(folder)
    say(client, NAMES[1], verdict="fail", comment="<script>", by="<i>")
    page = client.get("/").text
    assert "0 passed, 1 failed, 2 not judged" in page and "R 20.0 · L 60.0" in page
    assert "&lt;script&gt;" in page and "&lt;i&gt;" in page and "<script>" not in page
    assert "Without a result" in page and "&lt;b&gt;none.nii.gz" in page
    assert page.index(NAMES[1]) < page.index(NAMES[2]) < page.index(NAMES[0])


@pytest.mark.parametrize(
    ("show", "names"),
    [("all", NAMES), ("open", NAMES[1:]), ("pass", NAMES[:1]), ("fail", ()), ("flagged", NAMES[1:]), ("x<", NAMES)],
)
def test_some_of_them_can_be_chosen(show: str, names: tuple[str, ...], review: Review, folder: Path) -> None:
    client = review(folder)
    say(client, NAMES[0], verdict="pass")
    page = client.get("/", params={"show": show}).text
    assert [name in page for name in NAMES] == [name in names for name in NAMES]
    assert ("None of these" in page) == (not names) and "x<" not in page


def test_when_all_are_judged_it_says_so(review: Review, folder: Path) -> None:
    client = review(folder)
    for name in NAMES:
        assert "all are done" not in client.get("/").text
        say(client, name, verdict="pass")
    assert "3 passed, 0 failed, 0 not judged" in (page := client.get("/").text) and "all are done" in page


def test_an_empty_folder_of_a_batch_says_what_to_do(review: Review, folder: Path) -> None:
    for name in NAMES:
        shutil.rmtree(folder / name)
    page = review(folder).get("/").text
    assert "No mask yet" in page and "Without a result" in page and "<table" not in page


def test_from_mask_to_mask(review: Review, folder: Path) -> None:
    client = review(folder)
    ids = [one["id"] for one in masks(client).values()]
    say(client, NAMES[2], verdict="pass")
    pages = [client.get(f"/scans/{one}").text for one in ids]
    assert f'id="next" title="N" href="/scans/{ids[1]}"' in pages[0] and 'id="previous" title="P" aria' in pages[0]
    assert f'href="/scans/{ids[0]}"' in pages[1] and f'href="/scans/{ids[2]}"' in pages[1]
    assert 'id="next" title="N" aria-disabled="true"' in pages[2]
    assert f'data-unjudged="/scans/{ids[2]}"' in pages[0] and f'data-unjudged="/scans/{ids[0]}"' in pages[2]
    assert "the mask is likely wrong there" in pages[0] and "Not judged yet" in pages[0]
    assert 'data-verdict="pass" aria-pressed="true"' in pages[1]


def test_a_mask_whose_images_are_gone_is_judged_all_the_same(review: Review, folder: Path) -> None:
    record = folder / NAMES[0] / "run.json"
    record.write_text(record.read_text().replace("fat.nii.gz", "gone.nii.gz"))
    client = review(folder)
    page = client.get(f"/scans/{masks(client)[NAMES[0]]['id']}").text
    assert "cannot be shown" in page and "the image is gone" in page and "viewer.js" not in page
    assert "qc.html" in page and say(client, NAMES[0], verdict="fail").status_code == 200


def test_a_case_of_a_study_has_its_scores(review: Review, study: Path) -> None:
    client = review(study)
    name, own = next(iter(masks(client).items()))
    page = client.get(f"/scans/{own['id']}").text
    assert name in page and "HD95 (mm)" in page and "<h2>Measurements" not in page
    assert "worst slice" in client.get("/").text


def test_nothing_is_asked_from_elsewhere(review: Review, folder: Path) -> None:
    client = review(folder)
    for path in ("/", f"/scans/{masks(client)[NAMES[0]]['id']}", "/scans/none", "/sign-in"):
        text = client.get(path).text
        assert "//" not in text.replace("http://www.w3.org", "").replace("<!DOCTYPE", "").replace(str(folder), "")
        assert "style=" not in text and "onclick" not in text and "<script>" not in text
