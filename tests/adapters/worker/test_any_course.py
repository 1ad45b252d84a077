"""Whatever callers do, in any order, to a real worker: each call gets its own answer, or its own error."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.base import Urgency
from adapters.errors import BackendDied, BackendUnavailable, InferenceFailed
from adapters.worker.client import WorkerClient
from tests.adapters.worker import sessions
from tests.adapters.worker.workers import Gated, Workers
from tests.waiting import gone, turns, until

_MAX_ROWS = 4
_KILLS = 2
_WITHIN_S = 20.0
_CALLS = st.tuples(
    st.integers(0, 1),  # the client
    st.integers(1, _MAX_ROWS + 2),  # rows
    st.sampled_from([None] * 5 + [sessions.BAD, sessions.ODD]),
    st.sampled_from([5, 5, 5, 1, 9]),  # the priority
)


@dataclass(eq=False)
class _Request:
    """A call that is out."""

    task: asyncio.Task[dict[str, Any]]
    x: np.ndarray[Any, Any]
    client: int

    @property
    def is_bad(self) -> bool:
        return bool((self.x == sessions.BAD).any() or (self.x == sessions.ODD).any())


class Course(RuleBasedStateMachine):
    """Callers over two connections, and a worker that runs when it is let, one batch at a time.

    Every row has a number of its own, so that an answer shows whose it is, and how many rows ran with it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.folder = Path(tempfile.mkdtemp(prefix="torii-"))
        self.workers = Workers(self.folder)
        self.waiting: list[_Request] = []
        self.number = 0.0
        self.kills = 0
        self.do(self.start())

    def do(self, what: Any) -> Any:
        return self.runner.run(_bounded(what))

    async def start(self) -> None:
        gate = self.folder / "gate"
        gate.unlink(missing_ok=True)
        self.gated = await Gated.load(self.workers, gate, max_rows=_MAX_ROWS)
        self.clients: list[WorkerClient] = [await self.gated.client() for _ in range(2)]

    @rule(calls=st.lists(_CALLS, min_size=1, max_size=4))
    def ask(self, calls: list[tuple[int, int, float | None, int]]) -> None:
        for client, rows, special, priority in calls:
            x = self.number + np.arange(rows, dtype=np.float32)
            self.number += rows
            if special is not None:
                x[rows // 2] = special
            self.do(self.send(client, x, priority))

    async def send(self, client: int, x: np.ndarray[Any, Any], priority: int = 5) -> None:
        asking = self.clients[client].infer({"x": x}, Urgency(0, priority))
        self.waiting.append(_Request(asyncio.create_task(asking), x, client))
        await turns()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(request)
        self.do(self.cancel(request))

    async def cancel(self, request: _Request) -> None:
        request.task.cancel()
        await asyncio.wait([request.task])

    @rule(client=st.integers(0, 1))
    def hang_up(self, client: int) -> None:
        self.do(self.close(client))

    async def close(self, client: int) -> None:
        await self.clients[client].aclose()
        left = [each for each in self.waiting if each.client == client]
        self.waiting = [each for each in self.waiting if each.client != client]
        await self.see_lost(left)
        self.clients[client] = await self.gated.client()

    def let_pass(self) -> bool:
        """Let a run pass that has come to the gate, if one has."""
        try:
            os.close(os.open(self.gated.gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody reads it yet
            return False
        return True

    @precondition(lambda self: self.waiting)
    @rule()
    def let_one_run_pass(self) -> None:
        self.do(self.pass_one())

    async def pass_one(self) -> None:
        await until(lambda: self.let_pass() or all(each.task.done() for each in self.waiting))

    @precondition(lambda self: self.kills < _KILLS)
    @rule()
    def kill(self) -> None:
        os.kill(self.gated.pid, 9)
        self.do(self.replace_worker())

    @precondition(lambda self: self.kills < _KILLS)
    @rule(client=st.integers(0, 1))
    def ask_what_kills(self, client: int) -> None:
        self.do(self.send(client, np.array([sessions.DEADLY], np.float32), priority=1))
        self.do(self.replace_worker())

    async def replace_worker(self) -> None:
        self.kills += 1
        await until(lambda: not self.let_pass() and gone(self.gated.pid))
        await self.see_lost(self.waiting)
        self.waiting = []
        await self.start()

    async def see_lost(self, requests: list[_Request]) -> None:
        """That those of a connection that is gone fail, but for what was answered before."""
        for request in requests:
            answer = await outcome(request)
            if not isinstance(answer, BackendDied | BackendUnavailable):
                check(request, answer)

    @rule()
    def let_all_run(self) -> None:
        self.do(self.settle())

    async def settle(self) -> None:
        await until(lambda: not self.let_pass() and all(each.task.done() for each in self.waiting))
        for request in self.waiting:
            check(request, await outcome(request))
        self.waiting = []

    @invariant()
    def whoever_has_an_answer_has_its_own(self) -> None:
        for request in self.waiting:
            if request.task.done():
                check(request, self.do(outcome(request)))

    def teardown(self) -> None:
        try:
            self.do(self.settle())
            self.do(until(lambda: len(self.workers.deaths) == self.kills))
        finally:
            self.do(self.workers.close())
            self.runner.close()
            shutil.rmtree(self.folder)


async def _bounded(what: Any) -> Any:
    async with asyncio.timeout(_WITHIN_S):
        return await what


async def outcome(request: _Request) -> dict[str, Any] | BaseException:
    """What a call came to; it is waited for."""
    await asyncio.wait([request.task])
    return request.task.exception() or request.task.result()


def check(request: _Request, answer: dict[str, Any] | BaseException) -> None:
    """That an outcome is the request's own."""
    if request.is_bad:
        assert isinstance(answer, InferenceFailed), answer
        return
    assert isinstance(answer, dict), answer
    assert answer["x"].tolist() == request.x.tolist()
    together = set(answer["rows"].tolist())
    assert len(together) == 1
    assert len(request.x) <= together.pop() <= max(_MAX_ROWS, len(request.x))


TestCourse = Course.TestCase
TestCourse.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[phase for phase in Phase if phase is not Phase.shrink],  # what hangs takes its time at each try
)
