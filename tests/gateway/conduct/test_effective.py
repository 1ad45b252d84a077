"""Which experiments requests go by: those whose variants are ready, whose time it is, and whose traffic is free."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import Conflict, ModelNotFound, VersionNotReady
from tests.gateway.conduct.world import TWO, World
from tests.waiting import until


async def test_a_variant_that_is_not_ready_is_not_started_and_one_that_dies_is_for_guardrails(world: World) -> None:
    await world.write(TWO.replace('"m/2"', '"m/3"'))
    with pytest.raises(ModelNotFound, match="has no version 3"):
        await world.desk.start("m", "x", "ann")
    await world.edit('"m/3"', '"m/2"')
    world.plane.publish("m/4", "broken")
    world.plane.adapter.failures["broken"] = RuntimeError("broken")
    await until(lambda: world.plane.state("m/4@onnxruntime") == "FAILED")
    await world.write(TWO.replace('"m/2"', '"m/4"'), "y")
    with pytest.raises(VersionNotReady, match="m/4"):
        await world.desk.start("m", "y", "ann")
    await world.desk.start("m", "x", "ann")
    world.plane.delete("m/2")
    await until(lambda: world.plane.state("m/2@onnxruntime") is None)
    await world.look()
    assert world.weights() == {"a": 50, "b": 50}
    await world.desk.set("m", "x", {"weights": {"a": 100, "b": 0}}, "ann")
    assert world.weights() == {"a": 100, "b": 0}


async def test_what_is_started_by_hand_waits_for_its_variants(world: World) -> None:
    world.plane.adapter.hold = asyncio.Event()
    world.plane.publish("m/3", "three")
    await world.write(f'state = "running"\n{TWO}'.replace('"m/2"', '"m/3"'))
    assert world.split() is None
    (problem,) = (await world.desk.view("m", "x")).problems
    assert "it waits: variants.b.target: m/3@onnxruntime is" in problem
    world.plane.adapter.hold.set()
    await until(lambda: world.plane.state("m/3@onnxruntime") == "READY")
    await world.look()
    assert world.weights() == {"a": 50, "b": 50}
    assert (await world.desk.view("m", "x")).problems == ()


async def test_of_two_over_the_same_traffic_the_first_counts_and_the_other_names_it(world: World) -> None:
    await world.start(name="first")
    await world.write(f'state = "running"\n{TWO}', "late")
    await world.write(TWO, "irst")
    assert world.split("first") is not None
    assert world.split("late") is None
    (problem,) = (await world.desk.view("m", "late")).problems
    assert "same traffic as m/first" in problem
    assert (await world.desk.view("m", "first")).problems == ()
    assert (await world.desk.view("m", "irst")).problems == ()
    assert world.desk.problems() == [problem]
    with pytest.raises(Conflict, match="m/first runs over the same traffic"):
        await world.desk.start("m", "irst", "ann")
    await world.desk.stop("m", "first", "ann")
    assert world.split("late") is not None


async def test_experiments_whose_filters_keep_them_apart_run_side_by_side(world: World) -> None:
    await world.start(f'{TWO}[filter.headers]\nx-country = "de"\n', "de")
    await world.start(f'{TWO}[filter.headers]\nx-country = "fr"\n', "fr")
    assert world.split("de") is not None
    assert world.split("fr") is not None
    with pytest.raises(Conflict, match="m/de runs over the same traffic"):
        await world.desk.set("m", "fr", {"filter": {"headers": {"x-country": "de"}}}, "ann")


async def test_an_experiment_goes_from_its_start_to_its_stop(world: World) -> None:
    now = datetime.now(UTC)
    later, much_later = now + timedelta(hours=1), now + timedelta(hours=2)
    await world.start(f"start = {later.isoformat()}\nstop = {much_later.isoformat()}\n{TWO}")
    assert world.split() is None
    await world.edit(f"start = {later.isoformat()}", f"start = {(now - timedelta(hours=1)).isoformat()}")
    assert world.weights() == {"a": 50, "b": 50}
    past = now - timedelta(seconds=1)
    ended = await world.edit(f"stop = {much_later.isoformat()}", f"stop = {past.isoformat()}")
    assert (ended.state, ended.reason) == ("stopped", "its time is over")
    assert world.split() is None
    await world.look()
    assert 'state = "stopped"' in world.file().read_text()
