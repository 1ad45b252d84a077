"""Requests at a constant rate, whatever becomes of them: each is timed from when it was due."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.proofs.connection import Connection

_TOLD = 10
_CONNECTIONS = 32


@dataclass
class Slice:
    """What happened between two moments."""

    latencies_s: list[float] = field(default_factory=list)
    requests: int = 0
    failures: list[str] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        """Of the latencies of what succeeded."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Traffic:
    """One request every 1/rate seconds, over as many connections as that takes, but mostly the same few in turn.

    `request(number)` is what is sent, `wrong(number, head_length, body)` what is wrong with a 200's body, if anything.
    """

    def __init__(
        self, port: int, rate: float, request: Callable[[int], bytes], wrong: Callable[[int, int, bytes], str]
    ) -> None:
        self.slice = Slice()
        self.requests = self.failed = 0
        self.told: list[str] = []
        self._port = port
        self._rate = rate
        self._request = request
        self._wrong = wrong
        self._idle: deque[_Sender] = deque()
        self._under_way: set[_Sender] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def begin_slice(self) -> Slice:
        """Count what is due from now on elsewhere; gives what was counted so far, which still grows a little."""
        ended, self.slice = self.slice, Slice()
        return ended

    async def run(self) -> None:
        """Send until cancelled."""
        for _ in range(_CONNECTIONS):
            self._idle.append(await self._connected())
        began_s = time.perf_counter()  # the loop's own clock goes by milliseconds
        while True:
            due_s = began_s + self.requests / self._rate
            left_s = due_s - time.perf_counter()
            if left_s > 0:
                await asyncio.sleep(left_s)
            number, self.requests = self.requests, self.requests + 1
            self.slice.requests += 1
            if self._idle:
                self._idle.popleft().send(number, due_s, self.slice)
            else:
                task = asyncio.create_task(self._open(number, due_s, self.slice))
                self._opening.add(task)
                task.add_done_callback(self._opening.discard)

    async def _open(self, number: int, due_s: float, into: Slice) -> None:
        try:
            sender = await self._connected()
        except OSError as error:
            self.fail(into, f"no connection: {error}")
        else:
            sender.send(number, due_s, into)

    async def _connected(self) -> _Sender:
        sender = _Sender(self)
        sender.connection = await Connection.open(self._port, sender)
        return sender

    async def finish(self, within_s: float) -> None:
        """Wait for the answers that are still out; what does not come is a failure."""
        async with asyncio.timeout(within_s):
            while self._under_way or self._opening:  # noqa: ASYNC110  # a few turns at the end are enough
                await asyncio.sleep(0.01)
        for sender in self._idle:
            sender.connection.transport.close()
        self._idle.clear()

    def sent(self, sender: _Sender) -> bytes:
        """The bytes of what a connection is to send."""
        self._under_way.add(sender)
        return self._request(sender.number)

    def answered(self, sender: _Sender, status: int, head_length: int, body: bytes) -> None:
        """Take the answer that a connection has."""
        self._under_way.discard(sender)
        if len(self._idle) < _CONNECTIONS:
            self._idle.append(sender)
        else:
            sender.connection.transport.close()
        wrong = self._wrong(sender.number, head_length, body) if status == 200 else f"{status}: {body[:300]!r}"
        if wrong:
            self.fail(sender.slice, wrong)
        else:
            sender.slice.latencies_s.append(time.perf_counter() - sender.due_s)

    def lost(self, sender: _Sender) -> None:
        """Take it that a connection has ended."""
        if sender in self._idle:
            self._idle.remove(sender)  # nobody used it for too long
        elif sender in self._under_way:
            self._under_way.discard(sender)
            self.fail(sender.slice, "the gateway closed the connection")

    def fail(self, into: Slice, said: str) -> None:
        """Count a failure."""
        self.failed += 1
        into.failures.append(said)
        if len(self.told) < _TOLD:
            self.told.append(said)


class _Sender:
    """One connection, one request at a time."""

    def __init__(self, traffic: Traffic) -> None:
        self.connection: Connection
        self.number = 0
        self.due_s = 0.0
        self.slice: Slice
        self._traffic = traffic

    def send(self, number: int, due_s: float, into: Slice) -> None:
        """Send a request."""
        self.number, self.due_s, self.slice = number, due_s, into
        self.connection.transport.write(self._traffic.sent(self))

    def answered(self, status: int, head_length: int, body: bytes) -> None:
        """See connection.Owner."""
        self._traffic.answered(self, status, head_length, body)

    def lost(self) -> None:
        """See connection.Owner."""
        self._traffic.lost(self)
