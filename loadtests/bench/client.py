"""A closed-loop HTTP client that costs little itself: fixed bytes out, Content-Length counted on the way in.

`python -m loadtests.bench.client PORT PATH CONNECTIONS SECONDS < BODY` prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

_LENGTH = b"content-length: "


class Connection(asyncio.Protocol):
    """One keep-alive connection: sends the request again as soon as its answer is complete."""

    def __init__(self, request: bytes, latencies_s: list[float], failures: list[bytes]) -> None:
        self._request = request
        self._latencies_s = latencies_s
        self._failures = failures
        self._received = b""
        self._sent_s = 0.0
        self._transport: asyncio.WriteTransport
        self.running = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._send()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            self._received = received
            return
        start = received.lower().find(_LENGTH, 0, end + 2) + len(_LENGTH)
        length = int(received[start : received.find(b"\r", start)])
        if len(received) < end + 4 + length:
            self._received = received
            return
        self._received = b""
        if received[9:12] == b"200":
            self._latencies_s.append(time.perf_counter() - self._sent_s)
        else:
            self._failures.append(received)
        if self.running:
            self._send()
        else:
            self._transport.close()


async def measure(port: int, path: str, body: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Requests per second, latencies in milliseconds, failures."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    request = head.encode() + b"\r\n\r\n" + body
    latencies_s: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(lambda: Connection(request, latencies_s, failures), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.sleep(min(0.5, seconds / 4))
    warm_up = len(latencies_s)
    latencies_s.clear()
    started_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.sleep(seconds)
    elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    measured = sorted(latencies_s)
    for client in clients:
        client.running = False
    if not measured:
        raise SystemExit(f"no request succeeded; the first failure: {failures[:1]}")
    return {
        "requests": len(measured) + warm_up,
        "requests_per_s": len(measured) / elapsed_s,
        "p50_ms": 1000 * measured[len(measured) // 2],
        "p99_ms": 1000 * measured[int(len(measured) * 0.99)],
        "failures": len(failures),
        "client_cpu": cpu_s / elapsed_s,
    }


if __name__ == "__main__":
    arguments = (int(sys.argv[1]), sys.argv[2], sys.stdin.buffer.read(), int(sys.argv[3]), float(sys.argv[4]))
    print(json.dumps(uvloop.run(measure(*arguments))))
