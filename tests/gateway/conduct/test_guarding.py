"""Guardrails: a variant that breaks one loses its traffic, at once, lastingly, and with its reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from gateway.conduct.weights import changed, in_force
from gateway.experiments.files import read_experiment
from gateway.experiments.recording import ShadowIncrement
from tests.gateway.conduct.acts import BANDIT, FAILURES, RAMP, breach, refused
from tests.gateway.conduct.world import TWO, World, increment, unit_numbers
from tests.waiting import turns


async def test_a_breach_sends_traffic_to_control_before_anything_is_written(world: World) -> None:
    await world.start()
    breach(world)
    assert world.weights() == {"a": 100, "b": 0}  # and no other task has run
    assert "error_rate" not in world.file().read_text()
    await world.written()
    await world.look()
    kept = read_experiment(world.file().read_text(), "m", "x", "x").current
    assert kept is not None
    assert kept.weights == {"a": 100, "b": 0}
    assert kept.reason.startswith("b: error_rate: 40 of 40 requests failed")
    event = (await world.desk.events("m", "x"))[0]
    assert (event.action, event.who) == ("guardrail", "torii")
    assert event.reason.startswith("error_rate: 40 of 40")
    assert event.before["current"]["weights"] == {"a": 50, "b": 50}
    assert event.after["current"]["weights"] == {"a": 100, "b": 0}


async def test_a_breach_lasts_while_an_older_look_at_the_files_is_the_latest(world: World) -> None:
    await world.start()
    older = world.plane.control.snapshot
    breach(world)
    await world.written()
    world.plane.control.snapshot = older
    world.conductor.tick()
    assert world.weights() == {"a": 100, "b": 0}


async def test_a_breach_that_cannot_be_written_counts_is_a_problem_and_is_written_later(world: World) -> None:
    world.conductor.writing._again_s = 0.0
    await world.start()
    with refused(world):
        breach(world)
        await turns()
        world.conductor.writing._again_s = 3600.0
        await world.written()
        await world.look()
        assert world.weights() == {"a": 100, "b": 0}
        (problem,) = (await world.desk.view("m", "x")).problems
        assert "Read-only file system; what was decided counts all the same" in problem
    world.conductor.writing._not_before_s.clear()
    await world.look()
    await world.written()
    assert (await world.desk.view("m", "x")).problems == ()
    assert "error_rate" in world.file().read_text()


async def test_a_breach_outlasts_a_restart(tmp_path: Path) -> None:
    first = World(tmp_path / "first")
    async with first.running():
        await first.start()
        breach(first)
        await first.written()
    second = World(tmp_path / "second", first.plane.root, first.store)
    async with second.running():
        assert second.weights() == {"a": 100, "b": 0}


async def test_another_gateway_goes_by_a_breach_and_not_by_its_own_later_step(tmp_path: Path) -> None:
    here = World(tmp_path / "here")
    async with here.running():
        await here.start(RAMP)
        there = World(tmp_path / "there", here.plane.root, writer="there")
        async with there.running():
            breach(here)
            await here.written()
            behind = there.definition()
            step = changed(behind, in_force(behind), {"a": 50.0, "b": 50.0}, since=datetime.now(UTC), step=1)
            there.conductor.decide(there.active(), step, "ramp", "step 2")
            await there.written()
            await there.look()
            assert there.weights() == {"a": 100, "b": 0}
        assert "error_rate" in here.file().read_text()


async def test_people_resume_what_was_breached_by_setting_its_weights(world: World) -> None:
    await world.start()
    breach(world)
    await world.written()
    await world.desk.set("m", "x", {"weights": {"a": 50, "b": 50}}, "ann")
    assert world.weights() == {"a": 50, "b": 50}
    world.serve(a=unit_numbers(40))
    assert world.weights() == {"a": 50, "b": 50}
    breach(world)
    assert world.weights() == {"a": 100, "b": 0}


async def test_a_stop_is_not_undone_by_a_breach_that_is_written_later(world: World) -> None:
    await world.start()
    with refused(world):
        breach(world)
        await world.written()
    await world.desk.stop("m", "x", "ann")
    world.conductor.writing._not_before_s.clear()
    await world.look()
    await world.written()
    await world.look()
    assert world.definition().state == "stopped"
    assert 'state = "stopped"' in world.file().read_text()


async def test_what_was_decided_is_not_written_into_a_new_file_of_the_name(world: World) -> None:
    await world.start()
    with refused(world):
        breach(world)
        await world.written()
    world.file().unlink()
    await world.look()
    assert (await world.write(TWO)).state == "draft"
    world.conductor.writing._not_before_s.clear()
    await world.look()
    await world.written()
    assert world.file().read_text() == TWO


async def test_few_failures_long_ago_are_seen_together_where_there_is_little_traffic(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    now = [1000.0]
    monkeypatch.setattr("gateway.conduct.conductor.time.monotonic", lambda: now[0])
    for _ in range(4):
        assert world.weights() == {"a": 50, "b": 50}
        now[0] += 60.0
        world.serve(b=[None])
    assert world.weights() == {"a": 100, "b": 0}


async def test_old_failures_do_not_count_where_there_is_traffic_since(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start(f"{TWO}[guardrails]\nerror_rate = 0.2\n")
    now = [1000.0]
    monkeypatch.setattr("gateway.conduct.conductor.time.monotonic", lambda: now[0])
    world.serve(b=[*unit_numbers(45), *[None] * 9])
    now[0] += 11.0
    world.serve(b=[*unit_numbers(45), *[None] * 9])
    assert world.active().windows["b"].failed == 9
    now[0] += 11.0
    world.serve(a=[1])
    assert world.active().windows["b"].requests == 54, "there are none that are newer"


async def test_evidence_of_earlier_weights_breaks_no_guardrail(world: World) -> None:
    await world.start()
    early = increment(1, 0, a=unit_numbers(40), b=FAILURES)
    await world.desk.set("m", "x", {"weights": {"a": 60, "b": 40}}, "ann")
    world.conductor.take([early])
    assert world.weights() == {"a": 60, "b": 40}
    assert world.active().evidence.requests(0) == {"a": 40, "b": 40}


async def test_a_bandits_changes_do_not_have_guardrails_begin_anew(world: World) -> None:
    await world.start(BANDIT.format(kind="thompson") + "sticky = true\n")
    world.serve(b=[None, None])
    current = in_force(world.definition())
    moved = msgspec.structs.replace(current, since=datetime.now(UTC))
    world.conductor.decide(world.active(), moved, "", "")
    world.serve(b=[None, None])
    assert world.weights()["b"] == 0


async def test_a_shadow_that_disagrees_is_noted_once(world: World) -> None:
    shadow = f'{TWO}[shadow]\ntarget = "m/2@onnxruntime"\n[guardrails]\ndisagreement = 0.01\n'
    await world.start(shadow)
    world.serve(shadow=ShadowIncrement(50, 0, 0, 0))
    world.serve(shadow=ShadowIncrement(50, 50, 0, 0))
    world.serve(shadow=ShadowIncrement(50, 50, 0, 0))
    assert world.weights() == {"a": 50, "b": 50}
    assert (await world.actions()).count("guardrail") == 1
    assert (await world.desk.view("m", "x")).shadow.disagreed == 100  # type: ignore[union-attr]


async def test_a_shadow_that_disagrees_and_is_a_variant_loses_its_traffic(world: World) -> None:
    await world.start(f'{TWO}[shadow]\ntarget = "m/2"\n[guardrails]\ndisagreement = 0.01\n')
    world.serve(shadow=ShadowIncrement(50, 50, 0, 0))
    assert world.weights() == {"a": 100, "b": 0}
    await world.desk.set("m", "x", {"weights": {"a": 50, "b": 50}}, "ann")
    world.serve(shadow=ShadowIncrement(50, 0, 0, 0))
    assert world.weights() == {"a": 50, "b": 50}
    world.serve(shadow=ShadowIncrement(50, 50, 0, 0))
    assert world.weights() == {"a": 100, "b": 0}
