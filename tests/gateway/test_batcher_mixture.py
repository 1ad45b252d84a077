"""Any mix of callers, leavings, answers and errors in front of a server: nobody is lost, nobody gets another's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adapters.base import ROUTINE, Urgency
from adapters.errors import BackendUnavailable, DeadlineExceeded, InvalidInput
from adapters.tensors import Tensors
from tests.gateway.desk import Desk
from tests.waiting import turns

T = TypeVar("T")


class Mixture(RuleBasedStateMachine):
    """Any mix of callers, leavings, answers and errors: each gets its own answer or its own error."""

    @initialize(max_rows=st.integers(1, 5), at_once=st.integers(1, 3), sizes=st.sampled_from([(), (2, 5)]))
    def open(self, max_rows: int, at_once: int, sizes: tuple[int, ...]) -> None:
        self.loop = asyncio.new_event_loop()
        self.max_rows, self.at_once, self.sizes = max(max_rows, *sizes, 1), at_once, sizes
        self.desk = self.run(self.make())
        self.tasks: dict[float, tuple[asyncio.Task[Tensors], int]] = {}
        self.late: set[float] = set()
        self.left: set[float] = set()
        self.number = 0

    async def make(self) -> Desk:
        return Desk(self.max_rows, self.at_once, allowed_rows=self.sizes)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    @rule(rows=st.integers(1, 6), kind=st.sampled_from(["good", "good", "good", "bad", "late"]))
    def ask(self, rows: int, kind: str) -> None:
        self.number += 1
        value = -float(self.number) if kind == "bad" else float(self.number)
        urgency = Urgency(1) if kind == "late" else ROUTINE
        self.tasks[value] = self.run(self.desk.ask(*[value] * rows, urgency=urgency)), rows
        if kind == "late":
            self.late.add(value)

    @precondition(lambda self: any(not task.done() for task, _ in self.tasks.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        value = data.draw(st.sampled_from([value for value, (task, _) in self.tasks.items() if not task.done()]))
        self.tasks[value][0].cancel()
        self.left.add(value)
        self.sent = len(self.desk.server.seen)
        self.run(turns())

    @precondition(lambda self: self.desk.server.running)
    @rule(gone=st.booleans())
    def finish(self, gone: bool) -> None:
        self.run(self.desk.finish(BackendUnavailable("gone") if gone else None))

    @invariant()
    def the_server_is_asked_for_what_it_takes(self) -> None:
        if not hasattr(self, "desk"):
            return
        server = self.desk.server
        assert len(server.running) <= self.at_once
        for rows in server.seen:
            assert len(rows) <= self.max_rows or len(set(rows)) == 1
            assert not self.late & set(rows), "what is late is never sent"

    @invariant()
    def nobody_waits_while_the_server_is_free(self) -> None:
        if hasattr(self, "desk") and any(not task.done() for task, _ in self.tasks.values()):
            assert self.desk.server.running

    @invariant()
    def each_got_its_own(self) -> None:
        for value, (task, rows) in getattr(self, "tasks", {}).items():
            if not task.done() or task.cancelled():
                assert not task.done() or value in self.left
                continue
            error = task.exception()
            if error is None:
                assert task.result()["y"][:, 0].tolist() == [value * 2] * rows
                assert value > 0
            elif value in self.late:
                assert isinstance(error, DeadlineExceeded)
            else:
                assert isinstance(error, BackendUnavailable) or (isinstance(error, InvalidInput) and value < 0)

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        while self.desk.server.running:
            self.finish(False)
        self.each_got_its_own()
        assert all(task.done() for task, _ in self.tasks.values()), "nobody is lost"
        self.run(self.desk.batcher.aclose())
        self.loop.close()


TestMixture = Mixture.TestCase
TestMixture.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
