"""Tables of an edge repository, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from gateway.edge.devices import Rules
from gateway.terminal.tables import size

_STYLES = {"running": "yellow", "halted": "red", "done": "green"}


def roles(found: Iterable[Mapping[str, Any]]) -> Table:
    """Who signs, and how long that holds."""
    table = _table("role", ("version", True), "keys", "expires", "key ids")
    for each in found:
        left = each["left_s"]
        style = "red" if left <= 0 else "yellow" if left < each["lifetime_s"] / 4 else ""
        keys = f"{each['threshold']} of {len(each['keyids'])}"
        when = Text(f"{each['expires']:%Y-%m-%d %H:%M} ({_left(left)})", style)
        ids = ", ".join(keyid[:8] for keyid in each["keyids"])
        table.add_row(each["role"], str(each["version"]), f"{keys}, {each['kind']}", when, ids)
    return table


def bundles(found: Iterable[Mapping[str, Any]]) -> Table:
    """What devices can get."""
    table = _table("bundle", "runtime", ("size", True), "SHA-256", "requires", "deltas from")
    for each in found:
        requires = [f"app {each['min_app']}"] if each["min_app"] else []
        requires += [f"{each['min_ram_mb']} MiB"] if each["min_ram_mb"] else []
        table.add_row(
            Text(each["path"]),
            f"{each['runtime']} {each['precision']}",
            size(each["size_bytes"]),
            each["sha256"][:12],
            Text(", ".join(requires)),
            ", ".join(each["deltas_from"]),
        )
    return table


def channels(found: Iterable[Mapping[str, Any]]) -> Table:
    """Who gets which version."""
    table = _table("model", "channel", ("current", True), "rollout", "state", "for", "why")
    for each in found:
        rollout = each["rollout"]
        row: list[str | Text] = [""] * 4
        if rollout:
            state = Text(rollout["state"], _STYLES[rollout["state"]])
            row = [_progress(rollout), state, rules(rollout["rules"]), Text(rollout["reason"])]
        table.add_row(each["model"], each["channel"], str(each["current"] or "none"), *row)
        for kept in each["settled"]:
            table.add_row("", "", str(kept["version"]), "", Text("settled", "green"), rules(kept["rules"]))
    return table


def history(found: Iterable[Mapping[str, Any]]) -> Table:
    """What happened to a channel, the latest last."""
    table = _table("when", "event", ("version", True), "why")
    for each in found:
        table.add_row(
            f"{each['at']:%Y-%m-%d %H:%M:%S}", each["event"], str(each["version"] or ""), Text(each["reason"])
        )
    return table


def rules(found: Mapping[str, Any]) -> str:
    """Whom a rollout is for, in a few words."""
    return str(msgspec.convert(found, Rules))


def _progress(rollout: Mapping[str, Any]) -> str:
    stages = ",".join(f"{each['percent']:g}" for each in rollout["stages"])
    return f"{rollout['version']}: {rollout['percent']:g} % of {stages}"


def _left(seconds: float) -> str:
    if seconds <= 0:
        return "has expired"
    days, hours = seconds / 86400, seconds / 3600
    return f"in {days:.0f} days" if days >= 2 else f"in {hours:.0f} h" if hours >= 2 else f"in {seconds / 60:.0f} min"


def _table(*columns: str | tuple[str, bool]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for each in columns:
        name, right = (each, False) if isinstance(each, str) else each
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table
