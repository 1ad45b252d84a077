"""Promotion: by name and by itself, and what it does to labels and backends."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.conduct import looking
from gateway.errors import NotAllowed
from gateway.experiments.report import Analysis, Verdict
from tests.gateway.conduct.acts import analysis, breach, refused
from tests.gateway.conduct.world import TWO, World
from tests.waiting import until


@pytest.mark.parametrize(
    ("allowed", "said", "promoted"),
    [
        ("true", analysis(), True),
        ("false", analysis(), False),
        ("true", analysis(Verdict.SAME), False),
        ("true", analysis(alarm=True), False),
    ],
)
async def test_only_what_is_better_beyond_doubt_is_promoted_by_itself_and_only_where_it_may(
    world: World, monkeypatch: pytest.MonkeyPatch, allowed: str, said: Analysis, promoted: bool
) -> None:
    monkeypatch.setattr(looking, "analyse", lambda active: said)
    await world.start(f"promote = {allowed}\n{TWO}")
    world.serve(a=[1], b=[2])
    for _ in range(3):
        active = world.conductor.roster.of(("m", "x"))
        assert active is not None
        await world.conductor.looking._look(active)
        await world.look()
    assert world.plane.registry.tables["m"].labels == ({"stable": 2} if promoted else {})
    assert (await world.actions()).count("promoted") == promoted
    assert (world.definition().winner, world.definition().state == "stopped") == (
        ("b", True) if promoted else ("", False)
    )


async def test_a_variant_that_was_breached_is_not_promoted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "analyse", lambda active: analysis())
    await world.start(f"promote = true\n{TWO}")
    breach(world)
    await world.conductor.looking._look(world.active())
    assert world.plane.registry.tables["m"].labels == {}


async def test_a_promotion_that_fails_is_a_problem(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "analyse", lambda active: analysis())
    await world.start(f"promote = true\n{TWO}")
    world.plane.write("m/labels.toml", "wrong")
    world.serve(a=[1], b=[2])
    await world.conductor.looking._look(world.active())
    assert "b is better, and could not be promoted: " in world.conductor.problems(("m", "x"))[0]


async def test_what_is_promoted_is_what_unpinned_requests_get(tmp_path: Path) -> None:
    world = World(tmp_path / "here")
    async with world.running():
        await world.start()
        ended = await world.desk.promote("m", "x", "a", "ann")
        assert (ended.state, ended.winner, ended.reason) == ("stopped", "a", "label stable: none -> 1")
        assert await world.plane.ask() == "one"
        again = await world.desk.promote("m", "x", "b", "ann")
        assert (again.winner, again.ended) == ("b", ended.ended)
        assert await world.plane.ask() == "two"


async def test_where_variants_differ_in_their_backends_the_promoted_one_comes_first(tmp_path: Path) -> None:
    world = World(tmp_path / "here", backends=("onnxruntime", "tflite"))
    async with world.running():
        world.plane.write("m/model.toml", '# ours\nversions = "all"\n')
        world.plane.publish("m/2", "lite", "model.tflite")
        await until(lambda: world.plane.state("m/2@tflite") == "READY")
        await world.start(TWO.replace('"m/1"', '"m/2@onnxruntime"').replace('"m/2"', '"m/2@tflite"'))
        ended = await world.desk.promote("m", "x", "b", "ann")
        assert ended.reason == "label stable: none -> 2; model.toml: backend tflite comes first"
        assert (world.plane.root / "m/model.toml").read_text().startswith("# ours")
        assert await world.plane.ask() == "lite"


async def test_a_variant_of_a_backend_that_wins_comes_before_the_plain_one(tmp_path: Path) -> None:
    world = World(tmp_path / "here", backends=("onnxruntime", "tflite"))
    async with world.running():
        world.plane.publish("m/2", "small", "model.int8.tflite")
        world.plane.publish("m/2", "lite", "model.tflite")
        await until(lambda: {world.plane.state(f"m/2@tflite{each}") for each in ("", "-int8")} == {"READY"})
        await world.start(TWO.replace('"m/1"', '"m/2@tflite"').replace('"m/2"', '"m/2@tflite-int8"'))
        await world.desk.promote("m", "x", "b", "ann")
        assert await world.plane.ask() == "small"
        assert world.plane.state("m/2@tflite") == "READY"


async def test_a_promotion_whose_experiment_cannot_be_ended_says_what_was_done(world: World) -> None:
    await world.start()
    with refused(world), pytest.raises(NotAllowed, match=r"label stable: none -> 2; but experiment m/x could not be"):
        await world.desk.promote("m", "x", "b", "ann")
