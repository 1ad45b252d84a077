"""What `torii serve` shows while models load: a live table in a terminal, log lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.lifecycle import Record
from gateway.types import Deployment, State

_MARKS = {State.READY: ("✓", "green"), State.FAILED: ("✗", "red")}


class LoadingTable:
    """Grows with every deployment that is heard of, until `finish`."""

    def __init__(self, console: Console) -> None:
        self._started_s = time.monotonic()
        self._rows: dict[Deployment, tuple[State, str, float]] = {}
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=4, transient=True)
        self._live.start()

    def changed(self, record: Record) -> None:
        """Told of every change of a deployment's state."""
        seconds = time.monotonic() - self._started_s
        self._rows[record.deployment] = (record.state, record.reason, seconds)

    def finish(self) -> None:
        """Take the table off the screen."""
        self._live.stop()

    def _table(self) -> Table:
        table = Table(box=None, show_header=False)
        now_s = time.monotonic() - self._started_s
        for deployment, (state, reason, changed_s) in sorted(self._rows.items()):
            mark, style = _MARKS.get(state, ("…", "yellow"))
            seconds = changed_s if state in _MARKS else now_s
            table.add_row(
                Text(mark, style), str(deployment), Text(state, style), f"{seconds:.1f} s", Text(reason[:120])
            )
        return table
