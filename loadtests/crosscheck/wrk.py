"""wrk: a closed loop over HTTP/1.1, in C."""

from __future__ import annotations

import json
import shutil
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate
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
        return parse(output, turn.asked.load.connections, turn.asked.load.rows)


def parse(output: str, connections: int, rows: int = 1) -> Measured:
    """Figures out of the last line, which is JSON.

    Raises:
        ToolFailed: it is not, or nothing was answered.
    """
    try:
        said = json.loads(output.strip().splitlines()[-1])
        requests, duration_us = said["requests"], said["duration"]
        measured = observed(dict(said["latencies"]), duration_us // (requests // connections))
        p50, p90, p99 = (_percentile(measured, share) / 1000 for share in (0.5, 0.9, 0.99))
        return Measured(rows * requests / (duration_us / 1e6), p50, p90, p99, said["failures"])
    except (LookupError, ValueError, TypeError, ZeroDivisionError):
        raise ToolFailed(f"expected a line of JSON from wrk's script, got {output[-300:]!r}") from None


def observed(counts: Mapping[int, int], interval_us: int) -> dict[int, int]:
    """What wrk measured, without what it made up for requests that a slow answer kept it from sending.

    A latency of two mean ones or more has wrk add others to its statistics: that less one mean, less two, and so on.
    In a closed loop those requests were never due.

    Args:
        counts: How often wrk's statistics have each latency, in µs.
        interval_us: A connection's mean time from one request to the next.
    """
    left = dict(counts)
    for latency in sorted(counts, reverse=True):
        if latency < 2 * interval_us:
            break
        for made_up in range(latency - interval_us, interval_us, -interval_us):
            left[made_up] -= left[latency]
    return left


def _percentile(counts: Mapping[int, int], share: float) -> int:
    ordered = sorted(counts)
    upto = list(accumulate(counts[each] for each in ordered))
    return ordered[bisect_right(upto, share * upto[-1])]
