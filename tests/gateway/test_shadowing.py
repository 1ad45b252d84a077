"""Copies of requests: made as often as asked for, when nobody waits, and never anybody's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

from adapters.base import LOWEST_PRIORITY, ROUTINE, Endpoint, Urgency
from adapters.errors import BackendUnavailable, InferenceFailed
from adapters.tensors import Tensors
from gateway import shadowing
from gateway.dataplane import DataPlane
from gateway.experiments.recording import Notes, ShadowIncrement
from gateway.registry import Registry
from gateway.shadowing import Shadows
from gateway.types import (
    Deployment,
    InferRequest,
    ModelTable,
    Serving,
    ShadowRule,
    Standing,
    State,
    Target,
    TrafficSplit,
)
from tests.gateway.experiments.splits import split
from tests.gateway.fakes import HeldServable, QuickServable, X, endpoint
from tests.waiting import turns, until

ONE, TWO = (Deployment("m", version, "onnxruntime") for version in (1, 2))
TO_TWO = Target("m", 2)
OUTPUTS = {"x": X["x"], "y": X["x"] * 2}


class World:
    """Version 1 answers callers, version 2 is the shadow; each is held or quick."""

    def __init__(self, shadow: HeldServable, share: float = 1.0, busy: float = 1.0) -> None:
        self.caller, self.shadow = HeldServable(), shadow
        self.rule = ShadowRule(TO_TWO, share, 1e-3, busy)
        self.registry = Registry(self._connect, drain_timeout_s=60)
        self.notes = Notes("m", self.split)
        self.shadows = Shadows(self.registry)

    @property
    def split(self) -> TrafficSplit:
        return split({"a": 100, "b": 0}, shadow=self.rule)

    async def _connect(self, to: Endpoint) -> HeldServable:
        return {"one": self.caller, "two": self.shadow}[to.address]

    async def open(self) -> World:
        await self.registry.publish(ONE, endpoint("one"), Serving())
        await self.registry.publish(TWO, endpoint("two"), Serving())
        standings = {each: Standing(State.READY) for each in (ONE, TWO)}
        self.registry.show({"m": ModelTable("m", ("onnxruntime",), {}, standings, (self.split,))})
        return self

    def offer(self, times: int = 1, inputs: Tensors = X, outputs: Tensors = OUTPUTS) -> None:
        for _ in range(times):
            self.shadows.offer(self.notes, self.rule, inputs, outputs)

    @property
    def noted(self) -> ShadowIncrement:
        return self.notes.shadow


async def world(shadow: HeldServable | None = None, share: float = 1.0, busy: float = 1.0) -> World:
    return await World(shadow or QuickServable(), share, busy).open()


class Answering(QuickServable):
    """Answers what it is told to."""

    def __init__(self, answer: Callable[[Tensors], Tensors]) -> None:
        super().__init__()
        self._answer = answer
        self.urgencies: list[Urgency] = []

    async def infer(self, inputs: Tensors, urgency: Urgency = ROUTINE) -> Tensors:
        self.urgencies.append(urgency)
        self.seen.append(inputs)
        return self._answer(inputs)


def failing(error: Exception) -> Answering:
    def fail(_: Tensors) -> Tensors:
        raise error

    return Answering(fail)


async def test_a_copy_is_compared_with_the_answer_that_its_caller_got() -> None:
    here = await world()
    here.offer()
    await until(lambda: here.noted.compared == 1)
    assert here.noted == ShadowIncrement(compared=1, apart=0.0, cosine=1.0)


async def test_what_differs_is_noted_with_the_worst_of_all() -> None:
    apart = iter([0.5, 0.25, 0.0])
    here = await world(Answering(lambda inputs: {"x": inputs["x"], "y": inputs["x"] * 2 + next(apart)}))
    here.offer(3)
    await until(lambda: here.noted.compared == 3)
    assert (here.noted.disagreed, here.noted.apart) == (2, 0.5)


async def test_a_copy_has_the_lowest_priority() -> None:
    shadow = Answering(lambda inputs: OUTPUTS)
    here = await world(shadow)
    here.offer()
    await until(lambda: here.noted.compared)
    assert shadow.urgencies[0].priority == LOWEST_PRIORITY


async def test_only_the_share_asked_for_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([0.0, 0.0999, 0.1, 0.5, 0.9999])
    monkeypatch.setattr("random.random", lambda: next(draws))
    here = await world(share=0.1)
    here.offer(5)
    await until(lambda: here.noted.compared == 2)
    assert here.noted.skipped == 0


async def test_while_a_caller_s_request_runs_no_copy_is_sent() -> None:
    here = await world()
    dataplane = DataPlane(here.registry)
    running = asyncio.create_task(dataplane.infer(InferRequest(Target("m", 1), X)))
    await until(lambda: here.caller.running)
    here.offer()
    await asyncio.sleep(0.02)  # several looks: what must not happen has no event
    assert here.shadow.seen == []
    here.caller.finish()
    await running
    await until(lambda: here.noted.compared == 1)


async def test_where_callers_leave_it_no_room_a_copy_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "_PATIENCE_S", 0.0)
    here = await world()
    running = asyncio.create_task(DataPlane(here.registry).infer(InferRequest(Target("m", 1), X)))
    await until(lambda: here.caller.running)
    here.offer(3)
    await until(lambda: here.noted.skipped == 3)
    assert here.shadow.seen == []
    here.caller.finish()
    await running


async def test_a_caller_s_answer_does_not_wait_for_its_copy() -> None:
    here = await world(HeldServable())
    dataplane = DataPlane(here.registry)
    answered = asyncio.create_task(dataplane.infer(InferRequest(Target("m"), X)))
    await until(lambda: here.caller.running)
    here.caller.finish()
    await answered
    await until(lambda: here.shadow.running)
    again = asyncio.create_task(dataplane.infer(InferRequest(Target("m"), X)))
    await until(lambda: here.caller.running)
    here.caller.finish()
    await again
    assert len(here.shadow.running) == 1


async def test_one_copy_runs_at_a_time_and_only_so_many_wait() -> None:
    here = await world(HeldServable())
    here.offer(200)
    await until(lambda: here.shadow.running)
    assert len(here.shadow.running) == 1
    assert here.noted.skipped == 200 - 64
    for number in range(64):
        await until(lambda: here.shadow.running)
        assert len(here.shadow.running) == 1
        here.shadow.finish()
        await until(lambda number=number: here.noted.compared == number + 1)
    assert here.noted.skipped + here.noted.compared == 200


@pytest.mark.parametrize(
    "tensor", [np.zeros(3 << 20, np.float64), np.array([b"x" * (1 << 20)] * 24, object)], ids=["numbers", "strings"]
)
async def test_only_so_many_bytes_wait(tensor: np.ndarray) -> None:
    here = await world(HeldServable())
    here.offer(5, inputs={"x": tensor}, outputs={})
    assert here.noted.skipped == 3


@pytest.mark.parametrize("error", [InferenceFailed("no"), BackendUnavailable("gone"), RuntimeError("bug"), KeyError(1)])
async def test_a_shadow_that_fails_is_noted_and_harms_nobody(error: Exception) -> None:
    here = await world(failing(error))
    here.offer(3)
    await until(lambda: here.noted.failed == 3)
    assert here.noted.compared == 0


async def test_an_answer_that_cannot_be_compared_is_a_failure_and_the_next_copy_is_made() -> None:
    answers = iter([{"x": None, "y": None}, OUTPUTS])
    here = await world(Answering(lambda inputs: next(answers)))
    here.offer(2)
    await until(lambda: here.noted.compared == 1)
    assert here.noted.failed == 1


async def test_a_shadow_that_is_not_there_is_noted() -> None:
    here = await world()
    here.rule = ShadowRule(Target("m", 7), 1.0, 1e-3, 1.0)
    here.offer()
    await until(lambda: here.noted.failed == 1)


async def test_inputs_that_the_shadow_does_not_take_are_its_failure() -> None:
    here = await world()
    here.offer(inputs={"x": np.ones(1, np.int64)})
    await until(lambda: here.noted.failed == 1)
    assert here.shadow.seen == []


async def test_a_failure_that_comes_after_a_taking_is_in_the_next() -> None:
    here = await world(HeldServable())
    here.offer()
    await until(lambda: here.shadow.running)
    here.notes.shadow.skipped += 1
    assert [each.shadow for each in here.notes.take()] == [ShadowIncrement(skipped=1)]
    here.shadow.finish(InferenceFailed("no"))
    await turns()
    assert [each.shadow for each in here.notes.take()] == [ShadowIncrement(failed=1)]


async def test_large_answers_are_compared_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    large = {"x": X["x"], "y": np.ones(1 << 17, np.float32)}
    moved: list[object] = []

    async def elsewhere(function: Callable[..., object], *arguments: object) -> object:
        moved.append(function)
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", elsewhere)
    here = await world(Answering(lambda inputs: large))
    here.offer(outputs=large)
    await until(lambda: here.noted.compared == 1)
    assert len(moved) == 1


async def test_after_a_copy_callers_have_the_machine_to_themselves_for_a_while() -> None:
    here = await world(busy=1e-9)
    here.offer(2)
    await until(lambda: here.noted.compared == 1)
    await turns(50)
    assert len(here.shadow.seen) == 1
