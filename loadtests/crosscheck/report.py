"""What `make crosscheck` shows and writes: one table, and all turns as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests.crosscheck.agreement import DISTURBED, LIMIT, TOLERANCE, Agreement, agreements
from loadtests.crosscheck.turns import Rounds

_WIDTH = 164
COLUMNS: Final = (
    "scenario",
    "tool",
    "figure",
    "theirs",
    "ours",
    "ratio",
    "rounds",
    "CPU",
    "µs/request",
    "server µs",
    "others",
    "verdict",
)
WORDS: Final = {"scenario", "tool", "figure", "verdict"}


def show(measured: Sequence[Rounds], console: Console | None = None) -> None:
    """Print the table, and which tools are missing from it."""
    console = console or Console(width=_WIDTH, highlight=False)
    table = Table(
        title="Tools that are not ours, and ours", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in WORDS else "right", no_wrap=True)
    for rounds in measured:
        for row in cells(rounds):
            table.add_row(*row)
    console.print(table)
    console.print(legend())
    for tool, why in skipped(measured).items():
        console.print(f"{tool} is left out: {why}")


def legend() -> str:
    """What the columns are."""
    return (
        f"Throughput in samples/s, latencies in ms, medians over rounds; ratio: theirs to ours, agreeing within "
        f"{TOLERANCE:.0%}; rounds: its extremes. CPU and µs/request: of the tool itself, then of ours, "
        f"{LIMIT:.0%} of a core being the limit. Server µs: the server's CPU for a request of theirs, then of ours. "
        f"?: others had more than {DISTURBED:.0%} of a core meanwhile."
    )


def cells(rounds: Rounds) -> list[tuple[str, ...]]:
    """A scenario's rows of the table, by COLUMNS."""
    return [_cells(each) for each in agreements(rounds)]


def write(path: Path, measured: Sequence[Rounds], about: Mapping[str, Any]) -> None:
    """Write everything as JSON."""
    found = {
        **about,
        "tolerance": TOLERANCE,
        "agreements": [
            {**dataclasses.asdict(each), "ratio": each.ratio, "disturbed": each.disturbed}
            for rounds in measured
            for each in agreements(rounds)
        ],
        "scenarios": [
            {
                "name": rounds.scenario.name,
                "load": dataclasses.asdict(rounds.scenario.load),
                "turns": {name: [dataclasses.asdict(each) for each in turns] for name, turns in rounds.turns.items()},
                "left_out": rounds.skipped,
            }
            for rounds in measured
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False))


def _cells(each: Agreement) -> tuple[str, ...]:
    number = "{:,.0f}" if each.statistic == "throughput" else "{:.3f}"
    return (
        each.scenario,
        each.tool,
        each.statistic,
        number.format(each.theirs),
        number.format(each.ours),
        f"{each.ratio:.2f}",
        f"{min(each.ratios):.2f}–{max(each.ratios):.2f}",
        f"{each.their_cpu:.0%} {each.our_cpu:.0%}",
        f"{each.their_cost_us:.0f} {each.our_cost_us:.0f}",
        f"{each.their_server_us:.0f} {each.our_server_us:.0f}",
        f"{each.others:.0%}",
        each.verdict + "?" * each.disturbed,
    )


def skipped(measured: Sequence[Rounds]) -> dict[str, str]:
    """Why tools have no figures, each reason once."""
    return {tool: why for rounds in measured for tool, why in rounds.skipped.items()}
