"""Experiments changed by name: atomically, by several at once, and refused with words where it cannot be."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import InvalidInput
from gateway.errors import Conflict, ModelNotFound, NotAllowed
from gateway.experiments.definition import Standing
from gateway.experiments.files import read_experiment
from tests.gateway.conduct.world import DOCUMENT, TWO, World


async def test_a_run_begins_and_ends_by_name_and_peoples_comments_stay(world: World) -> None:
    await world.write(TWO)
    started = await world.desk.start("m", "x", "ann")
    assert (started.state, started.run) == ("running", 1)
    assert world.weights() == {"a": 50, "b": 50}
    changed = await world.desk.set("m", "x", {"weights": {"a": 75, "b": 25}}, "ann")
    assert changed.current is not None
    assert changed.current.epoch == 1
    assert world.weights() == {"a": 75, "b": 25}
    stopped = await world.desk.stop("m", "x", "ann", "enough")
    assert (stopped.state, stopped.reason) == ("stopped", "enough")
    assert world.split() is None
    text = world.file().read_text()
    assert "# ours" in text
    assert "# half" in text
    assert read_experiment(text, "m", "x", "x") == stopped
    await world.desk.remove("m", "x", "ann")
    assert not world.file().exists()
    with pytest.raises(ModelNotFound, match="m/x"):
        world.desk.definition("m", "x")
    assert await world.actions() == ["created", "started", "changed", "stopped", "removed"]


async def test_what_is_created_by_name_is_a_draft_in_a_file_and_not_made_twice(world: World) -> None:
    made = await world.desk.create("m", "y", DOCUMENT, "ann")
    assert made.state is Standing.DRAFT
    assert world.desk.definition("m", "y") == made
    with pytest.raises(Conflict, match="there already"):
        await world.desk.create("m", "y", DOCUMENT, "ann")
    with pytest.raises(ModelNotFound, match="'nobody'"):
        await world.desk.create("nobody", "y", DOCUMENT, "ann")
    with pytest.raises(InvalidInput, match="its name: expected"):
        await world.desk.create("m", "../y", DOCUMENT, "ann")


async def test_a_257th_experiment_is_refused_since_it_would_push_another_out(world: World) -> None:
    world.file().parent.mkdir()
    for number in range(256):
        world.file(f"y{number}").write_text(TWO)
    with pytest.raises(Conflict, match="256 experiments"):
        await world.desk.create("m", "x", DOCUMENT, "ann")


async def test_what_does_not_stand_so_is_a_conflict(world: World) -> None:
    await world.write(TWO)
    with pytest.raises(Conflict, match="does not run: it is draft"):
        await world.desk.stop("m", "x", "ann")
    with pytest.raises(Conflict, match="never run"):
        await world.desk.promote("m", "x", "a", "ann")
    await world.desk.start("m", "x", "ann")
    with pytest.raises(Conflict, match="runs already"):
        await world.desk.start("m", "x", "ann")
    with pytest.raises(Conflict, match="stop it first"):
        await world.desk.remove("m", "x", "ann")
    with pytest.raises(Conflict, match="after a stop only"):
        await world.desk.set("m", "x", {"variants": {"b": {"target": "m/1@onnxruntime"}}}, "ann")
    with pytest.raises(ModelNotFound, match="no variant 'c'; there are: a, b"):
        await world.desk.promote("m", "x", "c", "ann")
    with pytest.raises(InvalidInput, match="colour"):
        await world.desk.set("m", "x", {"colour": "red"}, "ann")
    with pytest.raises(InvalidInput, match="Torii keeps this key"):
        await world.desk.set("m", "x", {"run": 7}, "ann")
    await world.desk.stop("m", "x", "ann")
    with pytest.raises(Conflict, match="it is stopped"):
        await world.desk.stop("m", "x", "ann")


async def test_an_experiment_whose_time_is_over_is_not_started(world: World) -> None:
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    await world.write(f"stop = {past}\n{TWO}")
    with pytest.raises(Conflict, match="is over; set a later one"):
        await world.desk.start("m", "x", "ann")


CHANGES: list[Callable[[World], Coroutine[Any, Any, object]]] = [
    lambda world: world.desk.start("m", "x", "ann"),
    lambda world: world.desk.set("m", "x", {"owner": "ann"}, "ann"),
    lambda world: world.desk.remove("m", "x", "ann"),
    lambda world: world.desk.create("m", "y", DOCUMENT, "ann"),
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_folder_that_is_read_only_is_said_to_be(
    world: World, change: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.write(TWO)
    unlocked = os.open

    def refusing(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_CREAT and Path(path).parent == world.file().parent:  # root may write anywhere
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return unlocked(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(NotAllowed, match=r"m/experiments/[xy]\.toml cannot be written: Read-only file system"):
        await change(world)
    monkeypatch.undo()
    assert [each.name for each in world.file().parent.glob("*.toml")] == ["x.toml"]
    assert world.file().read_text() == TWO


@pytest.mark.parametrize("change", CHANGES[:3])
async def test_a_symbolic_link_is_not_replaced(world: World, change: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text(TWO)
    world.file().parent.mkdir()
    world.file().symlink_to(elsewhere)
    await world.look()
    with pytest.raises(NotAllowed, match="symbolic link"):
        await change(world)
    assert world.file().is_symlink()
    assert elsewhere.read_text() == TWO


@pytest.mark.parametrize("change", CHANGES[:2])
async def test_a_wrong_file_is_not_overwritten(world: World, change: Any) -> None:
    world.file().parent.mkdir()
    world.file().write_text("control = 7")
    await world.look()
    with pytest.raises(NotAllowed, match="mend the file first"):
        await change(world)
    assert world.file().read_text() == "control = 7"
    await world.desk.remove("m", "x", "ann")
    assert not world.file().exists()


async def test_a_lock_that_another_holds_for_long_is_named(world: World) -> None:
    await world.write(TWO)
    world.files._patience_s = 0.1
    with (world.file().parent / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotAllowed, match=r"m/experiments/\.lock has been locked by another process"):
            await world.desk.start("m", "x", "ann")


async def test_two_gateways_that_change_one_file_at_once_lose_nothing(tmp_path: Path) -> None:
    here = World(tmp_path / "here")
    async with here.running():
        await here.write(TWO)
        there = World(tmp_path / "there", here.plane.root, writer="there")
        async with there.running():
            owners = [here.desk.set("m", "x", {"testers": {f"here{each}": "a"}}, "ann") for each in range(10)]
            texts = [there.desk.set("m", "x", {"testers": {f"there{each}": "b"}}, "bob") for each in range(10)]
            await asyncio.gather(*owners, *texts)
    testers = read_experiment(here.file().read_text(), "m", "x", "x").testers
    assert len(testers) == 20


async def test_an_experiment_removed_and_made_again_has_a_run_of_its_own(world: World) -> None:
    await world.start()
    await world.desk.stop("m", "x", "ann")
    await world.desk.remove("m", "x", "ann")
    assert (await world.start()).run == 2


async def test_nobody_is_said_to_have_changed_by_hand_what_was_changed_by_name(world: World) -> None:
    await world.write(TWO)
    for each in range(5):
        await world.desk.set("m", "x", {"owner": f"ann {each}"}, "ann")
        world.conductor.tick()
    assert await world.actions() == ["created"] + ["changed"] * 5
