"""The pages in a real browser: how they fit, whom they ask, what assistive technology finds, what forms do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.gateway.control.pages.fake_desk import definition, event
from tests.gateway.control.pages.served import RUNNING
from tests.gateway.control.pages.sockets import OnSockets

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATHS = ["/", "/models/m", "/experiments", "/edge", "/models/m/experiments/draft", "/models/m/experiments/breached"]
COMBINATIONS: list[tuple[int, Any, bool]] = [
    (1280, "light", True),
    (1280, "dark", False),
    (390, "dark", True),
    (390, "light", False),
]
"""Width, scheme, and whether axe looks, which takes long: at each width once, and at each scheme once."""

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(19, 20, 22)"}

OVERFLOWING = """() => [...document.querySelectorAll("main *, header *, footer *")]
  .filter(each => !each.closest("svg, .values, .stacks thead"))
  .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(each => each.outerHTML.slice(0, 120))"""

FOCUSED = """() => {
  const now = document.activeElement;
  if (!now || now === document.body) return null;
  const style = getComputedStyle(now);
  const box = now.getBoundingClientRect();
  return {
    what: `${now.localName} ${now.name || now.textContent.trim().slice(0, 30)}`,
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.width > 0 && box.height > 0 && box.left >= 0 && box.right <= innerWidth + 1,
  };
}"""

CONTROLS = """() => {
  const controls = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  const shown = [...document.querySelectorAll(controls)]
    .filter(each => each.checkVisibility() && each.type !== "hidden" && !each.disabled);
  const radios = shown.filter(each => each.type === "radio");  // of which each group is one stop
  return shown.length - radios.length + new Set(radios.map(each => each.name)).size;
}"""

OPEN_ALL = "() => document.querySelectorAll('details').forEach(each => { each.open = true; })"


@contextmanager
def opened(browser: Browser, pages: OnSockets, path: str, clock: bool = False, **context: Any) -> Iterator[Page]:
    """A page, watched: errors of the console, and requests to elsewhere, fail the test. `clock`: the test's own."""
    wrong: list[str] = []
    with browser.new_context(**context) as made:
        page = made.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(pages.url) else wrong.append(asked.url))
        if clock:
            page.clock.install()
        page.goto(pages.url + path)
        yield page
        assert wrong == []
        assert made.cookies() == []


@pytest.mark.parametrize("path", PATHS)
def test_a_page_fits_and_is_accessible_in_every_width_and_scheme(browser: Browser, pages: OnSockets, path: str) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    with opened(browser, pages, path) as page:
        page.evaluate(OPEN_ALL)
        for width, scheme, looks in COMBINATIONS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
            assert page.evaluate(OVERFLOWING) == []
            assert page.evaluate("() => getComputedStyle(document.documentElement).backgroundColor") == GROUNDS[scheme]
            if looks:
                found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
                assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("path", ["/", "/models/m", "/experiments", "/edge", RUNNING])
def test_every_control_is_reached_by_tab_and_seen_when_it_is(browser: Browser, pages: OnSockets, path: str) -> None:
    with opened(browser, pages, path, viewport={"width": 1280, "height": 900}) as page:
        page.evaluate(OPEN_ALL)
        wanted = page.evaluate(CONTROLS)
        reached = []
        for _ in range(wanted):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(FOCUSED))
        assert None not in reached
        assert [each for each in reached if not (each["outlined"] and each["seen"])] == []


def test_the_first_tab_offers_to_skip_to_the_content(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, "/") as page:
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.textContent") == "Skip to the content"
        page.keyboard.press("Enter")
        assert page.evaluate("() => document.activeElement.id") == "content"


@pytest.mark.parametrize("script", [True, False])
def test_weights_are_changed_by_keyboard_and_by_enter(browser: Browser, pages: OnSockets, script: bool) -> None:
    with opened(browser, pages, RUNNING, java_script_enabled=script) as page:
        page.get_by_text("Change weights…").focus()
        page.keyboard.press("Enter")
        page.get_by_label("tf, %").fill("80")
        page.get_by_label("onnx, %").fill("20")
        page.keyboard.press("Enter")
        page.get_by_text("The weights were changed").wait_for()
        assert urlsplit(page.url).path == RUNNING
        assert pages.desk.asked == [("set", "which-runtime", {"weights": {"tf": 80.0, "onnx": 20.0}}, "pages")]


@pytest.mark.parametrize("script", [True, False])
def test_a_variant_is_promoted_by_clicking_and_never_by_one_click(
    browser: Browser, pages: OnSockets, script: bool
) -> None:
    with opened(browser, pages, RUNNING, java_script_enabled=script) as page:
        assert not page.get_by_role("button", name="Promote it").is_visible()
        page.get_by_text("Promote a variant…").click()
        page.get_by_label("onnx m/2@onnxruntime").check()
        page.get_by_role("button", name="Promote it").click()
        page.get_by_text("The variant was promoted.").wait_for()
        assert pages.desk.asked == [("promote", "which-runtime", "onnx", "pages")]
        page.reload()  # asks for the page, and promotes nobody again
        assert len(pages.desk.asked) == 1


