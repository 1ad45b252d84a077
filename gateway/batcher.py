"""Batches in front of a server: calls that wait for it are sent as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic_ns
from typing import TypeAlias

from adapters.adaptive_limit import limit_for
from adapters.base import ROUTINE, RUNTIMES_OWN, Batching, Endpoint, Servable, Urgency
from adapters.batching import Call, gather, joint_rows, padded_rows, queue_for, scatter
from adapters.errors import BackendUnavailable, DeadlineExceeded, InferenceFailed, InvalidInput
from adapters.executions import Execution, Executions
from adapters.tensors import Tensors

_NS_PER_S = 1e9

_Answer: TypeAlias = asyncio.Future[Tensors]


def batched(servable: Servable, endpoint: Endpoint, batching: Batching) -> Servable:
    """A Batcher around a server's servable, where `remote["max_rows"]` of its endpoint says so; else itself."""
    max_rows = int(endpoint.remote.get("max_rows", 1))
    if max_rows <= 1 or endpoint.backend in RUNTIMES_OWN:
        return servable
    # One for each process that the server has for the model (a batch keeps all its threads busy), and one more that is
    # on its way meanwhile, or on its way back.
    at_once = int(endpoint.remote.get("workers", 1)) + 1
    return Batcher(servable, max_rows, batching, at_once)


class Batcher:
    """A Servable around a Servable.

    While fewer than `at_once` batches are under way, a call goes out at once; else it waits for one of them to come
    back, and goes out with all that wait, `max_rows` at most. Only `max_delay_ms` has a call wait for company alone.
    What `executions` calls a run is the way there and back, too.
    """

    def __init__(self, servable: Servable, max_rows: int, batching: Batching, at_once: int = 2) -> None:
        self.signature = servable.signature
        self.executions = Executions()
        self._servable = servable
        self._at_once = at_once
        self._allowed_rows = batching.allowed_rows
        self._delays = batching.max_delay_ms > 0
        self._queue = queue_for(batching, max_rows)
        self._limit = limit_for(batching, max_rows)
        self._alone = 0
        self._batches: dict[asyncio.Task[None], list[Call]] = {}  # the calls' tokens are what their callers wait for
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """See Servable.infer. Cancelling drops a call that waits, and a batch that all its callers have left.

        Raises:
            DeadlineExceeded: its time was up before it was sent.
        """
        if self._closed:
            raise BackendUnavailable("this connection was closed")
        answer: _Answer = asyncio.get_running_loop().create_future()
        call = Call(answer, inputs, monotonic_ns(), urgency)
        if self._has_room and not self._delays:  # then nobody waits
            return await self._infer_alone(call)
        self._queue.add(call)
        self._send()
        try:
            return await answer
        except asyncio.CancelledError:
            self._left(answer)
            raise

    @property
    def _has_room(self) -> bool:
        return self._alone + len(self._batches) < self._at_once

    async def _infer_alone(self, call: Call) -> Tensors:
        """Without a task of its own: there is nobody to share one with."""
        self._alone += 1
        try:
            return (await self._execute([call]))[0]
        finally:
            self._alone -= 1
            self._send()

    def _left(self, answer: _Answer) -> None:
        if not answer.cancelled():
            answer.exception()  # it came in the same moment, and nobody else will look at it
        self._queue.cancel(answer)
        for task, calls in self._batches.items():
            if all(call.token.done() for call in calls):
                task.cancel()

    def _send(self) -> None:
        """Have batches under way, as many as are due and may be."""
        while self._has_room:
            now_ns = monotonic_ns()
            if self._limit is not None:
                self._queue.max_rows = self._limit.rows
            wait_ns = self._queue.wait_ns(now_ns)
            if wait_ns is None:
                return
            if wait_ns:
                self._send_in(wait_ns)
                return
            calls, late = self._queue.take(now_ns)
            for call in late:
                _refuse(call, DeadlineExceeded("its time was up before it was sent"))
            if calls:
                task = asyncio.create_task(self._answer(calls))
                self._batches[task] = calls
                task.add_done_callback(self._returned)

    def _send_in(self, wait_ns: int) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_ns / _NS_PER_S, self._waited)

    def _waited(self) -> None:
        self._timer = None
        self._send()

    def _returned(self, task: asyncio.Task[None]) -> None:
        for call in self._batches.pop(task):  # where it was cancelled, and not because its callers had left
            _refuse(call, BackendUnavailable("this connection was closed"))
        self._send()

    async def _answer(self, calls: Sequence[Call]) -> None:
        try:
            answers = await self._execute(calls)
        except (InvalidInput, InferenceFailed) as error:
            if len(calls) == 1:
                _refuse(calls[0], error)
            else:  # one bad row fails alone
                for call in calls:
                    if not call.token.done():
                        await self._answer([call])
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what its callers are told
            for call in calls:
                _refuse(call, error)
        else:
            for call, answer in zip(calls, answers, strict=True):
                if not call.token.done():
                    call.token.set_result(answer)

    async def _execute(self, calls: Sequence[Call]) -> list[Tensors]:
        """One run of the server for several calls; gives what answers each."""
        taken_ns = monotonic_ns()
        if len(calls) == 1 and calls[0].is_late(taken_ns):
            raise DeadlineExceeded("its time was up before it was sent")
        inputs = gather(calls, self._allowed_rows)
        gathered_ns = monotonic_ns()
        outputs = await self._servable.infer(inputs, _joint_urgency(calls))
        ran_ns = monotonic_ns()
        answers = scatter(outputs, calls, self._allowed_rows)
        rows = joint_rows(calls, self.signature)
        if self._limit is not None:
            self._limit.learn(padded_rows(rows, self._allowed_rows), ran_ns - gathered_ns)
        costs = gathered_ns - taken_ns, ran_ns - gathered_ns, monotonic_ns() - ran_ns, rows
        for call in calls:
            execution = Execution(taken_ns - call.sent_ns, *costs, call is calls[0])
            self.executions.add(execution, answered=not call.token.done())
        return answers

    async def aclose(self) -> None:
        """See Servable.aclose."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for call in self._queue.clear():
            _refuse(call, BackendUnavailable("this connection was closed"))
        await self._servable.aclose()


def _joint_urgency(calls: Sequence[Call]) -> Urgency:
    """As pressing as the most pressing; over when it is for all of them."""
    urgencies = [call.urgency for call in calls]
    if len(urgencies) == 1:
        return urgencies[0]
    deadlines_ns = [each.deadline_ns for each in urgencies]
    return Urgency(max(deadlines_ns) if all(deadlines_ns) else 0, min(each.priority for each in urgencies))


def _refuse(call: Call, error: Exception) -> None:
    if not call.token.done():
        call.token.set_exception(error)
