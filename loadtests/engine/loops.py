"""Closed and open loop: what makes requests due."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter
from typing import Final, Protocol

from loadtests.engine.alarm import alarm
from loadtests.engine.arrivals import Arrivals
from loadtests.engine.dispatcher import CONNECTION, Dispatcher

_AGAIN_S: Final = 0.1
"""A closed loop that finds no server tries again so soon: not at once, or it would do nothing else."""

_AT_ONCE: Final = 256
"""So many are sent before answers are read again."""


class Loop(Protocol):
    """A level that can be changed."""

    def level(self, level: float) -> None:
        """Connections, or requests a second."""

    def end(self) -> None:
        """Nothing more is due."""


class ClosedLoop:
    """So many requests under way, each followed by the next once it has ended."""

    def __init__(self, dispatcher: Dispatcher, limit: int) -> None:
        """`limit` is the most that there will be at a time."""
        self._dispatcher = dispatcher
        self._limit = limit
        self._wanted = 0
        self._running = 0
        dispatcher.when_ended = self._again

    def level(self, level: float) -> None:
        """So many at a time; what is more ends with its answer."""
        self._wanted = min(self._limit, math.ceil(level))
        while self._running < self._wanted:
            self._running += 1
            self._dispatcher.issue(perf_counter())

    def _again(self, failure: str) -> None:
        if self._running > self._wanted:
            self._running -= 1
            self._dispatcher.shrink(self._wanted)
        elif failure == CONNECTION:
            asyncio.get_running_loop().call_later(_AGAIN_S, self._issue)
        else:
            self._dispatcher.issue(perf_counter())

    def _issue(self) -> None:
        if self._running > self._wanted:
            self._running -= 1
        else:
            self._dispatcher.issue(perf_counter())

    def end(self) -> None:
        """See Loop."""
        self._wanted = 0


class OpenLoop:
    """Requests at moments of their own."""

    def __init__(self, dispatcher: Dispatcher, arrivals: Arrivals) -> None:
        self._dispatcher = dispatcher
        self._arrivals = arrivals
        self._alarm = alarm(self._due)
        dispatcher.when_ended = self._also

    def level(self, level: float) -> None:
        """So many requests a second."""
        self._arrivals.change(level, perf_counter())
        self._alarm.set(self._arrivals.next_s)

    def _also(self, failure: str) -> None:
        """Whoever reads answers anyway also looks at the clock: one wake-up less."""
        if not failure and self._arrivals.next_s <= perf_counter():
            self._due()

    def _due(self) -> None:
        arrivals = self._arrivals
        now_s = perf_counter()
        left = _AT_ONCE
        while arrivals.next_s <= now_s and left:
            self._dispatcher.issue(arrivals.take())
            left -= 1
        self._alarm.set(arrivals.next_s)

    def end(self) -> None:
        """See Loop."""
        self._arrivals.change(0, 0)
        self._alarm.set(math.inf)
