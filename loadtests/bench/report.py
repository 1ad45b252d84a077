"""What a benchmark shows and writes: a table, what became of the goals, and all of it as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests.bench.comparisons import Benchmark, Judged, judge
from loadtests.bench.contenders import Row

_WIDTH = 110
_WORDS = {True: "holds", False: "missed", None: "not measured"}


def facts() -> dict[str, Any]:
    """Of the machine and the run, taken before anything is measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "loadtests.bench", *sys.argv[1:]]),
        "machine": _machine(),
        "python": sys.version,
        "load_average": os.getloadavg(),
    }


def show(benchmark: Benchmark, rows: Sequence[Row], rss: Mapping[str, tuple[int, int]]) -> None:
    """Print the table and what became of the goals."""
    Console(width=_WIDTH, highlight=False).print(_table(benchmark, rows))
    print("Medians over the rounds; servers on one core, the client on another. CPU µs: what all servers that have")
    print("a part in the answer use for each request.")
    for judged in _judged(benchmark, rows):
        value = "" if judged.value is None else f"{judged.value:.2f}; "
        print(f"{judged.compared}: {value}goal: {judged.goal}: {_WORDS[judged.holds]}")
    for row in rows:
        if failures := sum(each.failures for each in row.rounds):
            print(f"{row.contender}, connections: {row.connections}: {failures:.0f} requests failed")
    for name, (own, children) in rss.items():
        workers = f" + {children / 2**20:.0f} MB in children" if children else ""
        print(f"{name}: RSS {own / 2**20:.0f} MB{workers}")
    print(_machine())


def write(
    path: Path, benchmark: Benchmark, rows: Sequence[Row], rss: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Write everything as JSON."""
    found = {
        **about,
        "title": benchmark.title,
        "goals": [dataclasses.asdict(each) for each in _judged(benchmark, rows)],
        "rows": [_with_comparison(benchmark, row, rows) for row in rows],
        "rss_bytes": rss,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False))


def _table(benchmark: Benchmark, rows: Sequence[Row]) -> Table:
    table = Table(title=benchmark.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    heading = benchmark.comparison.heading
    for each in ("conns", "server", "requests/s", heading, "p50 ms", "p99 ms", "CPU µs", "client CPU"):
        table.add_column(each, justify="left" if each == "server" else "right", no_wrap=True)
    for row in rows:
        median = row.medians
        table.add_row(
            str(row.connections),
            row.contender,
            f"{median.requests_per_s:,.0f}",
            f"{_compared(benchmark, row, rows):.2f}",
            f"{median.p50_ms:.3f}",
            f"{median.p99_ms:.2f}",
            f"{median.cpu_us_per_request:.0f}",
            f"{median.client_cpu:.0%}",
        )
    return table


def _compared(benchmark: Benchmark, row: Row, rows: Sequence[Row]) -> float:
    other = next(each for each in rows if (each.contender, each.connections) == (row.beside, row.connections))
    return benchmark.comparison.of(row.medians, other.medians)


def _with_comparison(benchmark: Benchmark, row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    return {**dataclasses.asdict(row), benchmark.comparison.heading: _compared(benchmark, row, rows)}


def _judged(benchmark: Benchmark, rows: Sequence[Row]) -> list[Judged]:
    return [judge(goal, rows) for goal in benchmark.goals]


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {platform.platform()}"
