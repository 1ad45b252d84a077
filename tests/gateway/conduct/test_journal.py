"""The journal: who did what, with before and after; it waits for the store, and no line of the log is two."""

from __future__ import annotations

import logging

import pytest

from gateway.conduct.journal import Journal, difference
from gateway.experiments.report import Event
from tests.gateway.conduct.world import TWO, World


async def test_every_change_is_noted_with_who_and_what_was_before_and_after(world: World) -> None:
    await world.write(TWO)
    await world.desk.set("m", "x", {"owner": "bob"}, "ann")
    await world.desk.start("m", "x", "bob")
    await world.desk.stop("m", "x", "carl", "enough")
    await world.desk.promote("m", "x", "b", "dora")
    await world.edit("bob", "eve")
    await world.desk.remove("m", "x", "fred")
    events = list(reversed(await world.desk.events("m", "x")))
    file = "the file m/experiments/x.toml"
    assert [(each.action, each.who) for each in events] == [
        ("created", file),
        ("changed", "ann"),
        ("started", "bob"),
        ("stopped", "carl"),
        ("promoted", "dora"),
        ("changed", file),
        ("removed", "fred"),
    ]
    assert (events[1].before, events[1].after) == ({"owner": ""}, {"owner": "bob"})
    assert (events[2].before["state"], events[2].after["state"]) == ("draft", "running")
    assert events[2].after["current"]["weights"] == {"a": 50, "b": 50}
    assert events[3].reason == "enough"
    assert events[4].after["winner"] == "b"
    assert events[4].reason == "label stable: none -> 2"
    assert (events[5].before, events[5].after) == ({"owner": "bob"}, {"owner": "eve"})
    assert events[6].after == {}
    assert events[6].before["owner"] == "eve"


async def test_what_was_there_before_the_start_is_no_change(tmp_path: object, world: World) -> None:
    await world.start()
    again = World(world.plane.root.parent / "again", world.plane.root)
    async with again.running():
        assert await again.actions() == []


async def test_events_wait_for_the_store_and_are_bounded(world: World) -> None:
    journal = world.journal = Journal(world.keeper, most=3)
    one = await world.write(TWO)
    world.keeper.trouble = "gone"
    for number in range(5):
        journal.changed(one, one, f"act {number}", "ann")
        await journal.save()
    assert [each.action for each in await journal.events("m", "x", 10)] == ["act 4", "act 3", "act 2"]
    assert [each.action for each in await journal.events("m", "x", 1)] == ["act 4"]
    assert await journal.events("m", "other", 10) == []
    world.keeper.trouble = ""
    await journal.save()
    await journal.save()
    stored = await world.keeper.do(lambda store: store.events("m", "x"))
    assert [each.action for each in stored if each.action != "created"] == ["act 4", "act 3", "act 2"]
    assert len(await journal.events("m", "x", 10)) == len(stored)


async def test_events_that_come_while_others_are_saved_are_not_lost(world: World) -> None:
    journal = Journal(world.keeper, most=2)
    one = await world.write(TWO)
    journal.changed(one, one, "act 0", "ann")
    do = world.keeper.do

    async def busy(act: object) -> object:
        for number in (1, 2):
            journal.changed(one, one, f"act {number}", "ann")
        return await do(act)  # type: ignore[arg-type]

    world.keeper.do = busy  # type: ignore[method-assign, assignment]
    await journal.save()
    world.keeper.do = do  # type: ignore[method-assign]
    await journal.save()
    stored: list[Event] = await do(lambda store: store.events("m", "x"))
    assert {each.action for each in stored} >= {"act 0", "act 1", "act 2"}


async def test_a_line_of_the_log_is_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    one = await world.write(f'description = "two\\nlines\\u2028and \\u0085more\\u009b"\n{TWO}')
    with caplog.at_level(logging.INFO, "gateway.conduct.journal"):
        caplog.clear()
        world.journal.changed(None, one, "created", "ann\nroot", "because\u2028of")
    (line,) = [each.getMessage() for each in caplog.records]
    assert line.isascii()
    assert line.isprintable()
    assert "'ann\\nroot'" in line


def test_a_difference_is_of_the_keys_that_differ() -> None:
    before = {"same": 1, "gone": 2, "table": {"same": 1, "other": 2, "gone": 3}, "value": 1}
    after = {"same": 1, "table": {"same": 1, "other": 3, "new": 4}, "value": {"a": 1}, "new": 5}
    assert difference(before, after) == (
        {"gone": 2, "table": {"other": 2, "gone": 3}, "value": 1},
        {"table": {"other": 3, "new": 4}, "value": {"a": 1}, "new": 5},
    )
