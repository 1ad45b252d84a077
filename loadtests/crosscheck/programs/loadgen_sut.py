"""A system under test for MLPerf's LoadGen that asks a server over keep-alive HTTP: it runs in the tools' environment.

`python loadgen_sut.py FOLDER < TOLD` reads one line of JSON (see Told), has LoadGen write its logs into FOLDER, and
prints one line of JSON: how many requests there were, and how many failed.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any, TypedDict

import mlperf_loadgen as loadgen  # type: ignore[import-not-found]

_LENGTH = b"\r\ncontent-length: "
_LIBRARY = 1024
"""Samples that LoadGen believes to choose from; all are sent as the same bytes."""

_CLOSED = 3
"""The exit status where the server closed a connection."""

_PREPARED = 10
"""Times as many queries as expected that LoadGen prepares, where one follows the other: it must not run out of them."""

_LONGEST = 4
"""Times the wanted duration: after that, LoadGen issues no more."""


class Told(TypedDict):
    """What to measure. `request` is the file of a whole HTTP request of `rows` samples; `expected` is samples/s."""

    host: str
    port: int
    request: str
    rows: int
    connections: int
    scenario: str
    seconds: float
    expected: float
    rate: float


def connection(told: Told) -> socket.socket:
    """One that sends at once what it is given."""
    made = socket.create_connection((told["host"], told["port"]))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def answered(ids: list[int]) -> None:
    """Tell LoadGen that samples are done; nobody looks at what was answered."""
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(each, 0, 0) for each in ids])


class OneConnection:
    """Sends a query and awaits its answer in LoadGen's own thread: for scenarios that have one query at a time."""

    def __init__(self, told: Told) -> None:
        self._request = Path(told["request"]).read_bytes()
        self._connection = connection(told)
        self.requests = 0
        self.failures = 0

    def issue(self, samples: list[Any]) -> None:
        """Called by LoadGen."""
        self.requests += 1
        self._connection.sendall(self._request)
        received = bytearray()
        while not complete(received):
            data = self._connection.recv(1 << 18)
            if not data:
                raise SystemExit("the server closed the connection")
            received += data
        self.failures += received[9:12] != b"200"
        answered([sample.id for sample in samples])


class Connections:
    """Sends queries' samples as requests of `rows`, over whatever connection is free; a thread reads the answers."""

    def __init__(self, told: Told) -> None:
        self._request = Path(told["request"]).read_bytes()
        self._rows = told["rows"]
        self._lock = threading.Lock()
        self._waiting: deque[list[int]] = deque()
        self._asked: dict[socket.socket, list[int]] = {}
        self._selector = selectors.DefaultSelector()
        self._free = [connection(told) for _ in range(told["connections"])]
        for each in self._free:
            self._selector.register(each, selectors.EVENT_READ, bytearray())
        self.requests = 0
        self.failures = 0
        threading.Thread(target=self._read, daemon=True).start()

    def issue(self, samples: list[Any]) -> None:
        """Called by LoadGen; sends from its thread, so that nothing is handed over on the way out."""
        ids = [sample.id for sample in samples]
        with self._lock:
            self._waiting.extend(ids[at : at + self._rows] for at in range(0, len(ids), self._rows))
            while self._free and self._waiting:
                self._send(self._free.pop())

    def _send(self, free: socket.socket) -> None:
        self._asked[free] = self._waiting.popleft()
        self.requests += 1
        free.sendall(self._request)

    def _read(self) -> None:
        while True:
            for key, _ in self._selector.select():
                assert isinstance(key.fileobj, socket.socket)
                data = key.fileobj.recv(1 << 18)
                if not data:
                    os._exit(_CLOSED)  # LoadGen would wait for ever for what was asked over it
                key.data.extend(data)
                if complete(key.data):
                    self._take(key.fileobj, key.data)

    def _take(self, busy: socket.socket, received: bytearray) -> None:
        with self._lock:
            self.failures += received[9:12] != b"200"
            received.clear()
            ids = self._asked.pop(busy)
            if self._waiting:
                self._send(busy)
            else:
                self._free.append(busy)
        answered(ids)


def complete(received: bytearray) -> bool:
    """Whether that is a whole answer, by its Content-Length."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    head = received[: end + 2].lower()
    start = head.find(_LENGTH) + len(_LENGTH)
    return len(received) >= end + 4 + int(head[start : head.find(b"\r", start)])


def settings(told: Told) -> Any:
    """LoadGen's settings: a performance run of one scenario, bounded in time."""
    chosen = loadgen.TestSettings()
    chosen.scenario = getattr(loadgen.TestScenario, told["scenario"])
    chosen.mode = loadgen.TestMode.PerformanceOnly
    chosen.min_duration_ms = round(1000 * told["seconds"])
    chosen.max_duration_ms = _LONGEST * chosen.min_duration_ms
    chosen.min_query_count = 1
    chosen.multi_stream_samples_per_query = told["rows"]
    latency_ns = round(1e9 * told["rows"] / told["expected"] / _PREPARED)
    chosen.single_stream_expected_latency_ns = chosen.multi_stream_expected_latency_ns = latency_ns
    chosen.server_target_qps = told["rate"]
    chosen.offline_expected_qps = told["expected"]
    return chosen


def main() -> None:
    """Run one test."""
    told: Told = json.loads(sys.stdin.readline())
    one_by_one = told["scenario"] in {"SingleStream", "MultiStream"}
    connections = OneConnection(told) if one_by_one else Connections(told)
    log = loadgen.LogSettings()
    log.enable_trace = False
    log.log_output.outdir = sys.argv[1]
    under_test = loadgen.ConstructSUT(connections.issue, lambda: None)
    library = loadgen.ConstructQSL(_LIBRARY, _LIBRARY, lambda _: None, lambda _: None)
    loadgen.StartTestWithLogSettings(under_test, library, settings(told), log)
    loadgen.DestroyQSL(library)
    loadgen.DestroySUT(under_test)
    print(json.dumps({"requests": connections.requests, "failures": connections.failures}))


if __name__ == "__main__":
    main()
