"""Costs, targets and the small sums around them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.run.search import Found
from loadtests.verdict.candidates import Candidate
from loadtests.verdict.costs import by_cpu, by_rate, typical
from loadtests.verdict.document import Estimate
from loadtests.verdict.figures import priced
from loadtests.verdict.targets import common_rate, latency_target_ms
from tests.loadtests.verdict.made import around, row


def test_a_millisecond_of_cpu_a_request_is_a_core_for_a_thousand_seconds_a_million() -> None:
    cost = by_cpu(Estimate(1.0, 0.5, 2.0), price_per_core_hour=0.36)
    assert cost.value == pytest.approx(0.1)
    assert (cost.low, cost.high) == (pytest.approx(0.05), pytest.approx(0.2))


def test_a_rate_on_all_cores_costs_the_more_the_lower_it_is() -> None:
    cost = by_rate(Estimate(1000.0, 500.0, 2000.0), cores=4, price_per_core_hour=0.09)
    assert cost
    assert cost.value == pytest.approx(0.1)
    assert (cost.low, cost.high) == (pytest.approx(0.05), pytest.approx(0.2))


def test_a_rate_that_may_be_nothing_has_no_cost() -> None:
    assert by_rate(Estimate(10.0, 0.0, 20.0), 2, 0.05) is None


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=12))
def test_the_typical_value_lies_among_the_values_and_in_its_interval(values: list[float]) -> None:
    found = typical(values)
    assert found
    assert min(values) * (1 - 1e-9) <= found.value <= max(values) * (1 + 1e-9)
    assert found.low <= found.value <= found.high
    assert math.isfinite(found.high)


def test_one_measurement_has_no_interval_and_nothing_is_no_measurement() -> None:
    assert typical([1.0]) is None
    assert typical([1.0, 0.0]) is None


def test_students_interval_is_that_of_the_tables() -> None:
    found = typical([math.exp(each) for each in (1.0, 2.0, 3.0)])
    assert found
    assert math.log(found.high) - 2.0 == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)


@given(st.lists(st.floats(0.01, 10_000), min_size=1, max_size=5))
def test_a_target_that_nobody_gave_is_one_that_all_can_keep(alone: list[float]) -> None:
    target = latency_target_ms([around(each) for each in alone])
    assert target
    assert 2 * max(alone) <= target * (1 + 1e-6)
    assert target <= 5.01 * max(alone)


def test_without_anything_measured_there_is_no_target_and_no_rate() -> None:
    assert latency_target_ms([]) is None
    assert common_rate([]) is None
    assert common_rate([Estimate(0, 0, 0)]) is None


@given(st.lists(st.floats(1, 1e6), min_size=1, max_size=5))
def test_the_common_rate_is_one_that_the_weakest_takes_twice(rates: list[float]) -> None:
    found = common_rate([around(each) for each in rates] + [Estimate(0, 0, 0)])
    assert found
    assert 0.4 * min(rates) <= found <= min(rates) / 2 * (1 + 1e-9)


def test_a_highest_rate_spans_what_was_kept_and_what_was_broken_in_any_round() -> None:
    candidate = Candidate("m/1@a", {}, found=[Found(100.0, 110.0), Found(102.0, 125.0), Found(101.0, None)])
    found = candidate.highest_rate(precision=0.05)
    assert found
    assert found.value == pytest.approx(101.0, rel=0.01)
    assert found.low <= 100.0
    assert found.high >= 125.0


def test_a_highest_rate_that_a_round_did_not_find_may_be_nothing() -> None:
    candidate = Candidate("m/1@a", {}, found=[Found(100.0, 110.0), Found(None, 3.0)])
    found = candidate.highest_rate(0.05)
    assert found
    assert found.low == 0.0
    never = Candidate("m/1@a", {}, found=[Found(None, 3.0), Found(None, None)]).highest_rate(0.05)
    assert never == Estimate(0, 0, 0)


def test_a_price_of_nothing_leaves_costs_unknown_and_so_the_rate_decides() -> None:
    rows = [row("a", cost=None), row("b", cost=None)]
    assert [each.cost for each in priced(rows, cores=2, price=0.0)] == [None, None]
    assert all(each.cost for each in priced(rows, cores=2, price=0.05))


def test_a_rate_that_was_kept_by_chance_is_not_ruled_out_by_searches_that_found_none() -> None:
    candidate = Candidate("m/1@a", {}, found=[Found(None, 3.0), Found(None, 3.0)], kept=500.0)
    assert candidate.highest_rate(0.05) == Estimate(0, 0, 500.0)
