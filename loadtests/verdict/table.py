"""A verdict in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtests.verdict.document import Verdict
from loadtests.verdict.lines import doubts_title, headline, left_out, lines, remarks

_COLOURS = {"recommended": "bold green", "undecided": "bold yellow", "alone": "bold", "none": "bold red"}


def show(verdict: Verdict, console: Console) -> None:
    """Print it: figures, recommendation, reason, what speaks against it, and what was set."""
    if verdict.rows:
        console.print(_table(verdict))
    advice = verdict.recommendation
    console.print(Text(headline(verdict), _COLOURS[advice.kind]))
    console.print(Text(advice.reason))
    if advice.against:
        _listed(f"{doubts_title(verdict)}:", advice.against, console)
    if out := left_out(verdict):
        _listed("Left out:", out, console)
    console.print()
    for each in remarks(verdict):
        console.print(Text(each, "dim"))


def _table(verdict: Verdict) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column(verdict.name)
    for row in verdict.rows:
        table.add_column(row.backend, justify="right", overflow="fold")
    for line in lines(verdict):
        table.add_row(line.heading, *(_cell(each.text, each.beside) for each in line.cells))
    return table


def _cell(text: str, beside: str) -> Text:
    return Text.assemble(text, ("\n" + beside, "dim")) if beside else Text(text)


def _listed(title: str, texts: Sequence[str], console: Console) -> None:
    console.print(Text(title))
    for each in texts:
        console.print(Text(f"  - {each}"))
