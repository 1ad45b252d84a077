"""The generator's life: a plan comes in, then levels, and a slice goes out at every tick until it is told to end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from time import perf_counter
from typing import Final

from loadtests.engine.arrivals import Arrivals, gaps
from loadtests.engine.dispatcher import Dispatcher
from loadtests.engine.loops import ClosedLoop, Loop, OpenLoop
from loadtests.engine.plan import Command, End, Ended, Plan, Told
from loadtests.engine.protocols import opener, wire
from loadtests.engine.tally import Tally

_LOOKS: Final = 20
"""So often within a timeout it is looked whether something has timed out."""

_LOOK_S: Final = 0.25


class Generating:
    """One plan being carried out."""

    def __init__(self, plan: Plan, tell: Callable[[Told], None]) -> None:
        self._plan = plan
        self._tell = tell
        self._tally = Tally(perf_counter(), plan.arrival != "closed")
        self._level = 0.0
        self._told_to_end = asyncio.Event()
        spoken = wire(plan.target)
        self._dispatcher = Dispatcher(
            itertools.cycle([spoken.prepare(request) for request in plan.requests]),
            opener(plan.target, spoken),
            self._tally,
            plan.connections,
            plan.timeout_s,
            plan.served_by,
        )
        self._loop = self._make_loop()

    def _make_loop(self) -> Loop:
        plan = self._plan
        if plan.arrival == "closed":
            return ClosedLoop(self._dispatcher, plan.connections)
        return OpenLoop(self._dispatcher, Arrivals(gaps(plan.arrival, plan.seed)))

    def obey(self, command: Command) -> None:
        """Do as told."""
        if isinstance(command, End):
            self._told_to_end.set()
        elif not self._told_to_end.is_set():
            if (command.level > 0) != (self._level > 0):
                self._end_slice()  # so that none is half under load, half not
            self._level = command.level
            self._loop.level(command.level)

    async def run(self) -> None:
        """Until the end that a command asks for, and until what is under way has ended."""
        ticking = asyncio.create_task(self._tick())
        looking = asyncio.create_task(self._look())
        await self._told_to_end.wait()
        self._loop.end()
        waiting = self._dispatcher.waiting
        self._dispatcher.end()
        self._end_slice()
        self._level = 0.0
        while self._dispatcher.under_way:  # noqa: ASYNC110  # what never ends times out, which is looked for as well
            await asyncio.sleep(min(_LOOK_S, self._plan.slice_s, self._plan.timeout_s / _LOOKS))
        ticking.cancel()
        looking.cancel()
        self._tell(self._tally.end_slice(self._level, waiting, 0))
        self._dispatcher.close()
        self._tell(Ended(""))

    async def _tick(self) -> None:
        next_s = perf_counter()
        while True:
            next_s = max(next_s + self._plan.slice_s, perf_counter())
            await asyncio.sleep(next_s - perf_counter())
            self._end_slice()

    def _end_slice(self) -> None:
        dispatcher = self._dispatcher
        self._tell(self._tally.end_slice(self._level, dispatcher.waiting, dispatcher.under_way))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(min(_LOOK_S, self._plan.timeout_s / _LOOKS))
            self._dispatcher.expire()
