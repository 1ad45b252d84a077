"""Outcomes: attributed by request and by unit, counted once, within bounds, with and without a store."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.conduct.effective import salt
from gateway.conduct.outcomes import Outcomes
from gateway.errors import Overloaded
from gateway.experiments.assignment import hash_unit
from gateway.experiments.report import Outcome, Receipt
from gateway.experiments.tokens import hash_run, make_token
from gateway.types import BY_CHANCE
from tests.gateway.conduct.world import TWO, World

METRICS = f"""{TWO}
[metrics.good]
kind = "binary"
[metrics.price]
kind = "mean"
low = 0
high = 10
[metrics.size]
kind = "quantile"
[metrics.bought]
kind = "conversion"
"""


def number_of(world: World, unit: str, name: str = "x") -> int:
    """What stands for a unit."""
    return hash_unit(salt(world.definition(name)), unit.encode()).number


def token(world: World, number: int, arm: int = 1, run: int = 1, epoch: int | None = None, age_s: float = 0.0) -> str:
    """The id of a request that was assigned some time ago."""
    split = world.split()
    epoch = epoch if epoch is not None else split.epoch if split else 0
    made = make_token(world.conductor.keys.current, hash_run("m/x", run), arm, epoch, number)
    if not age_s:
        return made.decode()
    clock, time.time = time.time, lambda: clock() - age_s
    try:
        return make_token(world.conductor.keys.current, hash_run("m/x", run), arm, epoch, number).decode()
    finally:
        time.time = clock


def unit(name: str, metric: str = "good", value: float = 1.0, **other: Any) -> Outcome:
    """An outcome of a unit."""
    return Outcome(metric=metric, value=value, experiment=other.pop("experiment", "m/x"), unit=name, **other)


def request(token: str, metric: str = "good", value: float = 1.0, **other: Any) -> Outcome:
    """An outcome of a request."""
    return Outcome(metric=metric, value=value, request=token, **other)


def seen(world: World, metric: str = "good") -> dict[str, tuple[int, float]]:
    """Of each variant, how many values there are of a metric, and their sum."""
    cells = world.active().evidence.totals(metric)
    return {variant: (cell.values, float(cell.total.sum())) for variant, cell in cells.items() if cell.values}


async def report(world: World, *outcomes: Outcome) -> tuple[int, int, list[str]]:
    """Accepted, duplicates, and why others are refused."""
    receipt = await world.desk.report(outcomes, "ann")
    return receipt.accepted, receipt.duplicates, [each.error for each in receipt.refused]


@pytest.fixture
async def asked(world: World) -> World:
    """An experiment that runs, whose unit u0 … u9 got a, and v0 … v9 b."""
    await world.start(METRICS)
    await world.conductor.keys.agree()
    world.serve(
        a=[number_of(world, f"u{each}") for each in range(10)],
        b=[number_of(world, f"v{each}") for each in range(10)],
    )
    return world


async def test_outcomes_of_requests_and_units_count_for_their_variants(asked: World) -> None:
    told = await report(
        asked,
        request(token(asked, 5, arm=0), value=0.0),
        request(token(asked, BY_CHANCE | 7), "price", 2.5),
        unit("u1"),
        unit("v1", "size", 300.0),
        unit("v1", "price", 1.5),
    )
    assert told == (5, 0, [])
    assert seen(asked) == {"a": (2, 1.0)}
    assert seen(asked, "price") == {"b": (2, 4.0)}
    assert asked.active().evidence.totals("size")["b"].histogram is not None
    assert (await asked.desk.view("m", "x")).counters["outcomes"] == 5


async def test_an_outcome_may_come_before_its_request_was_passed_on(asked: World) -> None:
    asked.uncollected.append(asked.increment(b=[number_of(asked, "new")]))
    assert await report(asked, unit("new")) == (1, 0, [])
    assert seen(asked) == {"b": (1, 1.0)}


async def test_units_of_long_ago_are_found_in_the_store(tmp_path: Path) -> None:
    first = World(tmp_path / "first")
    async with first.running():
        await first.start(METRICS)
        first.serve(b=[number_of(first, "v")])
    second = World(tmp_path / "second", first.plane.root, first.store)
    async with second.running():
        await second.conductor.save()
        assert await report(second, unit("v")) == (1, 0, [])
        assert seen(second) == {"b": (1, 1.0)}


async def test_what_came_before_by_key_or_by_request_does_not_count_again(asked: World) -> None:
    one, other = token(asked, 5), token(asked, 5)
    first = [request(one), request(one, key="k"), unit("u1", key="u"), request(other), request(one, "price", 1.0)]
    assert await report(asked, *first) == (5, 0, [])
    assert await report(asked, request(one), unit("u1", key="u"), unit("u2", key="u")) == (0, 3, [])
    assert await report(asked, request(other, key="k")) == (0, 1, [])
    assert await report(asked, unit("u1"), unit("u1")) == (2, 0, []), "these are told apart by nothing"
    assert seen(asked)["b"] == (3, 3.0)


async def test_what_comes_twice_in_one_body_counts_once(asked: World) -> None:
    one = token(asked, 5)
    assert await report(asked, request(one), request(one), unit("u1", key="u"), unit("u1", key="u")) == (2, 2, [])
    assert seen(asked) == {"a": (1, 1.0), "b": (1, 1.0)}


async def test_a_unit_converts_once_and_in_the_epoch_in_which_it_was_exposed_first(asked: World) -> None:
    await asked.conductor.save()
    await asked.desk.set("m", "x", {"weights": {"a": 40, "b": 60}}, "ann")
    asked.serve(b=[number_of(asked, "v1"), number_of(asked, "new")])
    await asked.conductor.save()
    bought = [unit("v1", "bought", 0.0), unit("v1", "bought"), unit("v1", "bought"), unit("new", "bought")]
    assert await report(asked, *bought) == (3, 1, [])
    by_request = request(token(asked, number_of(asked, "v2"), epoch=1), "bought")
    assert await report(asked, by_request, unit("v1", "bought"), unit("v2", "bought")) == (1, 2, [])
    strata = asked.active().evidence.observations().metrics["bought"]
    counts = [{name: (cell.values, cell.total.sum()) for name, cell in each.items()} for each in strata]
    assert counts == [{"a": (10, 0), "b": (10, 2)}, {"b": (1, 1)}]


async def test_an_outcome_has_to_come_within_its_time(asked: World) -> None:
    await asked.desk.set("m", "x", {"attribution_s": 100}, "ann")
    now = datetime.now(UTC)
    told = await report(
        asked,
        request(token(asked, 5, age_s=99)),
        request(token(asked, 5, age_s=200)),
        request(token(asked, 5), at=now + timedelta(seconds=120)),
        request(token(asked, 5), at=now - timedelta(seconds=120)),
        unit("u1", at=now + timedelta(seconds=30)),
        unit("u1", at=now + timedelta(seconds=120)),
        unit("u1", at=now - timedelta(seconds=120)),
    )
    assert told[0] == 2
    late, ahead, early, unit_ahead, unit_early = told[2]
    assert "s after the request, and attribution_s is 100" in late
    assert ahead == unit_ahead == "at: it is in the future"
    assert early == "at: it is before the request"
    assert "no request of it took part in m/x within the 100 s before" in unit_early


async def test_a_unit_is_out_of_time_after_its_last_request(asked: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await asked.desk.set("m", "x", {"attribution_s": 100}, "ann")
    exposed = asked.active().evidence.exposures.find(number_of(asked, "u1"))
    assert exposed is not None
    exposed.first_at -= 500
    exposed.last_at -= 90
    assert (await report(asked, unit("u1")))[0] == 1
    exposed.last_at -= 20
    assert (await report(asked, unit("u1")))[0] == 0


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (unit("u1", experiment="m/y"), "got 'm/y'"),
        (unit("u1", experiment="m"), "experiment: expected MODEL/NAME"),
        (unit("nobody"), "unit 'nobody': no request of it took part in m/x"),
        (unit("u1", "bad"), "metric 'bad': expected one of the outcomes of m/x: good, price, size, bought"),
        (unit("u1", "latency_ms"), "metric 'latency_ms': expected one of"),
        (unit("u1", value=math.nan), "value: expected a finite number"),
        (unit("u1", value=math.inf), "value: expected a finite number"),
        (unit("u1", value=0.5), "value: expected 0 or 1, since good is binary, got 0.5"),
        (unit("u1", "bought", 2.0), "value: expected 0 or 1, since bought is conversion, got 2"),
        (unit("u1", "price", -1.0), r"value: expected 0\.\.10, got -1"),
        (unit("u1", "price", 11.0), r"value: expected 0\.\.10, got 11"),
        (request("x" * 48), "request: expected the torii-request-id of an answer"),
        (request(""), "request: expected the torii-request-id of an answer"),
    ],
)
async def test_what_does_not_count_is_refused_with_its_reason(asked: World, outcome: Outcome, error: str) -> None:
    accepted, _, (found,) = await report(asked, outcome)
    assert accepted == 0
    assert error.replace("\\", "") in found
    assert seen(asked) == {}


async def test_what_is_refused_is_named_by_its_place_and_the_rest_counts(asked: World) -> None:
    receipt: Receipt = await asked.desk.report(
        [unit("nobody"), unit("u1"), unit("u1", "bad"), unit("v1", key="k"), unit("v1", key="k")], "ann"
    )
    assert [each.index for each in receipt.refused] == [0, 2]
    assert (receipt.accepted, receipt.duplicates, receipt.sampled_out) == (2, 1, 0)


async def test_requests_of_a_run_that_has_ended_count_for_that_and_not_for_the_next(asked: World) -> None:
    late = token(asked, 5)
    await asked.desk.stop("m", "x", "ann")
    assert (await report(asked, request(late), unit("v1")))[0] == 2
    ended = asked.conductor.roster.of(("m", "x"), 1)
    await asked.desk.start("m", "x", "ann")
    assert (await report(asked, request(late, "price", 1.0)))[0] == 1
    assert ended is not None
    assert ended.evidence.totals("price")["b"].values == 1
    assert seen(asked, "price") == {}


async def test_requests_of_a_run_that_ended_before_a_restart_count(tmp_path: Path) -> None:
    first = World(tmp_path / "first")
    async with first.running():
        await first.start(METRICS)
        await first.conductor.keys.agree()
        late = token(first, 5)
        await first.desk.stop("m", "x", "ann")
    second = World(tmp_path / "second", first.plane.root, first.store)
    async with second.running():
        await second.conductor.keys.agree()
        assert (await report(second, request(late)))[0] == 1
        assert (await second.desk.view("m", "x")).counters["outcomes"] == 1


async def test_requests_of_another_experiment_by_that_name_are_refused(asked: World) -> None:
    (error,) = (await report(asked, request(token(asked, 5, run=9))))[2]
    assert "gone, and another one came" in error


async def test_ids_that_were_made_before_the_store_said_with_which_key_stay_valid(world: World) -> None:
    await world.write(f'state = "running"\n{METRICS}')  # by hand: a start by name has the store asked first
    await world.look()
    early = token(world, 5)
    before = world.split()
    await world.conductor.save()
    await world.look()
    after = world.split()
    assert before is not None
    assert after is not None
    assert before.token_key != after.token_key
    assert (await report(world, request(early), request(token(world, 6))))[0] == 2


async def test_units_are_refused_where_every_request_is_assigned_by_itself(world: World) -> None:
    await world.start(f"units = []\n{METRICS}")
    (error,) = (await report(world, unit("u1")))[2]
    assert "assigns every request by itself" in error


async def test_ten_thousand_at_once_count_and_let_others_have_their_turn(asked: World) -> None:
    many = [request(token(asked, number)) for number in range(5000)]
    many += [unit(f"u{number % 10}", key=f"k{number}") for number in range(5000)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    running = asyncio.create_task(other())
    assert await report(asked, *many) == (10_000, 0, [])
    running.cancel()
    assert turns >= 10
    assert seen(asked) == {"a": (5000, 5000.0), "b": (5000, 5000.0)}


async def test_many_that_need_no_store_let_others_have_their_turn(asked: World) -> None:
    counting = asyncio.create_task(report(asked, *[unit("u1")] * 5000))
    turns = 0
    while not counting.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 5
    assert await counting == (5000, 0, [])


async def test_under_pressure_whole_units_are_left_out_and_that_is_said(asked: World) -> None:
    pressed = Outcomes(asked.keeper, asked.conductor, asked._collect, pressed=500)
    many = [request(token(asked, _spread(number)), value=value) for number in range(1000) for value in (0.0, 1.0)]
    receipt = await pressed.report(many)
    assert 300 < receipt.accepted < 700
    assert receipt.accepted + receipt.sampled_out == 2000
    assert (await asked.desk.view("m", "x")).counters["sampled_out"] == receipt.sampled_out
    count, ones = seen(asked)["b"]
    assert ones == count / 2


def _spread(number: int) -> int:
    return number * 0x9E3779B97F4A7C15 >> 8 & (1 << 63) - 1


async def test_more_than_can_wait_is_refused_as_a_whole(asked: World) -> None:
    full = Outcomes(asked.keeper, asked.conductor, asked._collect, full=2)
    with pytest.raises(Overloaded):
        await full.report([unit("u1")] * 3)
    assert (await full.report([unit("u1")] * 2)).accepted == 2
    assert (await full.report([unit("u1")] * 2)).accepted == 2


async def test_without_a_store_what_needs_none_counts_and_the_rest_is_refused_with_words(asked: World) -> None:
    asked.keeper.trouble = "the disk is gone"
    outcomes: Sequence[Outcome] = [
        unit("u1"),
        unit("v1", "price", 2.0),
        unit("u1", key="k"),
        unit("u1", "bought"),
        unit("nobody"),
        request(token(asked, 5)),
    ]
    receipt = await asked.desk.report(outcomes, "ann")
    assert receipt.accepted == 2
    assert [each.index for each in receipt.refused] == [2, 3, 4, 5]
    assert all("the store fails: the disk is gone" in each.error for each in receipt.refused)
    asked.keeper.trouble = ""
    assert (await report(asked, *outcomes[2:4]))[0] == 2
    assert seen(asked) == {"a": (2, 2.0)}
