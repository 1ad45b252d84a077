"""The page: what stands in it, what texts of results cannot do to it, and what a browser and axe find."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from loadtests.report.writing import Report

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OVERFLOWING = """() => [...document.querySelectorAll("main *")]
  .filter(each => !each.closest(".wide") && each.checkVisibility() && !each.classList.contains("hidden"))
  .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map(each => each.outerHTML.slice(0, 120))"""

ALIKE = "figure ~ figure details, tbody tr ~ tr ~ tr"
"""What is made as others on the page are, of which axe looks at each one for seconds."""

OPEN_ALL = "() => document.querySelectorAll('details').forEach(each => { each.open = true; })"

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(19, 20, 22)"}


class Elements(HTMLParser):
    """Tags, and attributes with their values."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_needs_nothing_but_itself(page: str) -> None:
    found = Elements(page)
    assert not found.tags.keys() & {"script", "img", "iframe", "object", "link", "form"}
    addresses = [value for name, value in found.attributes if name in ("href", "xlink:href", "src", "action")]
    assert addresses
    assert all(each.startswith("#") for each in addresses)
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert "url(http" not in page
    assert "default-src 'none'" in page


def test_each_picture_says_what_it_shows_and_has_its_numbers(page: str, made: Report) -> None:
    drawn = sum(len(section.pictures) + len(section.folded) for section in made.sections)
    assert page.count('role="img"') == drawn
    assert len(re.findall(r'<title id="[\w-]+-title">[^<]+</title><desc id="[\w-]+-says">[^<]+</desc>', page)) == drawn
    assert page.count("Numbers<span") == drawn


def test_ids_are_there_once_and_what_refers_to_one_finds_it(page: str) -> None:
    found = Elements(page)
    ids = Counter(value for name, value in found.attributes if name == "id")
    assert [each for each, count in ids.items() if count > 1] == []
    referred = {value[1:] for name, value in found.attributes if name in ("href", "xlink:href")}
    referred |= {each for name, value in found.attributes if name == "aria-labelledby" for each in value.split()}
    referred |= set(re.findall(r"url\(#([^)]+)\)", page))
    assert referred - ids.keys() == set()


def test_hostile_texts_are_text(attacked_page: str) -> None:
    found = Elements(attacked_page)
    assert not found.tags.keys() & {"script", "img"}
    assert not any(name.startswith("on") for name, _ in found.attributes)
    assert found.tags["style"] == 1 + attacked_page.count("<defs>\n  <style")
    assert "<script>document.title" in found.text
    assert "{{ 7 * 7 }}" in found.text
    assert "\u202e" not in attacked_page
    assert "x" * 300 not in attacked_page
    assert len(attacked_page) < 5_000_000


@pytest.mark.parametrize("which", ["page", "attacked_page"])
def test_a_page_fits_asks_for_nothing_and_is_accessible(
    browser: Browser, which: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    file = tmp_path / "report.html"
    file.write_text(request.getfixturevalue(which))
    wrong: list[str] = []
    with browser.new_context() as context:
        shown = context.new_page()
        shown.on("console", lambda said: wrong.append(said.text))
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("request", lambda asked: wrong.append(asked.url) if asked.url != file.as_uri() else None)
        shown.goto(file.as_uri())
        shown.evaluate(OPEN_ALL)
        for width, scheme in ((1280, "light"), (400, "dark")):
            shown.set_viewport_size({"width": width, "height": 900})
            shown.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert shown.evaluate("() => document.documentElement.scrollWidth") <= width
            assert shown.evaluate(OVERFLOWING) == []
            ground = shown.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
            assert ground == GROUNDS[scheme]
            found = axe.Axe().run(shown, context={"exclude": [ALIKE]}, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()
        assert shown.title().startswith("Load test: ")
    assert wrong == []
