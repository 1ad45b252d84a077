"""The report as Markdown, for a pull request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from loadtests.report.pictures import Grid
from loadtests.report.writing import Report
from loadtests.results.text import markdown

SHOWN: Final = 8
"""How many sentences of a kind are shown before one has to ask for more."""

_MOST_TABLE_ROWS: Final = 60
_MOST_CHARACTERS: Final = 60_000
"""GitHub takes 65,536 in a comment."""


def as_markdown(made: Report, pictures: Path | None = None) -> str:
    """The report for a pull request; pictures are referred to where their folder, relative to the file, is known."""
    text = "\n".join(_shown(made, pictures)) + "\n"
    for summary, grids in (
        ("All comparisons", (made.conclusions.compared,)),
        ("Machines", made.machines),
        ("Settings", made.settings),
    ):
        more = "\n".join(_folded(summary, [grid for grid in grids if grid.rows]))
        if more and len(text) + len(more) <= _MOST_CHARACTERS:
            text += more + "\n"
        elif more:
            text += f"\n{summary}: too long for a comment; the HTML report has them.\n"
    return text


def _shown(made: Report, pictures: Path | None) -> Iterator[str]:
    yield from (f"# {markdown(made.title)}", "")
    yield " · ".join(f"{name}: {_sentence(text)}" for name, text in made.facts)
    for heading, sentences in (
        ("What can be concluded", made.conclusions.can or ("No difference is shown.",)),
        ("What cannot be concluded", made.conclusions.cannot),
        ("To keep in mind", made.conclusions.mind),
    ):
        if sentences:
            yield from ("", f"## {heading}", "", *(f"* {_sentence(each)}" for each in sentences[:SHOWN]))
        if len(sentences) > SHOWN:
            yield f"* and {len(sentences) - SHOWN} more, which the HTML report has."
    yield from ("", "## Numbers", "")
    for grid in (*made.figures, made.measured):
        if grid.rows:
            yield from _grid(grid)
    if pictures is not None:
        for picture in made.for_others:
            yield from (f"![{_sentence(picture.title)}]({_address(pictures)}/{picture.name}.png)", "")
            yield from (_sentence(picture.says), "")


def _folded(summary: str, grids: Sequence[Grid]) -> Iterator[str]:
    if grids:
        yield from ("", f"<details><summary>{summary}</summary>", "")
        for grid in grids:
            yield from _grid(grid)
        yield "</details>"


def _sentence(text: str) -> str:
    """Sentences may be long, and are not cut."""
    return "".join(markdown(text[begin : begin + 200]) for begin in range(0, len(text), 200))


def _address(folder: Path) -> str:
    """A relative folder in the place of a link's address, which neither spaces nor brackets may end."""
    return "".join(each if each.isalnum() or each in "/._-" else f"%{ord(each):02X}" for each in folder.as_posix())


def _grid(grid: Grid) -> Iterator[str]:
    yield from (f"**{_sentence(grid.caption)}**", "", _line(grid.head), f"|{'---|' * len(grid.head)}")
    yield from map(_line, grid.rows[:_MOST_TABLE_ROWS])
    if len(grid.rows) > _MOST_TABLE_ROWS:
        yield from ("", f"and {len(grid.rows) - _MOST_TABLE_ROWS:,} rows more, which the HTML report has")
    yield ""


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown(cell) for cell in cells)} |"