@pytest.mark.parametrize("script", [True, False])
def test_what_was_wrong_stands_beside_what_was_typed(browser: Browser, pages: OnSockets, script: bool) -> None:
    with browser.new_context(java_script_enabled=script) as context:  # the console tells of the answer 400
        page = context.new_page()
        page.goto(pages.url + RUNNING)
        page.get_by_text("Change weights…").click()
        page.get_by_label("tf, %").fill("80")
        page.get_by_label("onnx, %").fill("90")
        page.get_by_role("button", name="Set these weights").click()
        page.get_by_text("expected 100 % together, got 170 %").wait_for()
        assert page.get_by_label("onnx, %").input_value() == "90"
        assert page.get_by_label("onnx, %").is_visible()


def test_a_refresh_shows_what_is_new_and_keeps_what_one_is_typing(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, RUNNING, viewport={"width": 1280, "height": 600}) as page:
        page.get_by_text("The pictures of errors as a table").click()
        page.get_by_text("Stop…").click()
        reason = page.get_by_label("Reason")
        reason.press_sequentially("it is too sl")
        scrolled = page.evaluate("() => scrollY")
        pages.desk.log.insert(0, event(0, reason="while you typed"))
        page.get_by_text("while you typed").wait_for()
        reason.press_sequentially("ow")
        assert reason.input_value() == "it is too slow"
        assert page.evaluate("() => document.activeElement.name") == "reason"
        assert page.evaluate("() => scrollY") == scrolled
        assert page.get_by_text("errors: the last 12 of 120 looks").is_visible()


def test_a_refresh_keeps_the_focus_on_what_it_changes(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, "/") as page:
        link = page.get_by_role("link", name="m/ramp")
        link.focus()
        pages.desk.kept = {**pages.desk.kept, "aaa": definition("aaa")}
        page.get_by_role("link", name="m/aaa").wait_for()
        assert page.evaluate("() => document.activeElement.textContent") == "m/ramp"


def test_refreshing_is_paused_and_goes_on(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, "/", clock=True) as page:
        with page.expect_request("**/"):
            page.clock.run_for(2500)
        page.get_by_role("button", name="Pause").click()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.run_for(20_000)
        assert asked == []
        with page.expect_request("**/"):
            page.get_by_role("button", name="Go on").click()


def test_a_gateway_that_does_not_answer_is_said(browser: Browser, pages: OnSockets) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(pages.url + "/")
        page.route("**/*", lambda route: route.abort())
        page.get_by_text("No answer: not up to date").wait_for()
        page.unroute("**/*")
        page.get_by_text("No answer: not up to date").wait_for(state="hidden")


@pytest.mark.parametrize("script", [True, False])
def test_one_request_goes_to_two_deployments_and_both_answers_are_shown(
    browser: Browser, pages: OnSockets, script: bool
) -> None:
    with opened(browser, pages, "/models/m", java_script_enabled=script) as page:
        page.get_by_label("Request, as V2 has it").fill(
            '{"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [1, 2, 4]}]}'
        )
        page.get_by_role("button", name="Send to both").click()
        answers = page.locator("#answers")
        answers.wait_for()
        words = answers.inner_text()
        assert words.count("m/1@onnxruntime") >= 2
        assert words.count("m/2@onnxruntime") >= 2
        assert words.count("equal") == 2
        assert "ms" in words
        assert '"data": [1, 2, 4]' in page.get_by_label("Request, as V2 has it").input_value()


def test_a_request_that_is_wrong_shows_both_refusals(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, "/models/m") as page:
        page.get_by_label("Request, as V2 has it").fill(
            '[{"name": "nope", "shape": [1], "datatype": "FP32", "data": [1]}]'
        )
        page.get_by_role("button", name="Send to both").click()
        assert page.locator("#answers").get_by_text("400:").count() == 2


def test_a_label_is_moved(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, "/models/m") as page:
        page.get_by_label("Label", exact=True).fill("canary")
        page.get_by_label("Version").select_option("1")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Move label").click()
        page.get_by_text("The label was moved").wait_for()
        assert pages.do(lambda: pages.site.plane.labels.of("m"))["canary"] == 1


def test_an_experiment_is_written_started_and_stopped(browser: Browser, pages: OnSockets) -> None:
    with opened(browser, pages, "/experiments") as page:
        page.get_by_label("Name", exact=True).fill("by-hand")
        page.keyboard.press("Enter")
        page.get_by_text("The draft was written.").wait_for()
        page.get_by_text("Start…").click()
        page.get_by_role("button", name="Start the experiment").click()
        page.get_by_text("The experiment runs.").wait_for()
        page.get_by_text("Stop…").click()
        page.get_by_label("Reason").fill("enough")
        page.keyboard.press("Enter")
        page.get_by_text("The experiment was stopped").wait_for()
        assert [each[0] for each in pages.desk.asked] == ["create", "start", "stop"]


def test_a_digest_is_copied_as_a_whole(browser: Browser, pages: OnSockets, tmp_path: Path) -> None:
    with browser.new_context(permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        page.goto(pages.url + "/models/m")
        page.get_by_role("button", name="Copy the digest of m/1@onnxruntime").click()
        page.get_by_text("Copied").wait_for()
        record = pages.site.plane.record("m/1@onnxruntime")
        assert record
        assert page.evaluate("() => navigator.clipboard.readText()") == record.digest
