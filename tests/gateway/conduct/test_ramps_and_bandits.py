"""Weights that move by themselves: when they may, and how far."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.conduct import looking
from gateway.conduct.active import Active
from gateway.conduct.weights import in_force
from gateway.experiments.store.records import CellKey
from tests.gateway.conduct.acts import BANDIT, RAMP, age, breach
from tests.gateway.conduct.world import TWO, World, unit_numbers
from tests.waiting import turns, until


async def test_a_ramp_moves_after_time_and_evidence_and_with_nothing_else(world: World) -> None:
    await world.start(RAMP)
    assert world.weights() == {"a": 90, "b": 10}
    world.serve(a=unit_numbers(5), b=unit_numbers(4))
    await age(world, 61)
    assert world.weights() == {"a": 90, "b": 10}, "evidence is missing"
    await age(world, -30)
    world.serve(b=unit_numbers(1))
    await world.look()
    assert world.weights() == {"a": 90, "b": 10}, "time is missing"
    await age(world, 30)
    assert world.weights() == {"a": 50, "b": 50}
    await world.written()
    await world.look()
    assert (await world.actions())[-1] == "ramp"
    world.serve(a=unit_numbers(5), b=unit_numbers(5))
    await age(world, 61)
    assert world.weights() == {"a": 50, "b": 50}, "that was the last step"


async def test_a_ramp_does_not_move_after_a_breach(world: World) -> None:
    await world.start(RAMP)
    breach(world)
    await world.written()
    await world.look()
    world.serve(a=unit_numbers(50))
    await age(world, 61)
    assert world.weights() == {"a": 100, "b": 0}


async def test_a_ramp_does_not_move_while_its_experiment_waits(world: World) -> None:
    without_evidence = RAMP.replace("requests = 5", "requests = 0")
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await world.start(f'start = {later}\n{without_evidence}[filter.headers]\nx-country = "de"\n', "early")
    await world.start(f'{TWO}[filter.headers]\nx-country = "fr"\n', "first")
    await world.write(f'state = "running"\n{without_evidence}[filter.headers]\nx-country = "fr"\n', "late")
    for name in ("early", "late"):
        await age(world, 61, name)
        assert in_force(world.definition(name)).step == 0
    await world.desk.stop("m", "first", "ann")
    world.conductor.tick()
    assert in_force(world.definition("late")).step == 1


# Bandits.


@pytest.mark.parametrize("kind", ["thompson", "exp3"])
async def test_a_bandit_moves_weights_to_the_better_and_keeps_the_floor_and_most_units(world: World, kind: str) -> None:
    await world.start(BANDIT.format(kind=kind))
    before = world.split()
    evidence = world.active().evidence
    world.serve(a=unit_numbers(2000), b=unit_numbers(2000, 1))
    evidence.observe(cell(world, "a"), *values([0.0] * 2000))
    evidence.observe(cell(world, "b"), *values([1.0] * 2000))
    written = world.file().read_text()
    world.conductor.tick()
    await until(lambda: world.weights()["b"] > 80)
    assert world.weights()["a"] >= 10
    after = world.split()
    assert before is not None
    assert after is not None
    assert (after.epoch, after.units) == (before.epoch, before.units)
    assert after.slots[0][1] == before.slots[0][1], "who had a and can keep it, does"
    await world.written()
    assert world.file().read_text() != written
    assert (await world.actions())[-1] == "started", "a bandit's steps are no events"


async def test_a_bandit_is_asked_and_writes_once_in_its_interval(world: World) -> None:
    await world.start(BANDIT.format(kind="thompson"))
    await until(lambda: not world.active().busy)
    asked: list[Active] = []
    world.conductor.looking._steer = counting(asked)  # type: ignore[method-assign]
    for _ in range(5):
        world.conductor.tick()
        await turns()
    assert len(asked) == 0, "it was asked at the start"
    world.active().steered_s -= 5.0
    for _ in range(5):
        world.conductor.tick()
        await turns()
    assert len(asked) == 1


def counting(asked: list[Active]) -> object:
    """Instead of a bandit."""

    async def steer(active: Active) -> None:
        asked.append(active)

    return steer


async def test_a_bandit_does_not_give_back_what_a_breach_took(world: World) -> None:
    await world.start(BANDIT.format(kind="thompson"))
    breach(world)
    world.active().evidence.observe(cell(world, "b"), *values([1.0] * 100))
    await world.conductor.looking._steer(world.active())
    assert world.weights() == {"a": 100, "b": 0}


async def test_a_bandits_word_on_a_run_that_has_ended_meanwhile_is_not_heard(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start(BANDIT.format(kind="thompson"))
    active = world.active()
    monkeypatch.setattr(looking, "steer", lambda of: {"a": 10.0, "b": 90.0})
    steering = asyncio.create_task(world.conductor.looking._steer(active))
    await asyncio.sleep(0)
    active.follow(msgspec.structs.replace(active.definition, owner="another"))
    await steering
    assert world.weights() == {"a": 50, "b": 50}


def cell(world: World, variant: str, metric: str = "good") -> CellKey:
    """Where a variant's values are counted."""
    return CellKey(in_force(world.definition()).epoch, metric, variant)


def values(of: list[float]) -> tuple[Any, Any]:
    """Values of as many units."""
    return np.arange(len(of)) % 256, np.array(of)
