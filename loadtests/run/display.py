"""What people see of a run: progress while it lasts, and a table of its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtests.engine.plan import Slice
from loadtests.results.schema import Figure, Result, Row
from loadtests.run.measuring import Tell

_OF: Final = re.compile(" at | of |, ")
_MOST: Final = 9
"""Figures of a row that the table shows; all of them are in the result."""


class Display:
    """Shows stretches as they come: a bar on a terminal, else a line for each."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, now="")

    @contextmanager
    def running(self) -> Iterator[Display]:
        """Shown as long as this lasts."""
        if not self._console.is_terminal:
            yield self
            return
        with self._progress:
            yield self

    def begin(self, what: str, seconds: float) -> Tell:
        """A stretch begins."""
        if not self._console.is_terminal:
            self.say(f"{what}: about {seconds:.0f} s")
        self._progress.reset(self._task, total=seconds, description=escape(what), now="")

        def tell(slice: Slice) -> None:  # noqa: A002  # as Tell has it
            answered = sum(each.succeeded for each in slice.answers.values())
            failed = sum(slice.failures.values())
            rate = answered / max(slice.end_s - slice.begin_s, 1e-3)
            now = f"{rate:,.0f}/s" + (f", [red]{failed:,} failed[/red]" if failed else "")
            self._progress.update(self._task, completed=slice.end_s, now=now)

        return tell

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(escape(line), highlight=False, soft_wrap=True)


def table(result: Result) -> Table:
    """A line for each row of the result and each of its levels: `p99 at 8 connections` belongs to `8 connections`.

    What is the same in all rows is said once, above.
    """
    lines = [(row, level, found) for row in result.rows for level, found in grouped(row.figures).items()]
    names = {
        "deployment": [row.deployment for row, _, _ in lines],
        "dialect": [row.dialect for row, _, _ in lines],
        "hardware": [row.hardware for row, _, _ in lines],
        "payload": [row.payload for row, _, _ in lines],
        "of": [level for _, level, _ in lines],
    }
    columns = {name: texts for name, texts in names.items() if len(set(texts)) > 1 or name == "deployment"}
    same = [texts[0] for name, texts in names.items() if name not in columns and texts and texts[0]]
    title = ", ".join([f"{result.name} on {result.machine.name}", *same])
    made = Table(title=escape(title), title_justify="left", title_style="bold", show_lines=True)
    for name in columns:
        made.add_column(name, no_wrap=True)
    headings = list(dict.fromkeys(_heading(each) for _, _, found in lines for each in found))[:_MOST]
    for heading in headings:
        made.add_column(heading, justify="right")
    for number, (_, _, found) in enumerate(lines):
        cells = {_heading(each): shown(each) for each in found}
        ours = [cells.get(heading, "") for heading in headings]
        made.add_row(*map(escape, [*(texts[number] for texts in columns.values()), *ours]))
    return made


def grouped(figures: Sequence[Figure]) -> dict[str, list[Figure]]:
    """Figures by what they are of, `` where their names do not say: `p99 at 8 connections`, `p99, before`."""
    found: dict[str, list[Figure]] = {}
    for figure in figures:
        found.setdefault(_parts(figure.name)[1], []).append(figure)
    return found


def _parts(name: str) -> tuple[str, str]:
    what, *of = _OF.split(name, maxsplit=1)
    return what, of[0] if of else ""


def _heading(figure: Figure) -> str:
    unit = {"share": "", "1/s": "/s"}.get(figure.unit, figure.unit)
    return f"{_parts(figure.name)[0]} {unit}".strip()


def shown(figure: Figure) -> str:
    """The value, and below it the interval."""
    if figure.value is None:
        return "–"
    percent = figure.unit == "share"
    text = _number(figure.value, percent) + (" %" if percent else "")
    if figure.low is None or figure.high is None:
        return text
    return f"{text}\n{_number(figure.low, percent)}–{_number(figure.high, percent)}"


def _number(value: float, percent: bool) -> str:
    value = 100 * value if percent else value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def troubles(rows: Sequence[Row]) -> Iterator[str]:
    """Lines about rows that were not measured, failed, or have something to be said of their figures."""
    for row in rows:
        name = f"{row.deployment} {row.dialect}" + ("" if row.hardware == "as served" else f" ({row.hardware})")
        if row.status != "measured":
            yield f"{name}: {row.status}: {row.why}"
        yield from (f"{name}: {each.name}: {each.note}" for each in row.figures if each.note)
        for first in dict.fromkeys(each.first_failure for run in row.runs for each in run.slices if each.first_failure):
            yield f"{name}: a request failed: {first}"
            break
