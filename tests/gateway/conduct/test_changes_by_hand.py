"""Experiments changed by hand: what files say counts at the next look."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import BackendUnavailable
from gateway.errors import ModelNotFound
from gateway.experiments.definition import Standing
from gateway.experiments.files import write_experiment
from tests.gateway.conduct.world import TWO, World


async def test_two_gateways_that_see_a_start_by_hand_at_once_agree_on_one_run(tmp_path: Path) -> None:
    here = World(tmp_path / "here")
    async with here.running():
        there = World(tmp_path / "there", here.plane.root, here.store, "there")
        async with there.running():
            here.file().parent.mkdir()
            here.plane.write("m/experiments/x.toml", f'state = "running"\n{TWO}')
            await here.plane.looked(2)
            await there.plane.looked(2)
            for world in (here, there):
                world.conductor.tick()
            for world in (here, there, here, there):
                await world.written()
                await world.look()
            text = here.file().read_text()
            for world in (here, there, here, there):
                await world.look()
                await world.written()
                assert world.definition() == here.definition()
                assert world.active().evidence.key.number == 1
            assert here.file().read_text() == text
            assert here.split() is not None
            assert there.split() is not None
            assert here.split().slots == there.split().slots  # type: ignore[union-attr]


async def test_a_start_by_hand_is_a_run_and_a_second_one_is_another(world: World) -> None:
    running = await world.write(f'state = "running"\n{TWO}')
    assert (running.run, running.current is not None) == (1, True)
    assert world.weights() == {"a": 50, "b": 50}
    assert "[current]" in world.file().read_text()
    stopped = await world.edit('state = "running"', 'state = "stopped"')
    assert stopped.ended is not None
    assert world.split() is None
    again = await world.edit('state = "stopped"', 'state = "running"')
    assert (again.run, again.ended) == (2, None)
    assert world.active().evidence.key.number == 2
    assert await world.actions() == ["created", "started", "stopped", "started"]


async def test_a_running_one_that_is_made_a_draft_by_hand_has_ended(world: World) -> None:
    await world.start()
    ended = await world.edit('state = "running"', 'state = "draft"')
    assert ended.state is Standing.STOPPED
    assert ended.ended is not None


async def test_weights_changed_by_hand_move_as_few_units_as_may_be(world: World) -> None:
    await world.start()
    before = world.split()
    await world.edit("weight = 50  # half", "weight = 80")
    changed = await world.edit("weight = 50", "weight = 20")
    assert world.weights() == {"a": 80, "b": 20}
    assert changed.current is not None
    assert changed.current.epoch == 1
    after = world.split()
    assert before is not None
    assert after is not None
    stayed = [_arm(before.slots, slot) == _arm(after.slots, slot) for slot in range(0, 1_000_000, 1000)]
    assert sum(stayed) == 700


def _arm(slots: Any, slot: int) -> int:
    return next(arm for end, arm in slots if slot < end)


async def test_weights_changed_by_hand_while_a_ramp_grows_keep_to_its_step(world: World) -> None:
    await world.start(f"{TWO}[ramp]\nsteps = [2, 50]\n")
    await world.edit("weight = 50  # half", "weight = 40")
    await world.edit("weight = 50", "weight = 60")
    assert world.weights() == {"a": 98, "b": 2}


async def test_a_ramp_that_is_taken_out_by_hand_lets_all_weights_be(world: World) -> None:
    await world.start(f"{TWO}[ramp]\nsteps = [2]\n")
    await world.edit("[ramp]\nsteps = [2]\n", "")
    assert world.weights() == {"a": 50, "b": 50}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('target = "m/2"', 'target = "m/2@onnxruntime"'),
        ("[variants.b]", '[metrics.correct]\nkind = "binary"\n\n[variants.b]'),
        ("# ours", 'control = "b"'),
    ],
)
async def test_what_is_compared_changed_by_hand_begins_a_new_run(world: World, old: str, new: str) -> None:
    await world.start()
    world.serve(a=[1, 2, 3])
    assert (await world.edit(old, new)).run == 2
    assert world.active().evidence.requests(0) == {}


async def test_a_file_made_wrong_while_it_runs_is_named_and_goes_on_as_it_was(world: World) -> None:
    running = await world.start()
    await world.write("control = 7")
    assert world.definition() == running
    assert world.weights() == {"a": 50, "b": 50}
    view = await world.desk.view("m", "x")
    assert [each for each in view.problems if "control" in each and each.endswith("it goes on as it was")]
    assert view.problems[0] in world.desk.problems("m")
    assert world.desk.problems("other") == []


async def test_a_file_that_is_deleted_ends_its_experiment(world: World) -> None:
    await world.start()
    world.serve(a=[1])
    world.file().unlink()
    await world.look()
    assert world.split() is None
    assert world.desk.definitions() == []
    assert (await world.actions())[-1] == "removed"
    ended = world.conductor.roster.of(("m", "x"), 1)
    assert ended is not None
    assert ended.definition.ended is not None


async def test_a_file_that_comes_back_as_it_was_goes_on_with_its_evidence(world: World) -> None:
    await world.start()
    world.serve(a=[1, 2])
    text = world.file().read_text()
    world.file().unlink()
    await world.look()
    await world.write(text)
    assert world.active().evidence.requests(0) == {"a": 2}


async def test_a_folder_that_cannot_be_read_changes_nothing(world: World) -> None:
    await world.start()
    world.plane.control.snapshot = type(world.plane.control.snapshot)(unreadable=frozenset({"m"}))
    world.conductor.tick()
    assert world.weights() == {"a": 50, "b": 50}
    assert world.definition().state is Standing.RUNNING
    with pytest.raises(BackendUnavailable):
        world.files.remove("m", "x")


async def test_an_edit_by_hand_while_a_change_by_name_is_written_stays_and_the_change_comes_on_top(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    await world.written()
    sync, edited = os.fsync, world.file().read_text() + "# by hand\n"

    def slow(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        world.file().write_text(edited)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    await asyncio.to_thread(
        world.files.change, "m", "x", lambda text, before: write_experiment(text, {"owner": "us"}, "x.toml")
    )
    text = world.file().read_text()
    assert "# by hand" in text
    assert 'owner = "us"' in text


async def test_a_file_taken_away_while_it_is_written_does_not_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    await world.written()
    sync = os.fsync

    def slow(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        world.file().unlink()
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    with pytest.raises(ModelNotFound):
        await asyncio.to_thread(
            world.files.change, "m", "x", lambda text, before: write_experiment(text, {"owner": "us"}, "x.toml")
        )
    assert not world.file().exists()
