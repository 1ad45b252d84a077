"""The report's tables: all numbers with their intervals, all settings, the machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtests.comparison import words
from loadtests.comparison.matching import Side, Source
from loadtests.report.caveats import kinds
from loadtests.report.content import SHARES, Content, Stretch
from loadtests.report.pictures.drawing import Grid
from loadtests.results.schema import Figure, Machine
from loadtests.results.text import plain

_FIGURES_IN_A_TABLE = 6
_MOST_FIGURES = 36
_MOST_SETTINGS = 300


def measured(content: Content) -> Grid:
    """What slices say, of each level of each row."""
    marked = any(run.marks for each in content.measured for run in each.runs)
    head = (
        "",
        "load",
        "rounds",
        "answers",
        *(f"p{100 * share:g}, ms" for share in SHARES),
        "answers a second",
        "failed",
        *(["marks"] if marked else []),
    )
    rows = tuple((*_measured(each), *([kinds(each) or "–"] if marked else [])) for each in content.measured)
    return Grid("All levels of all rows, with intervals at 95 %", head, rows)


def figures(content: Content) -> Iterator[Grid]:
    """What the scenarios asked for, as the runs worked it out; some figures a table."""
    for scenario, sources in content.scenarios.items():
        sides = [side for side in content.sides if side.source in sources]
        levels = {each.level for each in content.measured if each.side.source in sources}
        names = list(dict.fromkeys(figure.name for side in sides for figure in side.row.figures))
        # What stands in the table of all levels need not stand here, too.
        names = [name for name in names if name.partition(" at ")[2] not in levels - {""}][:_MOST_FIGURES]
        of = f" of {plain(scenario, 60)}" if len(content.scenarios) > 1 else ""
        for begin in range(0, len(names), _FIGURES_IN_A_TABLE):
            part = names[begin : begin + _FIGURES_IN_A_TABLE]
            which = f", {begin + 1} to {begin + len(part)} of {len(names)}" if len(part) < len(names) else ""
            caption = f"Figures{of}, with intervals at 95 % where they have them{which}"
            yield Grid(caption, ("", *map(plain, part)), tuple(_figures(content, side, part) for side in sides))


def machines(content: Content) -> Iterator[Grid]:
    """Facts of each result's machine."""
    for source in content.sources:
        machine = source.result.machine
        rows = tuple((name, plain(text)) for name, text in _facts(machine) if text)
        yield Grid(f"{plain(machine.name)}, of {plain(source.name)}", ("fact", "found"), rows)


def settings(content: Content) -> Iterator[Grid]:
    """What was set for each result, and for each of its rows where something was."""
    for source in content.sources:
        yield Grid(f"Settings of {plain(source.name)}", ("setting", "value"), _limited(list(_settings(source))))
        rows = [
            (content.name(side), plain(key, 80), plain(text))
            for side in content.sides
            if side.source is source
            for key, text in _flat(side.row.settings)
        ]
        if rows:
            yield Grid(f"Settings of rows of {plain(source.name)}", ("row", "setting", "value"), _limited(rows))


def _limited(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Settings may be anything, and as many as anybody likes."""
    more = len(rows) - _MOST_SETTINGS
    last = [(f"and {more:,} more, which the file has", *[""] * (len(rows[0]) - 1))] if more > 0 else []
    return (*rows[:_MOST_SETTINGS], *last)


def _measured(each: Stretch) -> tuple[str, ...]:
    return (
        each.name,
        each.level or _load(each),
        str(len(each.runs)),
        f"{each.answered:,}",
        *(_interval(words.value(each.percentiles[share], "")) for share in SHARES),
        _interval(words.value(each.throughput, "")),
        words.value(each.errors, "share"),
    )


def _load(each: Stretch) -> str:
    """`8 connections`, `200/s`, as the slices say."""
    levels = sorted({piece.level for run in each.runs for piece in run.slices if piece.level > 0})
    if not levels:
        return "none"
    unit = " connections" if each.runs[0].arrival == "closed" else "/s"
    ends = dict.fromkeys((words.number(levels[0]), words.number(levels[-1])))
    return " to ".join(ends) + (unit.rstrip("s") if list(ends) == ["1"] and unit != "/s" else unit)


def _interval(text: str) -> str:
    """Without the unit's place, since the head has it; bounds that are not known are left out."""
    return text.replace("  (", " (").replace(" (0 to ∞)", "")


def _figures(content: Content, side: Side, names: Sequence[str]) -> tuple[str, ...]:
    found = {figure.name: figure for figure in side.row.figures}
    missing = "" if side.row.status == "measured" else side.row.status
    return (content.name(side), *(_figure(found.get(name), missing) for name in names))


def _figure(figure: Figure | None, missing: str) -> str:
    if figure is None:
        return missing or "–"
    note = f"; {figure.note}" if figure.note else ""
    if figure.value is None:
        return plain(f"–{note}")
    factor, unit = (100, "%") if figure.unit == "share" else (1, figure.unit.replace("1/s", "/s"))
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f" ({words.number(factor * figure.low)} to {words.number(factor * figure.high)})"
    return plain(f"{words.number(factor * figure.value)} {unit}{interval}{note}")


def _facts(machine: Machine) -> Iterator[tuple[str, str]]:
    yield "CPU", f"{machine.cpu} ({machine.architecture})"
    physical = f", {machine.physical_cores} physical" if machine.physical_cores else ""
    yield "cores", f"{machine.cores}{physical}"
    yield "flags", " ".join(machine.flags)
    yield "caches", _pairs(machine.caches)
    yield "frequency", f"{machine.mhz:,.0f} MHz" if machine.mhz else ""
    yield "governor", machine.governor
    yield "memory", f"{machine.memory_bytes / 2**30:.3g} GiB"
    yield "GPUs", "; ".join(_pairs(gpu) for gpu in machine.gpus) or "none"
    yield "container", _pairs(machine.container)
    yield "system", f"{machine.system}, kernel {machine.kernel}"
    yield "versions", _pairs(machine.runtimes)


def _settings(source: Source) -> Iterator[tuple[str, str]]:
    result = source.result
    yield "scenario", plain(f"{result.name} ({result.kind})")
    yield "made", plain(result.made)
    yield "command", plain(result.command)
    for key, text in (*_flat(result.git, "git"), *_flat(result.scenario)):
        yield plain(key, 80), plain(text)
    for model, digests in result.models.items():
        for artifact, digest in digests.items():
            yield plain(f"{model} {artifact}", 120), plain(f"SHA-256 {digest}")


def _flat(table: Mapping[str, Any], above: str = "", deep: int = 4) -> Iterator[tuple[str, str]]:
    """Keys and values, `gateway.url`; what lies deeper stands as JSON."""
    for key, value in table.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(value, Mapping) and deep and value:
            yield from _flat(value, name, deep - 1)
        else:
            yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _pairs(table: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {value}" for key, value in table.items())
