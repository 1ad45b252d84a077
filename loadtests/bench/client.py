"""A closed-loop client that costs little itself, over the generator's connections: for a few seconds, all counted.

`python -m loadtests.bench.client PROTOCOL PORT PATH CONNECTIONS SECONDS [HEADER…] < BODY` prints one line of JSON;
the protocol is `http/1.1`, or `grpc`, whose path is the method's and whose body is the bare message.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import uvloop

from loadtests.engine.connection import Answer, Connection
from loadtests.engine.plan import Request, Target
from loadtests.engine.protocols import opener, wire

_LAST_ANSWERS_S = 10.0
_VARIED = 4096


class Caller:
    """Has every connection send the next request as soon as the last one's answer is complete."""

    def __init__(self, requests: Iterator[Any]) -> None:
        """`requests` has no end."""
        self._requests = requests
        self._open = 0
        self.running = True
        self.closed = asyncio.Event()
        """Set once no connection is left."""
        self.latencies_s: list[float] = []
        self.failures: list[str] = []

    def connected(self, connection: Connection) -> None:
        """See Listener."""
        self._open += 1
        self._send(connection)

    def _send(self, connection: Connection) -> None:
        connection.busy = True
        connection.sent_s = time.perf_counter()
        connection.send(next(self._requests))

    def answered(self, connection: Connection, answer: Answer, body: bytes) -> None:
        """See Listener."""
        connection.busy = False
        if answer.failure:
            self.failures.append(f"{answer.failure}: {answer.message or body[:500]!r}")
        else:
            self.latencies_s.append(time.perf_counter() - connection.sent_s)
        if self.running:
            self._send(connection)
        else:
            connection.close()

    def lost(self, connection: Connection, reason: str) -> None:
        """See Listener."""
        self._open -= 1
        if self._open == 0:
            self.closed.set()
        if self.running:
            self.failures.append(reason)


async def measure(target: Target, requests: Sequence[Request], connections: int, seconds: float) -> dict[str, float]:
    """Requests per second, latencies in milliseconds, failures."""
    spoken = wire(target)
    caller = Caller(itertools.cycle([spoken.prepare(request) for request in requests]))
    open_connection = opener(target, spoken)
    for _ in range(connections):
        await open_connection(caller)
    await asyncio.sleep(min(0.5, seconds / 4))
    warm_up = len(caller.latencies_s)
    caller.latencies_s.clear()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    measured = sorted(caller.latencies_s)
    caller.running = False  # each closes when its last answer is there: a server that is paused now has nothing left
    try:
        await asyncio.wait_for(caller.closed.wait(), _LAST_ANSWERS_S)
    except TimeoutError:
        caller.failures.append(f"no answer within {_LAST_ANSWERS_S:g} s of the end")
    if caller.failures:
        print(f"{len(caller.failures)} requests failed; the first: {caller.failures[0]}", file=sys.stderr)
    if not measured:
        raise SystemExit("no request succeeded")
    return {
        "requests": warm_up + len(caller.latencies_s),
        "requests_per_s": len(measured) / elapsed_s,
        "p50_ms": 1000 * measured[len(measured) // 2],
        "p99_ms": 1000 * measured[int(len(measured) * 0.99)],
        "failures": len(caller.failures),
        "client_cpu": cpu_s / elapsed_s,
    }


def varied(path: str, body: bytes, headers: Sequence[str]) -> list[Request]:
    """One request; 4,096 in turn where a header line has {n} in it, for which numbers stand."""
    lines = [tuple(line.split(": ", 1)) for line in headers]
    numbers = range(_VARIED) if any("{n}" in line for line in headers) else range(1)
    return [
        Request(path, body, tuple((name, value.replace("{n}", str(number))) for name, value in lines))
        for number in numbers
    ]


def main() -> None:
    """Measure as the command line says, and print one line of JSON."""
    protocol, port, path, connections, seconds, *headers = sys.argv[1:]
    target = Target("127.0.0.1", int(port), cast(Any, protocol))
    requests = varied(path, sys.stdin.buffer.read(), headers)
    print(json.dumps(uvloop.run(measure(target, requests, int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
