"""Every state of the page: as axe judges it, by keyboard, of a desktop's and a tablet's width, dark, and enlarged."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from musclesense.serve.store import State, Store

from ..shared.browser import as_volume, browser, expect, has, judged, new_page, stroke
from ..shared.waiting import wait_until
from .conftest import ended, example, served
from .doing import stands

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
__all__ = ["browser"]
BOTH = ("light", "dark")
SIZES = {(1400, 900): BOTH, (800, 1100): BOTH, (700, 450): ("light",), (400, 550): ("dark",), (360, 640): ()}
"""Of a desktop and a tablet; of these enlarged to 200 %, which halves the pixels; of a telephone. Schemes for axe."""
_FOCUSABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]"
_AT = """selector => {
  const own = document.activeElement, all = [...document.querySelectorAll(selector)];
  const ring = one => one && getComputedStyle(one).outlineStyle !== "none";
  return [all.indexOf(own), ring(own) || ring(own.closest(".button"))];
}"""
_WITHOUT_WEBGL = """{
  const get = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function(kind, ...more) {
    return kind === "webgl2" ? null : get.call(this, kind, ...more);
  };
}"""
_WANTED = """selector => [...document.querySelectorAll(selector)].flatMap((one, number) =>
  one.disabled || one.tabIndex < 0 || !one.checkVisibility() ? [] : [number])"""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses of a scan in each state that the server knows, and of the first page."""
    data = tmp_path_factory.mktemp("data")
    with served(stands, data=data, upload_mb=1) as client:
        asked = {"done": "both", "flagged": "one", "failed": "left", "expired": "both", "deleted": "both"}
        names = {state: example(client, limbs=limbs) for state, limbs in asked.items()}
        for name in names.values():
            ended(client, name)
        for state in (State.EXPIRED, State.DELETED):
            Store(data).end(names[state], state)
        names |= {state: example(client, limbs="right") for state in ("running", "queued")}
        wait_until((data / "jobs" / names["running"] / "begun").exists)
        yield {state: f"{client.base_url}/jobs/{name}" for state, name in names.items()} | {"/": str(client.base_url)}


def _chosen(page: Any, places: Mapping[str, str], size: int = 2000, count: int = 2) -> None:
    page.goto(places["/"])
    page.set_input_files(
        "#files",
        [{"name": f"a_{number}.nii.gz", "mimeType": "", "buffer": bytes(size)} for number in range(count)],
    )


def _sending(page: Any, places: Mapping[str, str]) -> None:
    _chosen(page, places)
    page.route("**/api/jobs", lambda _: None)  # the answer does not come
    page.click("#send")
    page.wait_for_selector("#sending", state="visible")


def _refused(page: Any, places: Mapping[str, str]) -> None:
    page.goto(places["/"])
    page.evaluate("document.querySelector('[name=example]').value = 'none'")
    page.click(".examples button")
    page.wait_for_selector("h1:has-text('not taken')")


def _signing_in(page: Any, places: Mapping[str, str]) -> None:
    page.goto(f"{places['/']}/sign-in")
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")


def _shown(page: Any, places: Mapping[str, str], state: str = "done") -> None:
    page.goto(places[state])
    has(page, "#viewer-said", "")


def _painted(page: Any, places: Mapping[str, str]) -> None:
    _shown(page, places)
    page.click("#brush")
    stroke(page, 0.3, 0.6)
    expect(page.locator("#save")).to_be_enabled()


def _volume(page: Any, places: Mapping[str, str]) -> None:
    _shown(page, places)
    as_volume(page)


def _no_volume(page: Any, places: Mapping[str, str]) -> None:
    """A browser that draws no volumes."""
    page.add_init_script(_WITHOUT_WEBGL)
    _shown(page, places)
    if not page.locator("#as-volume").count():
        pytest.skip("needs NiiVue in the package, where make setup puts it")
    page.click("#as-volume")
    expect(page.locator("#volume-said")).to_contain_text("The volume cannot be shown. Unable to initialize WebGL2.")


def _visited(page: Any, places: Mapping[str, str]) -> None:
    """The first page, after a scan was given."""
    _chosen(page, places)
    page.click("#send")
    page.wait_for_url("**/jobs/*")
    page.goto(places["/"])
    page.wait_for_selector("#recent", state="visible")


def _running(page: Any, places: Mapping[str, str]) -> None:
    page.goto(places["running"])
    has(page, "#steps .now", "reading")
    has(page, "#steps .past", "waiting")


def _unreachable(page: Any, places: Mapping[str, str]) -> None:
    page.goto(places["running"])
    page.route("**/api/jobs/*", lambda route: route.abort())
    expect(page.locator("#said")).to_contain_text("does not answer")


def _at(state: str) -> Callable[[Any, Mapping[str, str]], None]:
    return lambda page, places: page.goto(places[state])


STATES: dict[str, Callable[[Any, Mapping[str, str]], None]] = {
    "empty": _at("/"),
    "chosen": _chosen,
    "many chosen": lambda page, places: _chosen(page, places, count=40),
    "too large": lambda page, places: _chosen(page, places, size=2**20),
    "uploading": _sending,
    "refused": _refused,
    "queued": _at("queued"),
    "running": _running,
    "unreachable": _unreachable,
    "done": _shown,
    "painted": _painted,
    "volume": _volume,
    "no volume": _no_volume,
    "flagged": lambda page, places: _shown(page, places, "flagged"),
    "failed": _at("failed"),
    "expired": _at("expired"),
    "deleted": _at("deleted"),
    "unknown": lambda page, places: page.goto(f"{places['/']}/jobs/none"),
    "visited": _visited,
    "signing in": _signing_in,
}


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    own = new_page(browser)
    yield own
    own.close()


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_read_on_any_screen_and_reached_by_keys(state: str, page: Any, places: Mapping[str, str]) -> None:
    STATES[state](page, places)
    for (width, height), schemes in SIZES.items():
        page.set_viewport_size({"width": width, "height": height})
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            assert judged(page) == [], f"{width}, {scheme}"
        assert _fits(page), width
    page.set_viewport_size({"width": 1400, "height": 900})
    page.evaluate("document.documentElement.style.fontSize = '200%'")  # letters alone
    assert _fits(page)
    _require_keys(page)


def _fits(page: Any) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def _require_keys(page: Any) -> None:
    """Whatever can be used is reached by the tabulator, and seen to be."""
    wanted = {*page.evaluate(_WANTED, _FOCUSABLE)}
    assert wanted
    reached = {}
    for _ in range(2 * len(wanted) + 4):
        page.keyboard.press("Tab")
        number, ring = page.evaluate(_AT, _FOCUSABLE)
        reached[number] = ring
    assert wanted <= {*reached}
    assert all(ring for number, ring in reached.items() if number >= 0), reached
