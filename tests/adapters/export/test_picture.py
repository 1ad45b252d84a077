from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest

from adapters.export.certificate import Certificate
from adapters.export.charts import bars, histogram
from adapters.export.figures import BIN_EXPONENTS, Differences
from adapters.export.picture import POLICY, number, percent, picture, size
from tests.adapters.export.certificates import certificate, side

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def everything_hostile() -> Certificate:
    made = certificate(difference=0.5)
    output = msgspec.structs.replace(made.outputs[0], source=HOSTILE, export=HOSTILE + "2", datatype=HOSTILE)
    return msgspec.structs.replace(
        made,
        subject=HOSTILE,
        made=HOSTILE,
        reasons=[HOSTILE],
        source=side(HOSTILE, HOSTILE, runtime=HOSTILE, operators={HOSTILE: 3}),
        route=[HOSTILE],
        outputs=[output],
        accuracy=msgspec.structs.replace(made.accuracy, output=HOSTILE),
        data=msgspec.structs.replace(made.data, name=HOSTILE),
        machine=msgspec.structs.replace(made.machine, processor=HOSTILE),
        tools={HOSTILE: HOSTILE},
    )


def test_the_page_says_the_verdict_in_words_and_shows_every_figure() -> None:
    text = Page(picture([certificate()])).text
    assert "✓ passed On 4 golden rows the export is the same model." in text
    assert "100 % of the rows have the same best class." in text
    assert "It has 25 % of the source's size" in text
    for fact in ("model.tflite", "b" * 64, "torchscript → pt2, then pt2 → tflite", "Conv ×2, Softmax", "Some CPU"):
        assert fact in text


def test_a_failed_certificate_gives_its_reasons() -> None:
    text = Page(picture([certificate(difference=0.5)])).text
    assert "Not the same model ✗ failed" in text
    assert "largest difference 0.5 in row 0" in text


def test_several_are_one_page_with_a_table_that_leads_to_each() -> None:
    page = Page(picture([certificate(), certificate("int8", 0.01)], "Some file is another."))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    ids = [attributes.get("id") for _, attributes in page.tags]
    assert links == ["#c1", "#c2"]
    assert all(str(link)[1:] in ids for link in links)
    assert "Some file is another." in page.text


def test_the_page_loads_nothing_and_keeps_to_its_policy() -> None:
    html = picture([certificate(), certificate(difference=0.5)])
    page = Page(html)
    styles = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(styles[0].encode()).digest()).decode()
    assert len(styles) == 1
    assert f"style-src 'sha256-{digest}'" in POLICY
    assert {"script", "link", "img", "iframe", "object"}.isdisjoint(tag for tag, _ in page.tags)
    for _, attributes in page.tags:
        assert not {name for name in attributes if name.startswith("on") or name in ("style", "src")}
    assert "url(" not in styles[0]
    assert "@import" not in styles[0]


def test_what_a_certificate_says_is_text_and_never_markup() -> None:
    shape = [(tag, sorted(attributes)) for tag, attributes in Page(picture([certificate(difference=0.5)])).tags]
    page = Page(picture([everything_hostile()], HOSTILE))
    assert {"script", "img"}.isdisjoint(tag for tag, _ in page.tags)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in shape}
    assert "alert('x')" in page.text


def test_pictures_have_their_numbers_as_text() -> None:
    labels = [
        str(attributes["aria-label"])
        for tag, attributes in Page(picture([certificate()])).tags
        if tag == "svg" and attributes["role"] == "img"
    ]
    assert "Size: torchscript (source) 1,000 B; tflite (export) 250 B" in labels or any("250 B" in e for e in labels)
    assert any("36 elements" in label or "elements" in label for label in labels)


def counted(**bins: int) -> Differences:
    places = [0] * (len(BIN_EXPONENTS) - 1)
    for name, count in bins.items():
        places[int(name[1:])] = count
    return Differences(3, places)


@pytest.mark.parametrize("tolerated", [0.0, 1e-30, 1e-4, 1.0, 1e30])
@pytest.mark.parametrize("bins", [{}, {"b0": 1}, {"b31": 5}, {"b0": 10**9, "b31": 1}])
def test_columns_stay_within_the_picture_and_more_is_higher(bins: dict[str, int], tolerated: float) -> None:
    drawn = histogram(counted(**bins), tolerated)
    for each in drawn.columns:
        assert drawn.left <= each.x < each.x + each.width <= drawn.right
        assert drawn.top - 1 <= each.y < drawn.bottom
    assert len(drawn.columns) == 1 + len(bins)
    for tick in drawn.across:
        assert drawn.left <= tick.at <= drawn.right
    if len(bins) == 2:
        assert drawn.columns[1].height > drawn.columns[0].height > drawn.columns[2].height


def test_bars_are_to_one_scale_from_zero() -> None:
    drawn = bars("Size", [("source", 400.0), ("export", 100.0)], size)
    assert drawn.bars[0].width == 4 * drawn.bars[1].width
    assert drawn.words == "Size: source 400 B; export 100 B"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(None), "–"),
        (number(0.0), "0"),
        (number(1234567.0), "1,234,567"),
        (number(0.012345), "0.0123"),
        (number(1.5e-7), "1.50e−07"),
        (percent(1.0), "100 %"),
        (percent(0.99999), "> 99.99 %"),
        (size(1536), "1.54 kB"),
        (size(12), "12 B"),
    ],
)
def test_numbers_are_written_for_people(written: Any, expected: str) -> None:
    assert written == expected
