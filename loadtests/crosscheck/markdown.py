"""The table as Markdown, in a page of its own or between two marks of a page that says more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from loadtests.crosscheck.report import COLUMNS, WORDS, cells, legend, skipped
from loadtests.crosscheck.turns import Rounds

BEGIN: Final = "<!-- crosscheck: from here to the end mark, `make crosscheck ARGS=--markdown=FILE` writes -->"
END: Final = "<!-- crosscheck: end -->"


def write(path: Path, measured: Sequence[Rounds], about: Mapping[str, Any]) -> None:
    """Put the table between the marks of the page; a page without them, or none, becomes the table alone."""
    table = "\n".join((BEGIN, "", *_lines(measured, about), "", END))
    page = path.read_text() if path.exists() else ""
    before, begun, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(before + table + after if begun and ended else table + "\n")


def _lines(measured: Sequence[Rounds], about: Mapping[str, Any]) -> Iterator[str]:
    yield f"{about['date']}, {about['machine']}; load average before it {about['load_average'][0]:.1f}."
    yield f"`{about['command']}`"
    for rounds in measured:
        rows = [[_plain(each) for each in row[1:]] for row in cells(rounds)]
        if rows:
            yield from ("", f"**{_plain(rounds.scenario.name)}**", "")
            yield from _row(COLUMNS[1:])
            yield from _row(["---" if column in WORDS else "---:" for column in COLUMNS[1:]])
            for row in rows:
                yield from _row(row)
    yield from ("", legend())
    for tool, why in skipped(measured).items():
        yield from ("", _plain(f"{tool} is left out: {why}"))


def _row(values: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(values)} |"


def _plain(text: str) -> str:
    """One line that ends no cell."""
    return " ".join(text.split()).replace("|", "\\|")
