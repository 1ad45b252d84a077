"""What frontends note of experiments: control gets all of it, once, from the living."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.experiments.assignment import Assigner
from gateway.experiments.recording import Increment, Recorder
from gateway.frontends import evidence, group
from gateway.frontends import messages as m
from gateway.frontends.evidence import Take, pass_on
from gateway.registry import Registry
from gateway.types import ModelTable, Standing, State, Target
from tests.gateway.experiments.splits import split
from tests.gateway.experiments.test_recording import Sums
from tests.gateway.frontends.world import ONE, World
from tests.waiting import until

ONE_ARM = split({"a": 100, "b": 0}, token_key=b"k", parameters={"t": 1.0}, testers={"u": 1})


class Source:
    """A recorder that requests come to."""

    def __init__(self) -> None:
        self.recorder = Recorder()
        self._assigner = Assigner(self.recorder.notes("m", ONE_ARM))

    def request(self) -> None:
        self._assigner.assign(None, {}).answered(1_000_000, None)


@asynccontextmanager
async def passing_on(source: Source, take: Take) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(pass_on(source.recorder, take))
    await asyncio.sleep(0)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def answered(taken: list[Increment]) -> int:
    return sum(each[1] for each in Sums(taken).requests().values())


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of a second goes by fast."""
    monkeypatch.setattr(evidence, "_EVERY_S", 0.001)


async def test_what_is_noted_is_passed_on_every_so_often() -> None:
    source, taken = Source(), list[Increment]()
    async with passing_on(source, taken.extend):
        for count in range(1, 4):
            source.request()
            await until(lambda count=count: answered(taken) == count)
    assert len(taken) == 3


async def test_where_nothing_was_noted_nothing_is_said() -> None:
    said: list[object] = []
    async with passing_on(Source(), said.append):
        await asyncio.sleep(0.02)
    assert said == []


async def test_at_the_end_the_rest_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "_EVERY_S", 1e9)
    source, taken = Source(), list[Increment]()
    async with passing_on(source, taken.extend):
        source.request()
        assert taken == []
    assert answered(taken) == 1


async def test_one_taking_that_fails_does_not_end_it() -> None:
    source, taken, failing = Source(), list[Increment](), [True]

    def take(increments: list[Increment]) -> None:
        if failing:
            failing.clear()
            raise RuntimeError("control has a bug")
        taken.extend(increments)

    async with passing_on(source, take):
        source.request()
        await until(lambda: not failing)
        source.request()
        await until(lambda: answered(taken) == 1)


# Over links.


def show(world: World) -> None:
    standings = {ONE: Standing(State.READY)}
    world.group.show({"m": ModelTable("m", ("onnxruntime",), {}, standings, (ONE_ARM,))})


def request(registry: Registry) -> None:
    assigned = registry.assign(Target("m"), None, {"t": 1.0})
    assert assigned is not None
    assigned.answered(1_000_000, None)


async def test_a_split_comes_to_frontends_as_it_is(world: World) -> None:
    show(world)
    await world.group.shown()
    for frontend in world.frontends:
        (shown,) = frontend.registry.tables["m"].splits
        assert shown == ONE_ARM
        assert frontend.registry.assign(Target("m"), None, {"t": 1}) is None
        assert frontend.registry.assign(Target("m"), None, {"t": True}) is None


async def test_control_can_ask_for_what_all_have_noted(world: World) -> None:
    show(world)
    await world.group.shown()
    for frontend in world.frontends:
        request(frontend.registry)
    await world.group.collect()
    assert answered(world.noted) == 2
    await world.group.collect()
    assert answered(world.noted) == 2


async def test_what_a_frontend_tells_by_itself_comes_to_control(world: World) -> None:
    show(world)
    await world.group.shown()
    request(world[2].registry)
    world[2].link.tell(m.Evidence(world[2].registry.recorder.take()))
    await until(lambda: answered(world.noted) == 1)


async def test_one_that_is_slow_to_tell_holds_up_nobody_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "_REPORT_S", 0.01)
    show(world)
    await world.group.shown()
    for frontend in world.frontends:
        request(frontend.registry)
    world[1].hold(m.Collect)
    await world.group.collect()
    assert answered(world.noted) == 1
    world[1].release()
    await until(lambda: answered(world.noted) == 2)


async def test_one_that_is_dead_is_asked_in_vain(world: World) -> None:
    show(world)
    await world.group.shown()
    for frontend in world.frontends:
        request(frontend.registry)
    world[1].hold(m.Collect)
    collecting = asyncio.create_task(world.group.collect())
    await until(lambda: any(isinstance(act, m.Collect) for act in world[1].told))
    world[1].die()
    await collecting
    assert answered(world.noted) == 1


async def test_a_successor_assigns_from_its_first_request_on(world: World) -> None:
    show(world)
    await world.group.shown()
    world[1].die()
    await until(lambda: len(world.lives[1]) == 2)
    await world.settled()
    request(world[1].registry)
    await world.group.collect()
    assert answered(world.noted) == 1


async def test_when_the_gateway_stops_what_the_last_requests_gave_is_not_lost(world: World) -> None:
    show(world)
    await world.group.shown()
    for frontend in world.frontends:
        request(frontend.registry)
    world.group.stop()
    await world.group.drain()
    assert answered(world.noted) == 2
