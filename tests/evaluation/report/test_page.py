"""The page as a reader gets it."""

import csv
import html
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from musclesense.errors import InputError
from musclesense.evaluation.report.methods import claim, methods
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.tables import study_table
from musclesense.studies.layout import StudyFolder
from musclesense.studies.reading import read_study

from ...shared.browser import browser, new_page

__all__ = ["browser"]

StudyWriter = Callable[..., Path]
VOID = {"meta", "img", "source", "br"}


class Page(HTMLParser):
    """Checks that elements nest, and collects links and alternative texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.pictures: list[str | None] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.links += [values[name] or "" for name in ("src", "srcset", "href", "data", "poster") if name in values]
        if tag == "img":
            self.pictures.append(values.get("alt"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_from_outside(reported_study: Path) -> None:
    report = reported_study / "report"
    text = (report / "index.html").read_text()
    parsed = Page(text)
    assert parsed.open == []
    assert parsed.links
    assert all(f'id="{link[1:]}"' in text for link in parsed.links if link.startswith("#")), "places of the page"
    files = [link for link in parsed.links if not link.startswith(("data:image/png;base64,", "#"))]
    assert files and all((report / link).is_file() for link in files)
    assert not re.search(r"https?:|@import|url\(|<script[^>]|<link", re.sub(r'"data:[^"]*"', "", text))
    assert all(parsed.pictures)
    assert {path.name for path in report.iterdir()} == {
        "index.html",
        "nested_cv.csv",
        "summary.csv",
        "cases.csv",
        *("statistics.csv", "statistics.tex", "agreement.csv", "agreement.tex"),
        "figures",
    }
    assert len(list((report / "figures").iterdir())) == len(parsed.pictures)


def test_page_shows_scores_beside_the_paper_and_the_cases(reported_study: Path) -> None:
    text = (reported_study / "report" / "index.html").read_text()
    assert "2 of 25 runs of a" in text
    assert "0.950 (0.025)" in text
    assert "0.942 (0.041)" in text
    assert "10, of whom 4 are tested so far" in text
    assert "phantom cohort made by Musclesense (preset demo, seed 1)" in text
    assert "fat, water, te345, te575" in text
    for rank in ("Best", "Median", "Worst"):
        assert text.count(f"<b>{rank}, Dice ") == 2


def test_the_edition_shown_is_what_the_channels_are(write_study: StudyWriter) -> None:
    study = StudyFolder(write_study(finished=[]))
    record = yaml.safe_load(study.settings.read_text()) | {"channels": ["fat"]}
    study.settings.write_text(yaml.safe_dump(record))
    text = write_report(study.path).read_text()
    assert "<dt>Edition</dt><dd>simplified</dd>" in text and "professional" not in text


def test_unfinished_study_names_its_runs(reported_study: Path) -> None:
    text = (reported_study / "report" / "index.html").read_text()
    assert "<b>outer0_inner1</b>: loss &lt;is&gt; not finite" in text
    assert "2 finished, 1 failed, 22 not finished" in text
    assert "Not finished: outer0_inner2, " in text


def test_banner_stands_exactly_where_data_are_phantom(write_study: StudyWriter, tmp_path: Path) -> None:
    phantom = write_report(write_study("made", finished=[])).read_text()
    patients = write_report(write_study("own", finished=[], table=tmp_path / "cohort.csv")).read_text()
    assert 'class="banner"' in phantom
    assert "not comparable with patients" in phantom
    assert 'class="banner"' not in patients
    assert "not comparable" not in patients


def test_methods_tell_what_the_records_do(write_study: StudyWriter) -> None:
    study = StudyFolder(write_study(finished=[(0, 0), (1, 1)]))
    for inner, version in enumerate(("1.2", "1.3")):
        done = json.loads(study.run(inner, inner).done.read_text())
        made = {"versions": {"musclesense": version, "torch": "2.9"}, "accelerator": "cpu", "precision": "32-true"}
        study.run(inner, inner).done.write_text(json.dumps(done | made))
    text = html.unescape(write_report(study.path).read_text())
    for said in (
        "SHA-256: " + "0" * 64,
        "5 outer folds for testing, each with 5 inner folds for validation, drawn with seed 1",
        "2 of 25 runs are finished.",
        "Network: unet, width 16, depth 4.",
        "from a foreground probability of 0.5 on",
        "Versions: musclesense 1.2, musclesense 1.3, torch 2.9. Trained on: cpu, 32-true.",
        "6 of 10 subjects are not tested yet.",
    ):
        assert said in text, said


@pytest.mark.parametrize("phantom", [True, False])
def test_the_checklist_says_what_is_known_and_leaves_the_rest_to_the_authors(
    write_study: StudyWriter, tmp_path: Path, phantom: bool
) -> None:
    study = read_study(write_study(finished=[(0, 0)], table=None if phantom else tmp_path / "cohort.csv"))
    rows = {number: answer for number, _, answer in claim(study, methods(study, [("Data", "made")], []))}
    assert sorted(rows) == list(range(1, 43))
    assert rows[21] == "subject" and rows[7] == ("phantom, simulated scans" if phantom else "Methods: Data")
    assert rows[42] == rows[25] == "not told by the study", "no settings were given"
    assert (rows[14] == "not told by the study") is not phantom


def test_report_is_the_same_when_written_again(reported_study: Path, tmp_path: Path) -> None:
    again = tmp_path / reported_study.name
    shutil.copytree(reported_study, again)
    before = {
        path.relative_to(reported_study): path.read_bytes() for path in reported_study.rglob("*") if path.is_file()
    }
    write_report(again)
    assert before == {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()}


def test_report_returns_its_page(write_study: StudyWriter) -> None:
    folder = write_study(finished=[])
    assert write_report(folder) == folder / "report" / "index.html"


def test_study_without_a_finished_run_has_a_page(write_study: StudyWriter) -> None:
    page = write_report(write_study(finished=[]))
    assert "No run has finished yet" in page.read_text()
    assert (page.parent / "nested_cv.csv").read_text().count("\n") == 1


def test_recorded_command_is_shown(write_study: StudyWriter) -> None:
    folder = write_study(finished=[])
    assert "train.py" not in write_report(folder).read_text()
    (folder / "command.txt").write_text("python train.py -m outer=0..4 inner=0..4\n")
    assert '<pre tabindex="0">python train.py -m outer=0..4 inner=0..4</pre>' in write_report(folder).read_text()


def test_folder_that_is_no_study_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a study"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_single_muscles_are_each_shown_once_and_their_mean_elsewhere(write_study: StudyWriter) -> None:
    study = write_study(finished=[(0, 0), (1, 1)])
    muscles = [f"muscle_{number}_{side}" for number in range(15) for side in ("right", "left")]
    for cases in study.glob("outer*/cases.csv"):
        header, *rows = cases.read_text().splitlines()
        single = [row.replace(",muscle,", f",{muscle},") for row in rows for muscle in muscles]
        dice = header.split(",").index("dice")
        for position, row in enumerate(single):
            if ",calf," in row and ",muscle_3_" in row:
                cells = row.split(",")
                single[position] = ",".join([*cells[:dice], "", *cells[dice + 1 :]])
        cases.write_text("\n".join([header, *single]) + "\n")
    text = write_report(study).read_text()
    assert Page(text).open == []
    assert text.count("<td>muscle 7 left</td>") == 2, "once a region, not for each group and run"
    assert text.count("<td>muscle 3 left</td>") == 1, "not where the region lacks it"
    assert len(text) < 4_000_000
    figures = {path.name for path in (study / "report" / "figures").iterdir()}
    assert {"dice_by_label_calf.png", "dice_by_label_thigh.png"} <= figures
    assert "muscle_14_left" in (study / "report" / "nested_cv.csv").read_text()
    assert "muscle_14_left" in (study / "report" / "summary.csv").read_text()
    shown = study_table(study)
    assert shown.count("muscle_7_left") == 2 and "calf    all " in shown


def test_nothing_is_written_of_a_study_whose_images_cannot_be_read(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    (folder / "outer0_inner0" / "overlays.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"overlays\.npz"):
        write_report(folder)
    assert not (folder / "report").exists()


@pytest.mark.parametrize(
    ("augmentation", "said"),
    [
        ({"shift": 0.5, "scale": [0.7, 1.3], "gamma": [1.0, 1.0], "intensity": 0.0}, "scale 0.7 / 1.3, shift 0.5."),
        ({"shift": 0.0, "scale": [1.0, 1.0], "flip_vertical": 0.0}, "none."),
    ],
)
def test_augmentation_is_told_by_what_it_changes(
    write_study: StudyWriter, augmentation: dict[str, Any], said: str
) -> None:
    study = StudyFolder(write_study(finished=[(0, 0)]))
    record = yaml.safe_load(study.settings.read_text()) | {"augmentation": augmentation, "normalisation": "percentile"}
    study.settings.write_text(yaml.safe_dump(record))
    page = write_report(study.path).read_text(encoding="utf-8")
    assert f"Augmentation: {said}" in page and "Normalisation: percentile." in page


def test_nothing_is_written_where_a_file_has_the_folder_s_name(write_study: StudyWriter) -> None:
    """Found by `make fuzz`: a lock was left behind."""
    folder = write_study(finished=[])
    (folder / "report").touch()
    before = {*folder.iterdir()}
    unused: Any = SimpleNamespace(files=lambda: pytest.fail("was fetched"))
    with pytest.raises(InputError, match=r"/report: cannot be written \(Not a directory\)"):
        write_report(folder, unused)
    assert {*folder.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("my-thighs", "my-thighs"),
        ("Müller-2", "Müller-2"),
        ("phantom-demo-lower_limb-fat+water-0a1b2c3d", "phantom-demo, lower limb, fat + water"),
        ("my-cohort-thigh-fat-01234567", "my-cohort, thigh, fat"),
    ],
)
def test_title_is_the_name_that_a_person_gave(write_study: StudyWriter, name: str, title: str) -> None:
    page = write_report(write_study(name, finished=[(0, 0)])).read_text(encoding="utf-8")
    assert f"<title>{title} \N{EN DASH} Musclesense study</title>" in page
    assert f"<h1>{title}</h1>" in page


@pytest.mark.parametrize("name", ["report", "report/figures"])
def test_nothing_is_written_through_a_link_out_of_the_study(
    write_study: StudyWriter, tmp_path: Path, name: str
) -> None:
    study, elsewhere = write_study(finished=[]), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (study / name).parent.mkdir(exist_ok=True)
    (study / name).symlink_to(elsewhere)
    with pytest.raises(InputError, match=rf"{name}.*: a link out of "):
        write_report(study)
    assert list(elsewhere.iterdir()) == []


SORTS = """
<script>
const table = document.querySelector('[aria-label="Worst cases"] table');
const links = [...document.querySelectorAll('[aria-label="Worst cases"] + .export a')];
const column = number => [...table.tBodies[0].rows].map(row => row.cells[number].textContent);
const result = { tables: document.querySelectorAll("main table").length };
result.exports = document.querySelectorAll(".export").length;
table.querySelectorAll("th button")[0].click();
result.up = column(0);
table.querySelectorAll("th button")[0].click();
result.down = column(0);
result.sorted = table.querySelectorAll("th")[0].getAttribute("aria-sort");
links.forEach(link => link.addEventListener("click", event => event.preventDefault()));
links.forEach(link => link.click());
[result.csv, result.tex] = links.map(link => decodeURIComponent(link.href.split(",").slice(1).join(",")));
result.names = links.map(link => link.download);
const answer = document.createElement("pre");
answer.id = "answer";
answer.textContent = JSON.stringify(result);
document.body.append(answer);
</script>
"""


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_tables_are_sorted_and_taken_along_in_a_browser(browser: Any, write_study: StudyWriter, tmp_path: Path) -> None:
    text = write_report(write_study(finished=[(0, 0)])).read_text()
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", SORTS + "</body>"))
    tab = new_page(browser)
    tab.goto(page.as_uri())
    result = json.loads(tab.text_content("#answer"))
    tab.close()
    assert result["tables"] == result["exports"] == text.count("<table>")
    assert result["up"] == sorted(result["up"], key=float) and len({*result["up"]}) > 2
    assert result["down"] == sorted(result["up"], key=float, reverse=True) and result["sorted"] == "descending"
    rows = list(csv.reader(result["csv"].splitlines()))
    assert rows[0][:2] == ["Dice", "True voxels"] and [row[0] for row in rows[1:]] == result["down"]
    assert result["tex"].startswith("\\begin{tabular}{llllllllll}\n\\toprule\nDice & True voxels &")
    assert result["tex"].count("\\\\\n") == len(rows) and result["names"] == ["worst_cases.csv", "worst_cases.tex"]
