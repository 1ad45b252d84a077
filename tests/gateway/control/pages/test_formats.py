"""How numbers, times and changes are written."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from gateway.control.pages import formats
from gateway.experiments.definition import ERRORS, LATENCY, Better, Kind, Metric
from gateway.experiments.report import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0, "0"),
        (12345, "12,345"),
        (12345.6, "12,346"),
        (12.345, "12.3"),
        (0.9, "0.900"),
        (-0.001234, "−0.00123"),
        (7.6e-8, "7.60e−08"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_have_three_digits_that_count(value: float | None, text: str) -> None:
    assert formats.number(value) == text


def test_a_probability_is_never_rounded_to_nothing_or_to_certainty() -> None:
    assert [formats.probability(each) for each in (None, 0.0, 0.0421, 0.9999, 1.0)] == [
        "–",
        "< 0.001",
        "0.042",
        "> 0.999",
        "1.000",
    ]


def test_times_are_in_utc_wherever_they_come_from() -> None:
    east = timezone(timedelta(hours=2))
    assert formats.moment(datetime(2026, 12, 1, 11, 0, tzinfo=east)) == "2026-12-01 09:00:00"
    assert formats.moment(datetime(2026, 12, 1, 9, 0)) == "2026-12-01 09:00:00"
    assert formats.moment(datetime(2026, 12, 1, 9, 0, tzinfo=UTC)) == "2026-12-01 09:00:00"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.4, "0 s"), (90, "90 s"), (5400, "90 min"), (86_400, "24 h"), (3e5, "3 d")]
)
def test_how_long_something_takes_is_told_roughly(seconds: float | None, text: str) -> None:
    assert formats.duration(seconds) == text


def test_shares_are_percent_and_their_differences_points() -> None:
    units = formats.units(Metric(ERRORS, Kind.BINARY, Better.LOWER, 0.01))
    assert units.value(0.0123) == "1.23 %"
    assert units.difference(0.004) == "+0.400 points"
    assert units.difference(-0.004) == "−0.400 points"
    assert units.interval(Estimate(0.01, None, 0.02)) == "−∞ … 2.00"


def test_latencies_are_milliseconds_and_other_values_have_no_unit() -> None:
    assert formats.units(Metric(LATENCY, Kind.QUANTILE, Better.LOWER, 0.05)).difference(1.5) == "+1.50 ms"
    assert formats.units(Metric("revenue", Kind.MEAN, Better.HIGHER, 0.05)).value(1.5) == "1.50"


def test_an_unknown_estimate_is_a_dash() -> None:
    units = formats.units(Metric(LATENCY, Kind.QUANTILE, Better.LOWER, 0.05))
    assert (units.value(None), units.difference(None), units.interval(Estimate(None, None, None))) == ("–", "–", "–")


def test_changes_name_what_was_and_what_is() -> None:
    before = {"weights": {"a": 90.0, "b": 10.0}, "owner": "ml", "state": "draft"}
    after = {"weights": {"a": 50.0, "b": 50.0}, "owner": "ml", "winner": "b"}
    assert formats.changes(before, after) == [
        "weights: a 90, b 10 → a 50, b 50",
        "state: draft → –",
        "winner: b",
    ]


def test_a_long_change_is_cut() -> None:
    [change] = formats.changes({}, {"description": "x" * 5000})
    assert len(change) < 300


def test_what_torii_keeps_for_itself_is_not_told() -> None:
    current = {
        "declared": {"a": 50.0},
        "weights": {"a": 5.0},
        "slots": [[1, "a"]],
        "epoch": 3,
        "since": "now",
        "step": 0,
    }
    after = {"current": current, "started": "2026-12-01T09:00:00Z"}
    assert formats.changes({"current": None}, after) == ["current: weights a 5, step 0"]
    assert formats.changes({"current": {**current, "epoch": 2}}, after) == []
