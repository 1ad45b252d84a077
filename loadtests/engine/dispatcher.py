"""Requests that are due onto connections that are free; every request has one end, and every end is counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from time import perf_counter
from typing import Any, Final

from loadtests.engine.connection import Answer, Connection
from loadtests.engine.tally import Tally

CONNECTION: Final = "connection"
TIMEOUT: Final = "timeout"
TOO_MANY: Final = "too many waiting"

_MOST_WAITING: Final = 1 << 18
"""So many may be due and not sent: a rate that no connections could ever carry is not to fill the memory."""


class Dispatcher:
    """Sends what is due over an idle connection; else opens one, up to `limit`; else it waits, in order."""

    def __init__(
        self,
        requests: Iterator[Any],
        open_connection: Callable[[Dispatcher], Awaitable[object]],
        tally: Tally,
        limit: int,
        timeout_s: float,
        served_by: str = "",
    ) -> None:
        """`requests` has no end and is what connections send; the opened ones tell the dispatcher how they fare."""
        self._requests = requests
        self._open_connection = open_connection
        self._tally = tally
        self._limit = limit
        self._timeout_s = timeout_s
        self._served_by = served_by
        self._idle: deque[Any] = deque()
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._opening = 0
        self._waiting: deque[float] = deque()
        self._ended = False
        self.when_ended: Callable[[str], None] = lambda _: None
        """Hears how each request ended: the kind of its failure, or nothing."""
        self.under_way = 0

    @property
    def waiting(self) -> int:
        """How many are due and not sent."""
        return len(self._waiting)

    def issue(self, due_s: float) -> None:
        """A request is due: now, or a while ago, if the caller is late."""
        late_s = perf_counter() - due_s
        self._tally.late_s = max(self._tally.late_s, late_s)
        if self._idle:
            self._send(self._idle.popleft(), due_s)
            return
        self._waiting.append(due_s)
        if len(self._waiting) > _MOST_WAITING:
            self._drop(TOO_MANY, f"more than {_MOST_WAITING} requests waited for a connection")
        else:
            self._open()

    def _send(self, connection: Any, due_s: float) -> None:
        connection.busy = True
        connection.due_s = due_s
        self.under_way += 1
        self._tally.sent += 1
        connection.sent_s = perf_counter()
        connection.send(next(self._requests))

    def _use(self, connection: Connection) -> None:
        """A connection is free."""
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _open(self) -> None:
        room = self._limit - len(self._connections)
        if self._opening < min(len(self._waiting), room) and not self._ended:
            self._opening += 1
            task = asyncio.get_running_loop().create_task(self._opened())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _opened(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._open_connection(self)
        except (OSError, ValueError, OverflowError) as error:  # a timeout; a name or a port that is none
            self._opening -= 1
            if self._waiting and not self._ended:
                late = isinstance(error, TimeoutError)
                self._drop(TIMEOUT if late else CONNECTION, f"no connection: {str(error) or 'no answer in time'}")

    def _drop(self, kind: str, text: str) -> None:
        """The request that has waited longest fails without having found a connection."""
        self._waiting.popleft()
        self._tally.sent += 1
        self._fail(kind, text)
        self._open()

    def _fail(self, kind: str, text: str) -> None:
        self._tally.failed(kind, text)
        self.when_ended(kind)

    def connected(self, connection: Connection) -> None:
        """See Listener."""
        self._opening -= 1
        if self._ended:
            connection.abort()
            return
        self._connections.add(connection)
        self._use(connection)

    def answered(self, connection: Connection, answer: Answer, body: bytes) -> None:
        """See Listener."""
        if not connection.busy:  # it has timed out, and counts as that
            return
        now_s = perf_counter()
        connection.busy = False
        self.under_way -= 1
        tally = self._tally
        failure = answer.failure
        if not failure and self._served_by and answer.served_by != self._served_by:
            failure = f"served by {answer.served_by or 'nobody said'}"
        if failure:
            tally.failed(failure, answer.message or body[:1200].decode(errors="replace"))
        else:
            durations = tally.answers[answer.served_by]
            durations.service_s.append(now_s - connection.sent_s)
            if durations.latency_s is not durations.service_s:
                durations.latency_s.append(now_s - connection.due_s)
        if answer.closes:
            self._connections.discard(connection)
            tally.reopened += 1
            self._open()
        else:
            self._use(connection)
        self.when_ended(failure)

    def lost(self, connection: Connection, reason: str) -> None:
        """See Listener."""
        known = connection in self._connections
        self._connections.discard(connection)
        if connection.busy:
            connection.busy = False
            self.under_way -= 1
            self._open()
            self._fail(CONNECTION, reason)
        elif known and not self._ended:
            self._idle.remove(connection)
            self._tally.reopened += 1
            self._open()

    def expire(self) -> None:
        """What was due longer ago than the timeout fails: to be called now and then."""
        limit_s = perf_counter() - self._timeout_s
        while self._waiting and self._waiting[0] < limit_s:
            self._drop(TIMEOUT, f"no connection was free within {self._timeout_s:g} s")
        for connection in [each for each in self._connections if each.busy and each.due_s < limit_s]:
            connection.busy = False
            self.under_way -= 1
            self._connections.discard(connection)
            connection.abort()
            self._open()
            self._fail(TIMEOUT, f"no answer within {self._timeout_s:g} s")

    def shrink(self, count: int) -> None:
        """Close idle connections until no more than `count` are left, or all are busy."""
        while self._idle and len(self._connections) > count:
            connection = self._idle.pop()
            self._connections.discard(connection)
            connection.close()

    def end(self) -> None:
        """Open and send nothing more; what waits is left."""
        self._ended = True
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """End every connection."""
        self.end()
        for connection in self._connections:
            connection.abort()
