"""Tables for people, out of plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

_STYLES = {"READY": "green", "FAILED": "red", "LOADING": "yellow", "FOUND": "yellow", "DRAINING": "yellow"}


def deployments(status: Mapping[str, Any]) -> Table:
    """The deployments of a status answer."""
    table = Table(
        title=Text(f"Repository {status['repository']}"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("deployment", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("runtime", overflow="fold")
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("RSS", justify="right", no_wrap=True)
    table.add_column("digest", no_wrap=True)
    for each in status["deployments"]:
        state = Text(each["state"], _STYLES.get(each["state"], ""))
        digest = each["digest"][:12]
        table.add_row(
            each["deployment"], state, Text(each["runtime"]), str(each["pid"] or ""), size(each["rss_bytes"]), digest
        )
    return table


def reasons(status: Mapping[str, Any]) -> list[Text]:
    """One line for each deployment that is not simply ready: why."""
    return [
        Text.assemble((each["deployment"], _STYLES.get(each["state"], "")), f": {each['reason']}")
        for each in status["deployments"]
        if each["reason"]
    ]


def frontends(status: Mapping[str, Any]) -> list[str]:
    """One line for each frontend, where there are several."""
    found = status["frontends"]
    return [_frontend(each) for each in found] if len(found) > 1 else []


def _frontend(each: Mapping[str, Any]) -> str:
    parts = [each["state"]]
    if each["pid"]:
        parts += [f"pid {each['pid']}", f"RSS {size(each['rss_bytes'])}", f"requests {each['requests']}"]
    if each["deaths"]:
        parts.append(f"died {each['deaths']} times")
    return f"frontend {each['number']}: {', '.join(parts)}"


def size(size_bytes: int | None) -> str:
    """A number of bytes as people read it."""
    if size_bytes is None:
        return ""
    return f"{size_bytes / 2**20:.0f} MB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.0f} kB"


def plans(rows: Sequence[tuple[str, str, str, str]]) -> Table:
    """What `torii check` would load: deployment, artifact, size, remark."""
    table = Table()
    for heading in ("deployment", "artifact", "size", "remark"):
        table.add_column(heading, justify="right" if heading == "size" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def findings(title: str, rows: Sequence[tuple[str, str, str]]) -> Table:
    """What `torii doctor` found of one kind: name, state, remark."""
    table = Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD, show_header=False, padding=(0, 1, 0, 0))
    for name, state, remark in rows:
        style = "yellow" if state in ("missing", "not made") else "green"
        table.add_row(Text(name), Text(state, style), Text(remark, overflow="fold"))
    return table


def outputs(answer: Mapping[str, Any], top: int = 3) -> Table:
    """The outputs of an inference answer; of rows that look like scores, the best ones."""
    table = Table()
    for heading in ("output", "row", "answer"):
        table.add_column(heading, overflow="fold")
    for output in answer["outputs"]:
        for row, values in enumerate(_rows(output)):
            shown = Text(_answer(values, output["datatype"], top))  # what a model says is no markup
            table.add_row(Text(output["name"] if row == 0 else ""), str(row), shown)
    return table


def _rows(output: Mapping[str, Any]) -> list[list[Any]]:
    shape, data = output["shape"], output["data"]
    rows = shape[0] if len(shape) > 1 else 1
    width = len(data) // rows if rows else 0
    return [data[row * width : (row + 1) * width] for row in range(rows)]


def _answer(values: list[Any], datatype: str, top: int) -> str:
    if datatype.startswith("FP") and len(values) > 1 and all(isinstance(value, int | float) for value in values):
        best = sorted(range(len(values)), key=lambda index: -values[index])[:top]
        return "argmax " + ", ".join(f"{index} ({values[index]:.4g})" for index in best)
    shown = ", ".join(str(value) for value in values[:8])
    return shown + (f", … {len(values)} values" if len(values) > 8 else "")
