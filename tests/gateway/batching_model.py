"""A model that runs batches as workers do, in virtual time, and the load that people put on it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass

import numpy as np

from adapters.base import ROUTINE, Urgency
from adapters.errors import DeadlineExceeded
from adapters.tensors import Tensors
from gateway.admission import ConcurrencyLimit
from gateway.errors import Overloaded
from tests.gateway.fakes import SIGNATURE
from tests.gateway.virtual_time import clock_ns

X = {"x": np.zeros(1, np.float32)}


class BatchingModel:
    """Takes up to `max_rows` calls at once, first come first, and needs `fixed_s` + `row_s` for each row of them.

    As a worker does, it drops what nobody waits for any more when it takes a batch; what it has begun it ends.
    `spread` is by how much (sigma of a log-normal factor) its times vary.
    """

    signature = SIGNATURE

    def __init__(self, fixed_s: float, row_s: float, max_rows: int, spread: float = 0.0, seed: int = 0) -> None:
        self.batch_s = fixed_s + row_s * max_rows
        self.requests_per_s = max_rows / self.batch_s
        self.executed_late = 0
        self._fixed_s, self._row_s, self._max_rows, self._spread = fixed_s, row_s, max_rows, spread
        self._random = random.Random(seed)
        self._calls: deque[tuple[asyncio.Future[None], Urgency]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        """See Servable.infer."""
        done = asyncio.get_running_loop().create_future()
        self._calls.append((done, urgency))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await done
        return inputs

    async def _run(self) -> None:
        while batch := self._take():
            factor = self._random.lognormvariate(-(self._spread**2) / 2, self._spread)
            await asyncio.sleep((self._fixed_s + self._row_s * len(batch)) * factor)
            for done in batch:
                if not done.done():
                    done.set_result(None)
        self._running = None

    def _take(self) -> list[asyncio.Future[None]]:
        batch: list[asyncio.Future[None]] = []
        while self._calls and len(batch) < self._max_rows:
            done, urgency = self._calls.popleft()
            if not done.done() and not 0 < urgency.deadline_ns <= clock_ns():
                batch.append(done)
        return batch

    async def aclose(self) -> None:
        """See Servable.aclose."""


@dataclass
class Outcome:
    """Requests per second of the load's time."""

    answered: float
    late: float
    refused: float


async def offer(
    limit: ConcurrencyLimit, per_s: float, timeout_s: float, for_s: float, foretell: bool = True, seed: int = 1
) -> Outcome:
    """Have requests come at random moments, whether earlier ones are answered or not; the first quarter is not counted.

    Without `foretell` the limit is not told of deadlines: it is then a queue like any other.
    """
    dice = random.Random(seed)
    loop = asyncio.get_running_loop()
    begin_s, warm_s = loop.time(), for_s / 4
    counts = {"answered": 0, "late": 0, "refused": 0}

    async def one() -> None:
        urgency = Urgency(clock_ns() + round(timeout_s * 1e9))
        counted = loop.time() - begin_s >= warm_s
        try:
            async with asyncio.timeout(timeout_s):
                if foretell:
                    await limit.infer(X, urgency)
                else:
                    await limit.let_through(lambda servable: servable.infer(X, urgency))
            kind = "answered"
        except (TimeoutError, DeadlineExceeded):
            kind = "late"
        except Overloaded:
            kind = "refused"
        counts[kind] += counted

    tasks = set()
    while loop.time() - begin_s < for_s:
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(dice.expovariate(per_s))
    await asyncio.gather(*tasks)
    return Outcome(*(count / (for_s - warm_s) for count in counts.values()))
