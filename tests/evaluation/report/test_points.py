"""Every acquisition is a point that opens its own overlay."""

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from musclesense.evaluation.report import points
from musclesense.evaluation.report.overlays import draw
from musclesense.evaluation.report.page import write_report
from musclesense.evaluation.report.points import Points
from musclesense.studies.overlays import read_kept
from musclesense.studies.reading import read_study

from ...shared.browser import browser, new_page
from ...shared.studies import StudyWriter

__all__ = ["browser"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
SOME = [(0, 0), (0, 1), (1, 0)]


def shown(picture: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), dtype=float)


def test_each_acquisition_has_a_point_at_its_mean_with_the_picture_nearest_to_it(write_study: StudyWriter) -> None:
    study = read_study(write_study(finished=SOME))
    found = Points.of(study)
    assert found is not None
    lines: dict[int, list] = {}
    for case in study.cases:
        lines.setdefault(case.line, []).append(case)
    means = {line: np.mean([case.dice for case in own]) for line, own in lines.items()}
    order = sorted(means, key=lambda line: means[line])
    assert [point.says.rpartition(" ")[2] for point in found.points] == [f"{means[line]:.3f}" for line in order]
    assert [point.x for point in found.points] == sorted(point.x for point in found.points), "the worst first"
    for line, point in zip(order, found.points, strict=True):
        case = lines[line][0]
        assert point.says.startswith(f"{case.subject}, {case.group}, {case.region}, ")
        near = min(lines[line], key=lambda one: abs(one.dice - means[line]))
        (kept,) = read_kept(study.folder.run(near.outer, near.inner), [(line, near.slice)])
        picture = shown(point.picture)
        whole = Image.fromarray(draw(kept.image, kept.truth, kept.prediction)).resize(picture.shape[1::-1])
        assert np.abs(picture - np.asarray(whole, dtype=float)).mean() < 15
    rows = dict(found.rows)
    assert [*rows] == sorted({f"{own[0].region} {own[0].group}" for own in lines.values()})
    for line, point in zip(order, found.points, strict=True):
        own = f"{lines[line][0].region} {lines[line][0].group}"
        assert min(rows, key=lambda name: abs(rows[name] - point.y)) == own


def test_a_study_without_scores_has_no_points(write_study: StudyWriter) -> None:
    folder = write_study(finished=[])
    assert Points.of(read_study(folder)) is None
    assert 'id="points"' not in write_report(folder).read_text()


def test_where_no_images_were_kept_points_have_no_pictures(write_study: StudyWriter) -> None:
    folder = write_study(finished=[(0, 0)])
    (folder / "outer0_inner0" / "overlays.npz").unlink()
    found = Points.of(read_study(folder))
    assert found is not None and {point.picture for point in found.points} == {""}


def test_of_very_many_acquisitions_the_worst_have_pictures(
    write_study: StudyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "_MOST_PICTURES", 3)
    found = Points.of(read_study(write_study(finished=SOME)))
    assert found is not None
    assert [bool(point.picture) for point in found.points] == [True] * 3 + [False] * (len(found.points) - 3)


@pytest.fixture
def page(write_study: StudyWriter) -> Path:
    return write_report(write_study(finished=SOME))


def test_the_page_holds_as_many_pictures_as_points_in_their_order(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = Points.of(read_study(page.parents[1]))
    assert found is not None
    held = re.search(r'id="case-pictures">(.*?)</template>', text, re.DOTALL)
    assert held and json.loads(held[1]) == [point.picture for point in found.points]
    assert re.findall(r'<a href="#cases" aria-label="([^"]+)"><circle', text) == [point.says for point in found.points]


@pytest.fixture
def opened(browser: Any, page: Path) -> Iterator[Callable[[int], Any]]:
    tabs = []

    def open_page(width: int) -> Any:
        tabs.append(new_page(browser, width))
        tabs[-1].goto(page.absolute().as_uri())
        return tabs[-1]

    yield open_page
    for tab in tabs:
        tab.close()


def focused(tab: Any, label: str) -> None:
    """Wait until a point has the focus: a dialog that closes gives it back a little later."""
    tab.wait_for_function("label => document.activeElement.getAttribute('aria-label') === label", arg=label)


@pytest.mark.parametrize("width", [800, 1400])
def test_points_open_by_mouse_and_keyboard(opened: Callable[[int], Any], page: Path, width: int) -> None:
    tab = opened(width)
    links, says, box = tab.locator("#points a"), tab.locator("#case-says"), tab.locator("#case")
    labels = links.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert links.evaluate_all("all => all.map(one => one.tabIndex)").count(0) == 1, "one stop of the Tab key"
    links.nth(2).locator("circle").dispatch_event("click")
    assert box.is_visible() and says.text_content() == labels[2]
    tab.wait_for_function("document.querySelector('#case img').naturalWidth === 480")
    tab.keyboard.press("ArrowRight")
    assert says.text_content() == labels[3]
    tab.get_by_role("button", name="Worse").click()
    assert says.text_content() == labels[2]
    tab.keyboard.press("Escape")
    box.wait_for(state="hidden")
    focused(tab, labels[2])
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Enter")
    assert box.is_visible() and says.text_content() == labels[1]
    tab.get_by_role("button", name="Close").click()
    box.wait_for(state="hidden")
    focused(tab, labels[1])
    for key in ("ArrowLeft",) * 5:
        tab.keyboard.press(key)
    tab.keyboard.press("Enter")
    assert says.text_content() == labels[0], "it stops at the end"
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [800, 1400])
def test_a_table_wider_than_the_page_keeps_in_sight_whose_row_it_is(opened: Callable[[int], Any], width: int) -> None:
    tab = opened(width)
    frames = tab.locator(".pinned")
    assert frames.count() == 2
    for frame in frames.all():
        wide = frame.evaluate("one => { one.scrollLeft = one.scrollWidth; return one.scrollLeft > 0; }")
        assert wide == (width == 800)
        seen = "one => one.getBoundingClientRect().left"
        left = frame.evaluate(seen)
        for cell in (frame.locator(f"tbody tr:first-child td:nth-child({at})") for at in (1, 2)):
            assert left <= cell.evaluate(seen) < left + 100
        assert abs(frame.locator("caption span").evaluate(seen) - left) < 1
