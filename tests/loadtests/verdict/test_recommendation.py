"""What is recommended, over figures with intervals."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.verdict.document import Agreement, Estimate, Row
from loadtests.verdict.recommendation import recommend
from tests.loadtests.verdict.made import TARGET_MS, around, judged, row

NEAR = Agreement(1e-6, 1e-4, 1.0, 16, True)
FAR = Agreement(0.3, 1e-4, 0.5, 16, False)


@st.composite
def estimates(draw: st.DrawFn, largest: float) -> Estimate:
    low, value, high = sorted(draw(st.lists(st.floats(0.001, largest), min_size=3, max_size=3)))
    return Estimate(value, low, high)


@st.composite
def rows_of_any_kind(draw: st.DrawFn) -> list[Row]:
    found = [
        row(
            backend,
            cost=draw(st.none() | estimates(1.0)),
            p99_ms=draw(st.none() | estimates(2 * TARGET_MS)),
            highest_rate=draw(st.none() | st.just(Estimate(0, 0, 0)) | estimates(1000.0)),
            accuracy=draw(st.none() | estimates(1.0)),
            agreement=draw(st.sampled_from([None, NEAR, FAR])),
            errors=draw(st.sampled_from([None, 0.0, 0.0005, 0.01, 1.0])),
            state=draw(st.sampled_from(["measured", "measured", "not ready", "failed"])),
        )
        for backend in draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=5))
    ]
    return judged(*found)


@given(rows_of_any_kind())
def test_what_is_wrong_slow_or_not_there_is_never_recommended(rows: list[Row]) -> None:
    advice = recommend(rows, TARGET_MS)
    by_name = {each.deployment: each for each in rows}
    for name in advice.deployments:
        chosen = by_name[name]
        assert chosen.problems == ()
        assert chosen.state == "measured"
        assert chosen.agreement is not FAR
        assert (chosen.errors or 0) <= 0.001
        assert chosen.p99_ms is None or chosen.p99_ms.low <= TARGET_MS
    assert bool(advice.deployments) == any(not each.problems for each in rows)


@given(rows_of_any_kind())
def test_a_winner_is_beyond_the_intervals_of_all_that_could_serve_as_well(rows: list[Row]) -> None:
    advice = recommend(rows, TARGET_MS)
    if advice.kind != "recommended":
        return
    (name,) = advice.deployments
    chosen = next(each for each in rows if each.deployment == name)
    assert chosen.p99_ms
    assert chosen.p99_ms.high <= TARGET_MS
    able = [each for each in rows if not each.problems and each.p99_ms and each.p99_ms.high <= TARGET_MS]
    for other in (each for each in able if each is not chosen):
        if all(each.cost for each in able):
            assert chosen.cost
            assert other.cost
            assert chosen.cost.high < other.cost.low
        else:
            assert chosen.highest_rate
            assert other.highest_rate
            assert chosen.highest_rate.low > other.highest_rate.high


@given(rows_of_any_kind(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[Row], chance: random.Random) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert recommend(shuffled, TARGET_MS) == recommend(rows, TARGET_MS)


@given(rows_of_any_kind(), st.sampled_from([0.25, 2.0, 1024.0]))
def test_another_price_does_not_change_the_choice(rows: list[Row], factor: float) -> None:
    dearer = [
        msgspec.structs.replace(
            each,
            cost=each.cost and Estimate(each.cost.value * factor, each.cost.low * factor, each.cost.high * factor),
        )
        for each in rows
    ]
    one, other = recommend(rows, TARGET_MS), recommend(dearer, TARGET_MS)
    assert (one.kind, one.deployments) == (other.kind, other.deployments)


@given(rows_of_any_kind())
def test_one_more_that_answers_wrongly_does_not_change_the_choice(rows: list[Row]) -> None:
    wrong = judged(row("wrong", agreement=FAR, cost=around(0.0001), accuracy=None))
    one, other = recommend(rows, TARGET_MS), recommend([*rows, *wrong], TARGET_MS)
    if one.kind != "alone":
        assert (one.kind, one.deployments) == (other.kind, other.deployments)


def advised(*rows: Row, target_ms: float | None = TARGET_MS) -> Any:
    return recommend(judged(*rows, target_ms=target_ms), target_ms)


def test_the_cheapest_is_recommended_and_why_is_said() -> None:
    advice = advised(row("a", cost=around(0.01)), row("b", cost=around(0.03)))
    assert (advice.kind, advice.deployments) == ("recommended", ("m/1@a",))
    assert "costs the least: 0.0100 (0.00900 … 0.0110) a million requests; the next, m/1@b" in advice.reason


def test_costs_whose_intervals_overlap_leave_it_undecided_and_the_third_is_out() -> None:
    advice = advised(row("a", cost=around(0.010)), row("b", cost=around(0.011)), row("c", cost=around(0.05)))
    assert (advice.kind, advice.deployments) == ("undecided", ("m/1@a", "m/1@b"))
    assert "these intervals overlap" in advice.reason


def test_an_undecided_one_says_who_needs_less_memory() -> None:
    advice = advised(row("a", rss_bytes=400_000_000), row("b", rss_bytes=60_000_000))
    assert advice.kind == "undecided"
    assert "m/1@b needs the least memory, 60 MB" in advice.reason


def test_the_cheapest_does_not_win_with_wrong_answers() -> None:
    advice = advised(row("a", cost=around(0.001), agreement=FAR), row("b", cost=around(0.03)))
    assert advice.deployments == ("m/1@b",)


def test_who_is_surely_less_often_right_is_out_and_who_is_perhaps_is_not() -> None:
    worse = row("a", cost=around(0.001), accuracy=Estimate(0.6, 0.5, 0.7))
    near = row("c", cost=around(0.002), accuracy=Estimate(0.9, 0.7, 0.97))
    advice = advised(worse, row("b", accuracy=Estimate(1.0, 0.8, 1.0)), near)
    assert advice.deployments == ("m/1@c",)


def test_one_that_only_perhaps_keeps_the_target_gives_way_to_one_that_does_and_is_named() -> None:
    perhaps = row("a", cost=around(0.001), p99_ms=Estimate(4.0, 3.0, 6.0))
    advice = advised(perhaps, row("b", cost=around(0.03)))
    assert advice.deployments == ("m/1@b",)
    assert any("m/1@a has a lower cost" in each and "not surely keep the target" in each for each in advice.against)


def test_where_none_surely_keeps_the_target_it_is_undecided_between_all() -> None:
    perhaps = Estimate(4.0, 3.0, 6.0)
    advice = advised(row("a", p99_ms=perhaps, cost=around(0.001)), row("b", p99_ms=perhaps))
    assert (advice.kind, advice.deployments) == ("undecided", ("m/1@a", "m/1@b"))


def test_a_target_that_none_meets_recommends_none_and_names_the_fastest() -> None:
    never = {"p99_ms": None, "highest_rate": Estimate(0, 0, 0)}
    advice = advised(row("a", **never, alone_p99_ms=around(9.0)), row("b", **never, alone_p99_ms=around(7.0)))
    assert (advice.kind, advice.deployments) == ("none", ())
    assert "The fastest alone is m/1@b, p99 7.00" in advice.reason
    assert "no rate keeps its p99 within 5.00 ms" in advice.reason


def test_one_deployment_alone_is_compared_with_nothing() -> None:
    advice = advised(row("a"))
    assert (advice.kind, advice.deployments) == ("alone", ("m/1@a",))
    assert "nothing to compare" in advice.reason


def test_one_that_is_left_because_the_others_are_not_ready_is_recommended() -> None:
    advice = advised(row("a"), row("b", state="not ready", why="FAILED: no such operator"))
    assert (advice.kind, advice.deployments) == ("recommended", ("m/1@a",))


def test_without_any_deployment_none_is_recommended() -> None:
    assert recommend([], TARGET_MS).kind == "none"


def test_without_costs_the_highest_rate_decides() -> None:
    slow, fast = row("a", cost=None), row("b", cost=None, highest_rate=around(5000))
    advice = advised(slow, fast)
    assert advice.deployments == ("m/1@b",)
    assert "takes the most requests: 5,000 (4,500 … 5,500) requests/s" in advice.reason
    assert advised(slow, row("b", cost=None, highest_rate=None)).kind == "undecided"


@pytest.mark.parametrize(
    ("better", "said"),
    [
        ({"alone_p99_ms": around(0.2)}, "m/1@b has a lower p99 alone: 0.200 (0.180 … 0.220) ms, not 1.00"),
        ({"p99_ms": around(0.5)}, "lower p99 at the rate"),
        ({"highest_rate": around(9000)}, "m/1@b takes more requests: 9,000"),
        ({"rss_bytes": 10_000_000}, "m/1@b needs less memory: 10 MB, not 60 MB"),
        ({"artifact_bytes": 100}, "m/1@b has a smaller artifact"),
        ({"load_s": 0.1}, "m/1@b loads faster: 0.100 s, not 0.500 s"),
    ],
)
def test_what_others_do_better_speaks_against_the_choice(better: dict[str, Any], said: str) -> None:
    advice = advised(row("a", cost=around(0.001)), row("b", **better))
    assert advice.deployments == ("m/1@a",)
    assert [said in each for each in advice.against] == [True]


def test_a_quantized_choice_says_that_its_answers_are_coarser() -> None:
    coarse = Agreement(0.1, 0.5, 1.0, 16, True)
    advice = advised(row("a-int8", cost=around(0.001), agreement=coarse), row("a"))
    assert advice.deployments == ("m/1@a-int8",)
    assert any(
        "off by up to 0.100 of the largest value; those of m/1@a by rounding only" in each for each in advice.against
    )


def test_a_busy_machine_speaks_against_any_choice() -> None:
    advice = advised(row("a", cost=around(0.001), marks=("busy machine: 30% steal",)), row("b"))
    assert "m/1@a: busy machine: 30% steal" in advice.against
