"""How many requests a deployment takes at once: never more, in order, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InferenceFailed
from adapters.tensors import Tensors
from gateway.admission import ConcurrencyLimit
from gateway.errors import Overloaded
from tests.gateway.fakes import SIGNATURE, HeldServable, X
from tests.waiting import turns


async def begin(limit: ConcurrencyLimit, count: int) -> list[asyncio.Task[Tensors]]:
    """Requests that hold 0, 1, 2, … each begun after the other."""
    tasks = [asyncio.create_task(limit.infer({"x": np.array([number], np.float32)})) for number in range(count)]
    await turns()
    return tasks


def running(model: HeldServable) -> list[int]:
    return [int(inputs["x"][0]) for inputs in model.seen]


async def finish(model: HeldServable) -> None:
    model.finish()
    await turns()


async def test_so_many_run_and_the_rest_waits_its_turn_in_order() -> None:
    model = HeldServable()
    tasks = await begin(ConcurrencyLimit(model, 2, 10), 5)
    for begun in ([0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]):
        assert running(model) == begun
        await finish(model)
    assert model.most_at_once == 2
    assert [(await task)["x"].tolist() for task in tasks] == [[0.0], [1.0], [2.0], [3.0], [4.0]]


async def test_who_waits_is_counted() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 2, 10)
    await begin(limit, 5)
    for left in (3, 2, 1, 0, 0, 0):
        assert limit.waiting == left
        if model.running:
            await finish(model)


async def test_nobody_overtakes_those_who_wait() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 10)
    await begin(limit, 2)
    model.finish()
    late = asyncio.create_task(limit.infer({"x": np.array([9], np.float32)}))
    await turns()
    assert running(model) == [0, 1]
    await finish(model)
    assert running(model) == [0, 1, 9]
    await finish(model)
    await late


async def test_who_finds_the_queue_full_is_told_when_to_come_back() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 2, 1)
    tasks = await begin(limit, 4)
    with pytest.raises(Overloaded, match="2 requests are running and 1 waiting") as raised:
        await tasks[3]
    assert raised.value.retry_after_s > 0
    for _ in range(3):
        await finish(model)
    assert [task.done() for task in tasks[:3]] == [True] * 3


async def test_without_a_queue_the_limit_alone_counts() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 0)
    first, second = await begin(limit, 2)
    assert isinstance(second.exception(), Overloaded)
    await finish(model)
    await first
    third = asyncio.create_task(limit.infer(X))
    await turns()
    await finish(model)
    await third


async def test_a_request_that_fails_hands_its_place_on() -> None:
    model = HeldServable()
    tasks = await begin(ConcurrencyLimit(model, 1, 5), 2)
    model.finish(InferenceFailed("no"))
    await turns()
    assert isinstance(tasks[0].exception(), InferenceFailed)
    assert running(model) == [0, 1]
    await finish(model)
    await tasks[1]


async def test_a_caller_that_leaves_while_it_runs_hands_its_place_on() -> None:
    model = HeldServable()
    tasks = await begin(ConcurrencyLimit(model, 1, 5), 2)
    tasks[0].cancel()
    await turns()
    assert running(model) == [0, 1]
    await finish(model)
    await tasks[1]


async def test_a_caller_that_leaves_the_queue_gives_its_place_in_it_back() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 2)
    tasks = await begin(limit, 3)
    for task in tasks[1:]:
        task.cancel()
    await turns()
    late = [asyncio.create_task(limit.infer(X)) for _ in range(2)]
    await turns()
    assert not any(task.done() for task in late), "the queue is empty: nobody is refused"
    for _ in range(3):
        await finish(model)
    assert all(task.done() for task in late)


async def test_a_caller_that_leaves_at_the_moment_of_its_turn_hands_it_on() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 5)
    first, leaves, last = await begin(limit, 3)
    model.finish()
    while not first.done():  # noqa: ASYNC110  # turn by turn, to be there at the very moment
        await asyncio.sleep(0)
    leaves.cancel()
    await turns()
    assert running(model) in ([0, 2], [0, 1, 2])
    await finish(model)
    assert last.done()
    again = asyncio.create_task(limit.infer(X))
    await turns()
    await finish(model)
    await again


@given(st.integers(1, 3), st.integers(0, 4), st.integers(0, 2**32))
def test_whatever_happens_in_whatever_order_no_place_is_lost(max_in_flight: int, max_queue: int, seed: int) -> None:
    async def scenario() -> None:
        model = HeldServable()
        limit = ConcurrencyLimit(model, max_in_flight, max_queue)
        dice = random.Random(seed)
        tasks: list[asyncio.Task[Tensors]] = []
        for _ in range(60):
            match dice.choice(["come", "come", "leave", "finish", "fail", "turn"]):
                case "come":
                    tasks.append(asyncio.create_task(limit.infer(X)))
                case "leave" if tasks:
                    dice.choice(tasks).cancel()
                case "finish" | "fail" as how if [each for each in model.running if not each.done()]:
                    first = next(each for each in model.running if not each.done())
                    first.set_result(None) if how == "finish" else first.set_exception(InferenceFailed("no"))
                case "turn":
                    await turns(dice.randrange(4))
            assert model.most_at_once <= max_in_flight
        while not all(task.done() for task in tasks):
            for each in model.running:
                if not each.done():
                    each.set_result(None)
            await asyncio.sleep(0)
        for task in tasks:
            assert task.cancelled() or isinstance(task.exception(), Overloaded | InferenceFailed | None)
        again = [asyncio.create_task(limit.infer(X)) for _ in range(max_in_flight + max_queue)]
        await turns()
        assert not any(task.done() for task in again), "every place is free again"
        assert len(model.running) == max_in_flight
        for task in again:
            task.cancel()
        await asyncio.gather(*again, return_exceptions=True)

    asyncio.run(scenario())


async def test_it_is_a_servable_like_the_one_that_it_wraps() -> None:
    model = HeldServable()
    limit = ConcurrencyLimit(model, 1, 1)
    assert limit.signature == SIGNATURE
    await limit.aclose()
    assert model.closed
