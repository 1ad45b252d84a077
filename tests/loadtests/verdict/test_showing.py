"""A verdict as people read it: in the terminal, and as a page in a real browser."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtests.verdict.document import Agreement, Verdict
from loadtests.verdict.html import html
from loadtests.verdict.table import show
from tests.chromium import running_chromium
from tests.loadtests.verdict.made import around, row, verdict

HOSTILE = "<script>document.title = 'owned'</script><img src=http://127.0.0.1:9/x onerror=alert(1)> [red]$x_1$"


def four() -> Verdict:
    """One recommended, one heavy, one that failed, one that answers wrongly."""
    return verdict(
        row("onnxruntime"),
        row("tfserving", cost=around(0.028), highest_rate=around(12_345.0), rss_bytes=30_000_000, sharing=2),
        row("torchserve", state="failed", why="status 507", server_rss_bytes=200_000_000, sharing=2, p99_ms=None),
        row("tflite-int8", agreement=Agreement(0.7, 0.5, 0.5, 16, False)),
    )


def shown(made: Verdict, width: int = 80) -> str:
    written = io.StringIO()
    show(made, Console(width=width, file=written))
    return written.getvalue()


def test_four_backends_fit_into_80_columns_and_no_figure_is_cut() -> None:
    text = shown(four())
    assert max(map(len, text.splitlines())) <= 80
    for whole in ("onnxruntime", "tflite-int8", "11,110 … 13,580", "0.450 … 0.550", "80.0 … 100", "limit 0.0001"):
        assert whole in text


def test_the_recommendation_what_speaks_against_it_and_who_is_out_are_told_below_the_table() -> None:
    text = " ".join(shown(four()).split())
    assert "m/1: onnxruntime is recommended" in text
    assert "What speaks against it: - m/1@tfserving takes more requests" in text
    assert "Left out: - m/1@torchserve: failed: status 507 - m/1@tflite-int8: its answers are not" in text


def test_what_is_wrong_with_all_is_told_once_and_with_what_to_do() -> None:
    made = row("a").alone_p99_ms
    slow = {"highest_rate": around(0.0), "p99_ms": None, "alone_p99_ms": made}
    text = " ".join(shown(verdict(row("a", **slow), row("b", **slow))).split())
    assert text.count("no rate keeps its p99 within 5.00 ms") == 1
    assert "m/1@a and m/1@b: no rate keeps" in text
    assert "give a longer --latency-target" in text


def test_words_of_models_are_text_in_the_terminal() -> None:
    assert "[red]" in " ".join(shown(verdict(marks=(HOSTILE,)), 400).split())


def test_the_page_is_read_without_internet_by_assistive_technology_and_on_a_phone(tmp_path: Path) -> None:
    axe: Any = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    file = tmp_path / "verdict.html"
    file.write_text(html(four()))
    asked: list[str] = []
    with running_chromium() as browser, browser.new_context() as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: asked.append(said.text))
        page.goto(file.as_uri())
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
            found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
            assert found.violations_count == 0, found.generate_report()
        assert page.locator("svg").count() == 2
        hostile = four()
        file.write_text(html(verdict(row(HOSTILE), row("b", why=HOSTILE), marks=(HOSTILE, *hostile.marks))))
        page.reload()
        assert "Torii" in page.title()
        assert page.locator("script, img").count() == 0
        assert HOSTILE in page.inner_text("main")
    assert asked == [file.as_uri()] * 2


def test_nothing_measured_is_a_page_without_pictures() -> None:
    nothing = dict.fromkeys(("alone_p50_ms", "alone_p99_ms", "p50_ms", "p99_ms", "highest_rate", "cost", "cpu_ms"))
    made = html(verdict(row("a", state="not ready", why="FAILED", **nothing)))
    assert "<svg" not in made
    assert "none can be recommended" in made
