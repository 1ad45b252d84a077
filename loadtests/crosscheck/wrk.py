"""wrk: a closed loop over HTTP/1.1, in C."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from loadtests.crosscheck.asked import Turn, url
from loadtests.crosscheck.command import Command
from loadtests.crosscheck.measured import Measured, ToolFailed

_SCRIPT = Path(__file__).with_name("programs") / "post.lua"


class Wrk:
    """Debian's package wrk."""

    name = "wrk"

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        return None if shutil.which("wrk") else "it is not on PATH (apt install wrk, or make crosscheck-tools)"

    def command(self, turn: Turn) -> Command:
        """One thread, as many connections as the load has."""
        asked = turn.asked
        body = turn.folder / "body"
        body.write_bytes(asked.request.body)
        headers = [part for header in asked.request.headers for part in header]
        options = [
            "-t",
            "1",
            "-c",
            str(asked.load.connections),
            "-d",
            f"{max(1, round(turn.seconds))}s",
            "-s",
            str(_SCRIPT),
        ]
        return Command(["wrk", *options, url(asked), "--", str(body), *headers])

    def read(self, output: str, turn: Turn) -> Measured:
        """What our script has it print."""
        return parse(output, turn.asked.load.rows)


def parse(output: str, rows: int = 1) -> Measured:
    """Figures out of the last line, which is JSON.

    Raises:
        ToolFailed: it is not, or nothing was answered.
    """
    try:
        said = json.loads(output.strip().splitlines()[-1])
        p50, p90, p99 = (said[name] / 1000 for name in ("p50", "p90", "p99"))
        return Measured(rows * said["requests"] / (said["duration"] / 1e6), p50, p90, p99, said["failures"])
    except (LookupError, ValueError, TypeError, ZeroDivisionError):
        raise ToolFailed(f"expected a line of JSON from wrk's script, got {output[-300:]!r}") from None
