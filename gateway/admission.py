"""How many requests one deployment takes at a time, and what happens to the rest."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from adapters.base import ROUTINE, Servable, Urgency
from adapters.tensors import Tensors
from gateway.errors import Overloaded

_RETRY_AFTER_S = 1.0

T = TypeVar("T")


class ConcurrencyLimit:
    """A Servable that lets `max_in_flight` requests through, keeps `max_queue` waiting in order, refuses the rest."""

    def __init__(self, servable: Servable, max_in_flight: int, max_queue: int) -> None:
        self.signature = servable.signature
        self._servable = servable
        self._max_in_flight = max_in_flight
        self._max_queue = max_queue
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._waiting)

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """See Servable.infer; raises Overloaded where the queue is full too."""
        if self._in_flight >= self._max_in_flight:
            await self._turn()
        else:
            self._in_flight += 1
        try:
            return await self._servable.infer(inputs, urgency)
        finally:
            self._pass_on()

    async def let_through(self, act: Callable[[Servable], Awaitable[T]]) -> T:
        """Do what only this kind of servable can, under the same limits; raises Overloaded as `infer` does."""
        if self._in_flight >= self._max_in_flight:
            await self._turn()
        else:
            self._in_flight += 1
        try:
            return await act(self._servable)
        finally:
            self._pass_on()

    async def _turn(self) -> None:
        if len(self._waiting) >= self._max_queue:
            raise Overloaded(
                f"{self._max_in_flight} requests are running and {self._max_queue} waiting; try again later",
                _RETRY_AFTER_S,
            )
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # its turn came in the same moment that it left
            else:
                with contextlib.suppress(ValueError):  # passed over already
                    self._waiting.remove(turn)
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the place goes to the next one: in_flight stays
                return
        self._in_flight -= 1

    async def aclose(self) -> None:
        """See Servable.aclose."""
        await self._servable.aclose()
