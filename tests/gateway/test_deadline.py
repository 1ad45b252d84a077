"""An end to waiting that is asyncio.timeout's, to the letter."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from weakref import WeakKeyDictionary

import pytest

from gateway.deadline import Deadline, Deadlines
from tests.waiting import turns


class Timeout:
    """asyncio.timeout as a plain context manager."""

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *error: object) -> bool | None:
        return await self._timeout.__aexit__(*error)  # type: ignore[arg-type]


_ALL: WeakKeyDictionary[asyncio.AbstractEventLoop, Deadlines] = WeakKeyDictionary()


class Ours:
    """A Deadline, entered like the other."""

    def __init__(self, seconds: float) -> None:
        self._deadline = Deadline(_ALL.setdefault(asyncio.get_running_loop(), Deadlines()), seconds)

    async def __aenter__(self) -> None:
        self._deadline.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self._deadline.__exit__(*error)  # type: ignore[arg-type]


@pytest.fixture(params=[Ours, Timeout])
def limit(request: pytest.FixtureRequest) -> Callable[[float], contextlib.AbstractAsyncContextManager[None]]:
    """Every test here holds for both."""
    kind: Callable[[float], contextlib.AbstractAsyncContextManager[None]] = request.param
    return kind


async def test_what_ends_in_time_is_left_alone(limit: type[Ours]) -> None:
    async with limit(0.005):
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)  # the time that it had been given is over by now


async def test_what_does_not_is_ended_with_a_timeout(limit: type[Ours]) -> None:
    with pytest.raises(TimeoutError):
        async with limit(0.001):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "the task goes on as if nothing had been"
    await turns()


async def test_an_error_of_its_own_comes_through(limit: type[Ours]) -> None:
    with pytest.raises(ZeroDivisionError):
        async with limit(60):
            raise ZeroDivisionError


async def test_a_cancellation_from_outside_is_not_taken_for_a_timeout(limit: type[Ours]) -> None:
    async def wait() -> None:
        async with limit(60):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_moment_of_the_timeout_is_not_swallowed(limit: type[Ours]) -> None:
    async def wait() -> None:
        try:
            async with limit(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await turns()
    asyncio.get_running_loop().call_later(0.001, task.cancel)
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


async def test_an_inner_end_is_told_from_an_outer_one(limit: type[Ours]) -> None:
    async with limit(60):
        with pytest.raises(TimeoutError):
            async with limit(0.001):
                await asyncio.Event().wait()
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with limit(0.001), limit(60):
            await asyncio.Event().wait()


async def test_an_error_made_of_the_timeout_s_cancellation_comes_through(limit: type[Ours]) -> None:
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise KeyError from None

    with pytest.raises(KeyError):
        async with limit(0.001):
            await wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await turns()


async def test_one_timer_serves_deadlines_of_all_lengths() -> None:
    deadlines, ended = Deadlines(), []

    async def wait(name: str, seconds: float) -> None:
        try:
            with Deadline(deadlines, seconds):
                await asyncio.Event().wait()
        except TimeoutError:
            ended.append(name)

    tasks = [asyncio.create_task(wait(f"{ms}", ms / 1000)) for ms in (40, 10, 60_000, 20, 30)]
    await asyncio.wait(tasks[:2] + tasks[3:])
    assert ended == ["10", "20", "30", "40"]
    tasks[2].cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await tasks[2]


async def test_a_deadline_that_was_met_leaves_nothing_behind() -> None:
    deadlines = Deadlines()
    for _ in range(3):
        with Deadline(deadlines, 60):
            await asyncio.sleep(0)
    assert not deadlines._running
