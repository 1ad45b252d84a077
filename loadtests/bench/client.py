"""A closed-loop HTTP client that costs little itself: fixed bytes out, Content-Length counted on the way in.

`python -m loadtests.bench.client PORT PATH CONNECTIONS SECONDS [HEADER…] < BODY` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, cast

import uvloop

_LENGTH = b"\r\ncontent-length: "
_LAST_ANSWERS_S = 10.0
_VARIED = 4096


class Tally:
    """Latencies of what succeeded, and what failed."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.failures: list[bytes] = []

    def succeeded(self, latency_s: float) -> None:
        """Count an answer."""
        self.latencies_s.append(latency_s)

    def failed(self, answer: bytes) -> None:
        """Count a refusal."""
        self.failures.append(answer)


class Client(Protocol):
    """One connection: a protocol of asyncio that sends the next request as soon as the last is answered."""

    running: bool
    closed: asyncio.Future[None]
    """Done once the connection has ended."""


class Connection(asyncio.Protocol):
    """One keep-alive connection: sends the next request as soon as the last one's answer is complete."""

    def __init__(self, requests: Iterator[bytes], tally: Tally) -> None:
        """`requests` has no end."""
        self._requests = requests
        self._tally = tally
        self._received = bytearray()
        self._wanted = 0
        self._sent_s = 0.0
        self._transport: asyncio.WriteTransport
        self.running = True
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._send()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        received = self._received
        received += data
        if not self._wanted:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = received[: end + 2].lower()
            start = head.find(_LENGTH) + len(_LENGTH)
            self._wanted = end + 4 + int(head[start : head.find(b"\r", start)])
        if len(received) < self._wanted:
            return
        if received[9:12] == b"200":
            self._tally.succeeded(time.perf_counter() - self._sent_s)
        else:
            self._tally.failed(bytes(received))
        received.clear()
        self._wanted = 0
        if self.running:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self.closed.set_result(None)
        if self.running:
            self._tally.failed(b"the server closed the connection")


async def measure(
    port: int, connections: int, seconds: float, make: Callable[[Tally], asyncio.Protocol]
) -> dict[str, float]:
    """Requests per second, latencies in milliseconds, failures."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    clients = [
        cast(Client, (await loop.create_connection(lambda: make(tally), "127.0.0.1", port))[1])
        for _ in range(connections)
    ]
    await asyncio.sleep(min(0.5, seconds / 4))
    warm_up = len(tally.latencies_s)
    tally.latencies_s.clear()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    measured = sorted(tally.latencies_s)
    for client in clients:
        client.running = False  # and closes when its last answer is there: a server that is paused now has nothing left
    await asyncio.wait([client.closed for client in clients], timeout=_LAST_ANSWERS_S)
    if tally.failures:
        print(f"{len(tally.failures)} requests failed; the first: {tally.failures[0][:500]!r}", file=sys.stderr)
    if not measured:
        raise SystemExit("no request succeeded")
    return {
        "requests": warm_up + len(tally.latencies_s),
        "requests_per_s": len(measured) / elapsed_s,
        "p50_ms": 1000 * measured[len(measured) // 2],
        "p99_ms": 1000 * measured[int(len(measured) * 0.99)],
        "failures": len(tally.failures),
        "client_cpu": cpu_s / elapsed_s,
    }


def report(make: Callable[[Tally], asyncio.Protocol]) -> None:
    """Measure as the command line says, and print one line of JSON."""
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[3]), float(sys.argv[4])
    print(json.dumps(uvloop.run(measure(port, connections, seconds, make))))


def http_requests(path: str, body: bytes, headers: list[str]) -> list[bytes]:
    """The bytes of a POST; of 4,096 in turn where a header has {n} in it, for which numbers stand."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers]
    head = "\r\n".join(lines)
    numbers = range(_VARIED) if "{n}" in head else range(1)
    return [head.replace("{n}", str(number)).encode() + b"\r\n\r\n" + body for number in numbers]


if __name__ == "__main__":
    sent = itertools.cycle(http_requests(sys.argv[2], sys.stdin.buffer.read(), sys.argv[5:]))
    report(lambda tally: Connection(sent, tally))
