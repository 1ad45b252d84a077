"""The demo page as a person uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.edge.browser import hand

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

WITHIN_MS = 60_000
"""For what needs a runtime of megabytes to compile, on a machine that does other things too."""


class Demo:
    """The page in a browser's context. `wrong`: what should not be there, as errors in the console, or other hosts."""

    def __init__(self, context: BrowserContext, url: str, talks: bool) -> None:
        self.context = context
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WITHIN_MS)
        self.wrong: list[str] = []
        if not talks:
            self.page.on("console", lambda said: self._console(said.type, said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda asked: None if asked.url.startswith(url) else self.wrong.append(asked.url))
        self._url = f"{url}/edge/v1/demo/"

    def _console(self, kind: str, text: str) -> None:
        # The browser itself says so of every request that fails, also of those that may.
        if kind in {"error", "warning"} and not text.startswith("Failed to load resource"):
            self.wrong.append(text)

    def open(self, query: str = "") -> None:
        """Visit the page, and wait until it has asked for its model."""
        self.page.goto(self._url + query)
        self.page.locator("#update[aria-busy=false]").wait_for()

    def go_offline(self) -> None:
        """No network any more, nor what the browser has in its cache by chance."""
        self.context.new_cdp_session(self.page).send("Network.clearBrowserCache")
        self.context.set_offline(True)

    def update(self) -> str:
        """What the page says after it has asked for an update."""
        self.page.locator("#check-now").click()
        self.page.locator("#update[aria-busy=false]").wait_for()
        return self.said

    @property
    def said(self) -> str:
        """What the page says of its model."""
        return self.page.locator("#update").inner_text()

    def text(self, name: str) -> str:
        """An element's text, by its id."""
        return self.page.locator(f"#{name}").inner_text()

    def draw(self, digit: int, seed: int = 0) -> str:
        """The answer to a digit that a hand draws."""
        if self.page.locator("#clear").is_enabled():
            self.page.locator("#clear").click()
        self.page.locator("#canvas").scroll_into_view_if_needed()
        box = self.page.locator("#canvas").bounding_box()
        assert box
        mouse = self.page.mouse
        for stroke in hand.drawn(digit, seed):
            points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
            mouse.move(*points[0])
            mouse.down()
            for point in points[1:]:
                mouse.move(*point)
            mouse.up()
        return self.answer()

    def answer(self) -> str:
        """The digit that the page has recognised."""
        self.page.locator("#digit:not(.empty)").wait_for()
        self.page.evaluate("() => new Promise(requestAnimationFrame)")
        return self.text("digit")


@contextmanager
def opened(browser: Browser, url: str, talks: bool = False, **context: Any) -> Iterator[Demo]:
    """A person's browser, new and empty. `talks`: what is said in its console does not matter."""
    with browser.new_context(**context) as made:
        demo = Demo(made, url, talks)
        yield demo
        assert demo.wrong == [], demo.wrong
        assert made.cookies() == []
