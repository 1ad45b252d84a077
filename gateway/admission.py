"""How many requests one deployment takes at a time, who waits, and who is refused at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic_ns
from typing import TypeVar

from adapters.base import ROUTINE, Servable, Urgency
from adapters.errors import BackendUnavailable, DeadlineExceeded
from adapters.tensors import Tensors
from gateway.errors import Overloaded
from gateway.pace import Pace
from gateway.statistics import Load
from gateway.waiting import WaitingLine

_RETRY_AFTER_S = 1.0
_TIMER_NS = 1_000_000
"""Event loops end a wait by so much too early."""

_A_CHANCE_NS = 2_000_000
"""A request with less time than this says nothing of the model when its time is up."""

_NOT_RUN = (asyncio.CancelledError, DeadlineExceeded, BackendUnavailable)
"""What says nothing of how fast a model is."""

T = TypeVar("T")


class _Turn(asyncio.Future[None]):
    """Somebody who waits for a turn."""

    __slots__ = ("urgency",)

    urgency: Urgency


class ConcurrencyLimit:
    """A Servable that lets `max_in_flight` requests through and keeps `max_queue` waiting, the most pressing first.

    What finds the queue full is refused, unless somebody waits who presses less: then that one is. What would not be
    answered by its deadline, as far as `Pace` can tell, is refused at once.
    """

    def __init__(
        self,
        servable: Servable,
        max_in_flight: int,
        max_queue: int,
        clock: Callable[[], int] = monotonic_ns,
        direct: Servable | None = None,
    ) -> None:
        """`clock` gives nanoseconds, and is the one of the requests' deadlines; `direct` is for `let_through`."""
        self.signature = servable.signature
        self._servable = servable
        self._direct = direct or servable
        self._max_in_flight = max_in_flight
        self._max_queue = max_queue
        self._clock = clock
        self._pace = Pace()
        self._in_flight = 0
        self._line: WaitingLine[_Turn] = WaitingLine()

    @property
    def load(self) -> Load:
        """How many requests run, and how many wait."""
        return Load(self._in_flight, self._line.count)

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._line.count

    def check(self, priority: int = ROUTINE.priority, timeout_s: float | None = None) -> None:
        """Raise Overloaded where a request that came now would be refused: to be asked before its body is read."""
        if self._in_flight:  # else it would begin at once
            deadline_ns = 0 if timeout_s is None else self._clock() + int(timeout_s * 1e9)
            self._check(Urgency(deadline_ns, priority))

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """See Servable.infer; raises Overloaded where it is refused."""
        came_ns = self._clock()
        if not self._begins(urgency):
            await self._turn(urgency)
        try:
            outputs = await self._servable.infer(inputs, urgency)
        except BaseException as error:
            self._failed(urgency, error, came_ns)
            raise
        self._pace.answered(self._clock(), self._in_flight)
        self._pass_on()
        return outputs

    async def let_through(self, act: Callable[[Servable], Awaitable[T]], urgency: Urgency = ROUTINE) -> T:
        """Do what only this kind of servable can, under the same limits; raises Overloaded as `infer` does."""
        came_ns = self._clock()
        if not self._begins(urgency):
            await self._turn(urgency)
        try:
            result = await act(self._direct)
        except BaseException as error:
            self._failed(urgency, error, came_ns)
            raise
        self._pace.answered(self._clock(), self._in_flight)
        self._pass_on()
        return result

    def _begins(self, urgency: Urgency) -> bool:
        """Take a place; False where none is free. Raises Overloaded."""
        running = self._in_flight
        if not running:
            self._pace.began(self._clock())
        elif running >= self._max_in_flight:
            return False
        elif late_ns := self._late_ns(urgency, running):
            raise self._too_late(late_ns)
        self._in_flight = running + 1
        return True

    def _failed(self, urgency: Urgency, error: BaseException, came_ns: int) -> None:
        now_ns = self._clock()
        if not isinstance(error, _NOT_RUN):
            self._pace.answered(now_ns, self._in_flight)
        elif came_ns + _A_CHANCE_NS <= urgency.deadline_ns <= now_ns + _TIMER_NS:
            self._pace.expired()
        self._pass_on()

    def _late_ns(self, urgency: Urgency, ahead: int) -> float:
        return self._pace.late_ns(self._clock(), self._in_flight, ahead, urgency.deadline_ns)

    def _check(self, urgency: Urgency) -> None:
        if late_ns := self._late_ns(urgency, self._in_flight + self._line.ahead(urgency.priority)):
            raise self._too_late(late_ns)
        full = self._in_flight >= self._max_in_flight and self._line.count >= self._max_queue
        if full and not self._line.presses_less(urgency.priority):
            raise self._refusal("no more may wait", self._pace.request_s)

    def _too_late(self, late_ns: float) -> Overloaded:
        return self._refusal(f"this one would be late by {late_ns / 1e6:.0f} ms", late_ns / 1e9)

    def _refusal(self, reason: str, retry_after_s: float | None) -> Overloaded:
        return Overloaded(
            f"{self._in_flight} requests are running and {self.waiting} waiting: {reason}; try again later",
            retry_after_s or _RETRY_AFTER_S,
        )

    async def _turn(self, urgency: Urgency) -> None:
        self._check(urgency)
        if self._line.count >= self._max_queue:
            self._displace(urgency.priority)
        turn = _Turn()
        turn.urgency = urgency
        self._line.join(turn, urgency.priority)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._pass_on()  # its turn came in the same moment that it left
            else:
                self._line.leave(turn, urgency.priority)
            raise

    def _displace(self, priority: int) -> None:
        turn = self._line.displace(priority)
        if turn is not None and not turn.done():
            turn.set_exception(self._refusal("a more pressing one took this one's place", self._pace.request_s))

    def _pass_on(self) -> None:
        """Give the place that has become free to the next who can still be answered in time."""
        while self._line.count and (turn := self._line.call()):
            if not turn.done() and self._is_in_time(turn):
                turn.set_result(None)  # the place goes to the next one: in_flight stays
                return
        self._in_flight -= 1

    def _is_in_time(self, turn: _Turn) -> bool:
        deadline_ns = turn.urgency.deadline_ns
        if 0 < deadline_ns <= self._clock():
            turn.set_exception(DeadlineExceeded("the request's time was up before its turn came"))
            return False
        if late_ns := self._late_ns(turn.urgency, self._in_flight - 1):
            turn.set_exception(self._too_late(late_ns))
            return False
        return True

    async def aclose(self) -> None:
        """See Servable.aclose."""
        await self._servable.aclose()
