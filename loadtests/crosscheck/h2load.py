"""h2load: a closed loop, or an even rate, over HTTP/1.1, and over HTTP/2 as gRPC has it."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Sequence

from loadtests.crosscheck.asked import Turn, url
from loadtests.crosscheck.command import Command
from loadtests.crosscheck.measured import Measured, ToolFailed

_LOG = "requests.tsv"
_RATE = re.compile(r"^finished in [\d.]+\w+, ([\d.]+) req/s", re.MULTILINE)
_COUNTS = re.compile(r"^requests: .*?(\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE)
_GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


class H2load:
    """Debian's package nghttp2-client."""

    name = "h2load"

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        return (
            None
            if shutil.which("h2load")
            else "it is not on PATH (apt install nghttp2-client, or make crosscheck-tools)"
        )

    def command(self, turn: Turn) -> Command:
        """One thread, one request at a time on each connection, after half a second that does not count."""
        asked = turn.asked
        grpc = asked.target.protocol == "grpc"
        body = turn.folder / "body"
        message = asked.request.body
        body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message if grpc else message)
        headers = [
            f"-H{name}: {value}"
            for name, value in ((*asked.request.headers, *_GRPC) if grpc else asked.request.headers)
        ]
        options = ["-t1", f"-c{asked.load.connections}", f"-D{round(1000 * turn.seconds)}ms", "--warm-up-time=500ms"]
        if asked.load.rate is not None:
            options.append(f"--rps={asked.load.rate / asked.load.connections:g}")  # of each connection, evenly
        protocol = [] if grpc else ["--h1"]
        return Command(["h2load", *protocol, *options, f"--data={body}", f"--log-file={_LOG}", *headers, url(asked)])

    def read(self, output: str, turn: Turn) -> Measured:
        """Its text, and its log of every request."""
        log = turn.folder / _LOG
        return parse(output, log.read_text() if log.exists() else "", turn.asked.load.rows)


def parse(output: str, log: str, rows: int = 1) -> Measured:
    """Figures: throughput from the text, percentiles from the log (start in µs, status, duration in µs a line).

    Raises:
        ToolFailed: one of them does not have them. gRPC's own status is in trailers, which h2load does not look at.
    """
    rate, counts = _RATE.search(output), _COUNTS.search(output)
    durations_us = sorted(int(line.split("\t")[2]) for line in log.splitlines() if line.count("\t") == 2)
    if rate is None or counts is None or not durations_us:
        raise ToolFailed(f"expected h2load's summary and its log, got {output[-300:]!r} and {len(log)} characters")
    p50, p90, p99 = (_percentile(durations_us, share) / 1000 for share in (0.5, 0.9, 0.99))
    return Measured(rows * float(rate[1]), p50, p90, p99, sum(map(int, counts.groups())))


def _percentile(values: Sequence[int], share: float) -> int:
    return values[min(len(values) - 1, int(share * len(values)))]
