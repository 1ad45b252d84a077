"""The report for a pull request."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from loadtests.report.markdown import as_markdown
from loadtests.report.pictures import Grid
from loadtests.report.writing import Report
from tests.loadtests.report.results import NO_GPU


def test_markdown_has_conclusions_numbers_and_pictures(made: Report) -> None:
    text = as_markdown(made, Path("../the pictures"))
    for heading in ("What can be concluded", "What cannot be concluded", "To keep in mind", "Numbers"):
        assert f"## {heading}\n" in text
    assert "is faster than digits/1@" in text.replace("@\u200b", "@")
    assert NO_GPU in text
    assert text.count("](../the%20pictures/") == len(list(made.for_others))
    assert f"\\[1\\] not run: {NO_GPU}." in text
    assert f"SHA-256 {'0' * 64}" in text


def test_every_line_of_a_table_has_as_many_cells_as_its_head(attacked: Report) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", as_markdown(attacked), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_hostile_texts_are_no_markup(attacked: Report) -> None:
    text = as_markdown(attacked)
    assert not re.search(r"(?<!\\)<(?!/?(?:details|summary)>)", text)
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    assert "\x1b" not in text


def test_what_a_comment_cannot_hold_is_left_to_the_page(made: Report) -> None:
    long = Grid("Settings", ("setting", "value"), tuple((f"key {number}", "x" * 180) for number in range(50)))
    text = as_markdown(replace(made, settings=(long,) * 10))
    assert len(text) < 65_536
    assert "Settings: too long for a comment; the HTML report has them." in text
