"""Requests that are not run: their answer is kept from an equal one, or an equal one is running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic_ns, perf_counter_ns
from typing import TypeVar

from adapters.base import ROUTINE, Endpoint, Servable, Urgency
from adapters.tensors import Tensors
from gateway.admission import ConcurrencyLimit
from gateway.kept_answers import KeptAnswers, Keys
from gateway.statistics import Statistics
from gateway.types import Serving

_HASHED_AT_ONCE_BYTES = 1 << 20
"""Larger inputs are hashed in a thread: it would hold up all other requests."""

T = TypeVar("T")


class _Run:
    """One run that several requests wait for, of the priority of the one that began it."""

    __slots__ = ("priority", "task", "waiting")

    def __init__(self, task: asyncio.Task[Tensors], priority: int) -> None:
        self.task = task
        self.priority = priority
        self.waiting = 0


class Answers:
    """A Servable around a deployment's ConcurrencyLimit, where `[cache]` turns something on.

    What it answers from what is kept does not count against the limit.
    """

    def __init__(self, limit: ConcurrencyLimit, serving: Serving, kept: KeptAnswers, statistics: Statistics) -> None:
        self.signature = limit.signature
        self._limit = limit
        self._keys = Keys(kept.content)
        self._kept = kept if serving.caching.max_bytes else None
        self._join = serving.caching.join
        self._timeout_s = serving.limits.timeout_ms / 1000
        self._statistics = statistics
        self._runs: dict[bytes, _Run] = {}

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._limit.waiting

    def check(self, priority: int = ROUTINE.priority, timeout_s: float | None = None) -> None:
        """See ConcurrencyLimit.check: here nothing is refused unread, since its answer may be at hand."""

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """See Servable.infer; the arrays of an answer cannot be written to where others may have the same."""
        began_ns = perf_counter_ns()
        if sum(tensor.nbytes for tensor in inputs.values()) > _HASHED_AT_ONCE_BYTES:
            key = await asyncio.to_thread(self._keys.key, inputs)
        else:
            key = self._keys.key(inputs)
        if self._kept is not None:
            outputs = self._kept.get(key)
            if outputs is not None:
                self._statistics.hit(perf_counter_ns() - began_ns)
                return outputs
            self._statistics.missed(perf_counter_ns() - began_ns)
        if self._join:
            return await self._share(key, inputs, urgency)
        return await self._run(key, inputs, urgency)

    async def _run(self, key: bytes, inputs: Tensors, urgency: Urgency) -> Tensors:
        outputs = await self._limit.infer(inputs, urgency)
        if self._kept is not None:
            self._kept.keep(key, outputs)
        return outputs

    async def _share(self, key: bytes, inputs: Tensors, urgency: Urgency) -> Tensors:
        run = self._runs.get(key)
        joins = run is not None and run.priority <= urgency.priority
        if run is None or not joins:  # what presses more does not wait in the place of what presses less
            if urgency.deadline_ns:  # the run has more time than that
                self._limit.check(urgency.priority, (urgency.deadline_ns - monotonic_ns()) / 1e9)
            task = asyncio.create_task(self._run_for_all(key, inputs, urgency.priority))
            run = self._runs[key] = _Run(task, urgency.priority)
        run.waiting += 1
        try:
            outputs = await asyncio.shield(run.task)
        finally:
            run.waiting -= 1
            if not run.waiting:
                run.task.cancel()
                self._forget(key, run.task)
        if joins:
            self._statistics.joined()
        return outputs

    async def _run_for_all(self, key: bytes, inputs: Tensors, priority: int) -> Tensors:
        """One run with all the time that a request may take: callers come and go with less."""
        try:
            async with asyncio.timeout(self._timeout_s):
                urgency = Urgency(monotonic_ns() + int(self._timeout_s * 1e9), priority)
                return _read_only(await self._run(key, inputs, urgency))
        finally:
            self._forget(key, asyncio.current_task())

    def _forget(self, key: bytes, task: asyncio.Task[Tensors] | None) -> None:
        if key in self._runs and self._runs[key].task is task:
            del self._runs[key]

    async def let_through(self, act: Callable[[Servable], Awaitable[T]], urgency: Urgency = ROUTINE) -> T:
        """See ConcurrencyLimit.let_through."""
        return await self._limit.let_through(act, urgency)

    async def aclose(self) -> None:
        """See Servable.aclose."""
        await self._limit.aclose()


def _read_only(outputs: Tensors) -> Tensors:
    views = {name: tensor.view() for name, tensor in outputs.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def kept_answers(endpoint: Endpoint, serving: Serving, earlier: KeptAnswers | None) -> KeptAnswers:
    """Where a deployment's answers are kept: as `earlier`, if they would still be the same."""
    content = f"{serving.digest} {endpoint.runtime} {endpoint.signature}"
    max_bytes = serving.caching.max_bytes
    if earlier is not None and serving.digest and (earlier.content, earlier.max_bytes) == (content, max_bytes):
        return earlier
    return KeptAnswers(content, max_bytes)


def with_answers(
    limit: ConcurrencyLimit, serving: Serving, kept: KeptAnswers, statistics: Statistics
) -> ConcurrencyLimit | Answers:
    """A limit with Answers around it, where `[cache]` asks for it."""
    if not serving.caching.max_bytes and not serving.caching.join:
        return limit
    statistics.watch(kept)
    return Answers(limit, serving, kept, statistics)
