"""What a benchmark shows and writes: all figures, the ratios beside their goals, the machine, and all of it as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests.bench.comparisons import DISTURBED, Benchmark, Judged, figures_of, judge
from loadtests.bench.contenders import Row

_WIDTH = 120
_WORDS = {True: " holds", False: " missed", None: ""}


@dataclass(frozen=True, slots=True)
class Footprint:
    """A server's memory after the measurements, its own and its children's, and its CPU while nobody asks it."""

    rss_bytes: tuple[int, int]
    idle_cpu: float


def facts() -> dict[str, Any]:
    """Of the machine and the run, taken before anything is measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", "loadtests.bench", *sys.argv[1:]]),
        "machine": _machine(),
        "python": sys.version,
        "load_average": os.getloadavg(),
    }


def show(benchmark: Benchmark, rows: Sequence[Row], footprints: Mapping[str, Footprint]) -> None:
    """Print the tables and the machine."""
    console = Console(width=_WIDTH, highlight=False)
    console.print(_table(benchmark, rows))
    print("Medians over the rounds; servers on one core, the client on another. CPU µs: what all servers that have")
    print("a part in the answer use for each request; others: what of their core went to anybody else.")
    judged = _judged(benchmark, rows)
    console.print(_goals(judged))
    if any(each.disturbed for each in judged):
        print(f"?: others had more than {DISTURBED:.0%} of the servers' core meanwhile. Doubtful: measure again.")
    for row in rows:
        if failures := sum(each.failures for each in row.rounds):
            print(f"{row.contender}, connections: {row.connections}: {failures:.0f} requests failed")
    for name, footprint in footprints.items():
        own, children = footprint.rss_bytes
        workers = f" + {children / 2**20:.0f} MB in children" if children else ""
        print(f"{name}: RSS {own / 2**20:.0f} MB{workers}; idle: {footprint.idle_cpu:.1%} of a core")
    print(_machine())


def write(
    path: Path,
    benchmark: Benchmark,
    rows: Sequence[Row],
    footprints: Mapping[str, Footprint],
    about: Mapping[str, Any],
) -> None:
    """Write everything as JSON."""
    found = {
        **about,
        "title": benchmark.title,
        "goals": [dataclasses.asdict(each) for each in _judged(benchmark, rows)],
        "rows": [_with_comparison(benchmark, row, rows) for row in rows],
        "servers": {name: dataclasses.asdict(each) for name, each in footprints.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False))


def _table(benchmark: Benchmark, rows: Sequence[Row]) -> Table:
    table = Table(title=benchmark.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    heading = benchmark.comparison.heading
    for each in ("conns", "server", "requests/s", heading, "p50 ms", "p99 ms", "CPU µs", "client CPU", "others"):
        table.add_column(each, justify="left" if each == "server" else "right", no_wrap=True)
    for row in rows:
        median, compared = row.medians, _compared(benchmark, row, rows)
        table.add_row(
            str(row.connections) if row.connections else "–",
            row.contender,
            f"{median.requests_per_s:,.0f}",
            "–" if compared is None else f"{compared:.2f}",
            f"{median.p50_ms:.3f}",
            f"{median.p99_ms:.2f}",
            f"{median.cpu_us_per_request:.0f}",
            f"{median.client_cpu:.0%}" if row.connections else "–",
            f"{median.others_cpu:.0%}",
        )
    return table


def _goals(judged: Sequence[Judged]) -> Table:
    """What is set beside what, and what came of it at each number of connections."""
    table = Table(title="Ratios and goals", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    counts = sorted({each.connections for each in judged})
    for heading in ("", "beside", "goal"):
        table.add_column(heading, no_wrap=True)
    for count in counts:
        table.add_column(f"conns: {count}", justify="right", no_wrap=True)
    lines: dict[tuple[str, str, str], dict[int, str]] = {}
    for each in judged:
        value = "not measured" if each.value is None else f"{each.value:.2f}{_WORDS[each.holds]}{'?' * each.disturbed}"
        lines.setdefault((each.contender, each.beside, each.goal), {})[each.connections] = value
    for names, values in lines.items():
        table.add_row(*names, *(values.get(count, "") for count in counts))
    return table


def _compared(benchmark: Benchmark, row: Row, rows: Sequence[Row]) -> float | None:
    """None where the other was left out, or has one figure for each number of connections and this one has none."""
    other = figures_of(row.beside, row.connections, rows)
    return None if other is None else benchmark.comparison.of(row.medians, other)


def _with_comparison(benchmark: Benchmark, row: Row, rows: Sequence[Row]) -> dict[str, Any]:
    return {**dataclasses.asdict(row), benchmark.comparison.heading: _compared(benchmark, row, rows)}


def _judged(benchmark: Benchmark, rows: Sequence[Row]) -> list[Judged]:
    return [judge(goal, rows) for goal in benchmark.goals]


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GB"
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {memory}, {platform.platform()}"
