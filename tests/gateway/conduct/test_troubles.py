"""Nothing that goes wrong with one experiment, or with the store, holds up the rest; and what a restart brings back."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.conduct import conductor, looking
from gateway.conduct.keeper import Keeper
from gateway.experiments.recording import Increment
from gateway.experiments.store.errors import StoreUnavailable
from tests.gateway.conduct.acts import RAMP, age, analysis, breach, stumble
from tests.gateway.conduct.world import TWO, World, increment, unit_numbers
from tests.waiting import until


async def test_what_one_experiment_stumbles_over_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, country in (("bad", "de"), ("good", "fr")):
        await world.start(f'{RAMP}[filter.headers]\nx-country = "{country}"\n', name)
    bad = world.active("bad")
    monkeypatch.setattr(bad.evidence, "add", stumble)
    monkeypatch.setattr(bad.evidence, "requests", stumble)
    monkeypatch.setattr(bad.evidence, "to_save", stumble)
    monkeypatch.setattr(looking, "analyse", lambda active: stumble() if active is bad else analysis())
    both = [increment(1, 0, name, a=unit_numbers(5), b=unit_numbers(5)) for name in ("bad", "good")]
    world.conductor.take(both)
    await age(world, 61, "bad")
    await age(world, 61, "good")
    assert world.weights("good") == {"a": 50, "b": 50}
    bad.evidence.count({"x": 1})
    await world.conductor.save()
    assert not world.active("good").evidence.unsaved
    view = await world.desk.view("m", "bad")
    assert "the statistics failed, see the log" in view.problems[0]
    assert view.analysis is None
    assert (await world.desk.view("m", "good")).analysis is not None


async def test_an_experiment_that_cannot_be_taken_up_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = world.conductor.roster.begin
    monkeypatch.setattr(world.conductor.roster, "begin", lambda each: stumble() if each.name == "bad" else begin(each))
    await world.write(f'state = "running"\n{TWO}[filter.headers]\nx-country = "de"\n', "bad")
    await world.write(f'state = "running"\n{TWO}[filter.headers]\nx-country = "fr"\n', "good")
    assert world.split("bad") is None
    assert world.split("good") is not None


async def test_an_experiment_that_makes_no_table_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made = conductor.split
    monkeypatch.setattr(conductor, "split", lambda each, key: stumble() if each.name == "bad" else made(each, key))
    await world.write(f'state = "running"\n{TWO}[filter.headers]\nx-country = "de"\n', "bad")
    await world.write(f'state = "running"\n{TWO}[filter.headers]\nx-country = "fr"\n', "good")
    assert world.split("bad") is None
    assert world.split("good") is not None


async def test_a_locked_store_holds_up_neither_ticks_nor_guardrails(tmp_path: Path) -> None:
    world = World(tmp_path / "here")
    async with world.running():
        await world.start()
        await world.conductor.save()
        with closing(sqlite3.connect(tmp_path / "here/store.db", isolation_level=None)) as locking:
            locking.execute("BEGIN EXCLUSIVE")
            running = asyncio.create_task(world.conductor.run())
            world.serve(a=[1])
            await until(lambda: world.conductor._save is not None and not world.conductor._save.done())
            await world.write(f'state = "running"\n{TWO}[filter.headers]\nx-country = "de"\n', "other")
            breach(world)
            assert world.weights() == {"a": 100, "b": 0}
            assert world.active("other") is not None
            saving = world.conductor._save
            assert saving is not None
            assert not saving.done(), "it waits for the store, and all this went on meanwhile"
            await until(lambda: world.keeper.problem)
            assert "locked" in world.keeper.problem
            locking.execute("ROLLBACK")
        await until(lambda: not world.active().evidence.unsaved and not world.keeper.problem)
        running.cancel()
    second = World(tmp_path / "second", world.plane.root, world.store)
    async with second.running():
        await second.conductor.save()
        assert second.active().evidence.requests(0) == {"a": 41, "b": 40}


async def test_after_a_failure_nobody_waits_for_the_store_for_a_while(tmp_path: Path) -> None:
    keeper = Keeper(f"sqlite:///{tmp_path}/store.db", "here", pause_s=3600.0)
    asked = []

    def fail(store: object) -> None:
        asked.append(store)
        raise StoreUnavailable("it is locked")

    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="it is locked"):
            await keeper.do(fail)
    assert len(asked) == 1
    keeper._failed_s -= 3600.0
    assert await keeper.do(lambda store: 7) == 7
    assert keeper.problem == ""
    await keeper.close()


async def test_late_evidence_of_a_run_that_has_ended_is_taken_in(world: World) -> None:
    await world.start()
    late: Increment = world.increment(a=[1, 2])
    await world.desk.stop("m", "x", "ann")
    world.conductor.take([late])
    assert (await world.desk.view("m", "x")).variants[0].requests == 2
    await world.desk.start("m", "x", "ann")
    world.conductor.take([late])
    assert (await world.desk.view("m", "x")).variants[0].requests == 0


async def test_what_was_said_of_a_stopped_run_is_there_after_a_restart(tmp_path: Path) -> None:
    first = World(tmp_path / "first")
    async with first.running():
        await first.start()
        first.serve(a=unit_numbers(300), b=unit_numbers(300, 1))
        await first.conductor.looking._look(first.active())
        await first.desk.stop("m", "x", "ann")
        shown = await first.desk.looks("m", "x")
        assert shown
    second = World(tmp_path / "second", first.plane.root, first.store)
    async with second.running():
        view = await second.desk.view("m", "x")
        assert [each.requests for each in view.variants] == [300, 300]
        assert view.analysis is not None
        assert await second.desk.looks("m", "x") == shown


async def test_a_view_does_not_wait_for_a_store_that_does_not_answer(world: World) -> None:
    await world.start()
    world.serve(a=[1])
    world.keeper.trouble = "the disk is gone"
    view = await world.desk.view("m", "x")
    assert view.variants[0].requests == 1
    assert "the disk is gone; requests go on" in view.problems[0]
    assert "is not read yet" in view.problems[1]
    world.keeper.trouble = ""
    assert (await world.desk.view("m", "x")).problems == ()


async def test_a_removed_run_of_the_same_number_is_not_taken_for_this_one_after_a_restart(tmp_path: Path) -> None:
    first = World(tmp_path / "first")
    async with first.running():
        await first.start()
        first.serve(a=unit_numbers(300))
    second = World(tmp_path / "second", store=first.store)
    async with second.running():
        started = await second.start()
        assert started.started is not None
        earlier = started.started - timedelta(hours=1)
        with closing(sqlite3.connect(tmp_path / "first/store.db")) as store, store:
            store.execute("UPDATE torii_run SET started = ?", [earlier.timestamp()])
        await second.conductor.save()
        await second.look()
        assert second.definition().run == 2
        await second.conductor.save()
        assert second.active().evidence.loaded
        assert second.active().evidence.requests(0) == {}
