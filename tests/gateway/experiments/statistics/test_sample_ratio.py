import math

import numpy as np
import pytest

from gateway.experiments.evidence import Split
from gateway.experiments.statistics.sample_ratio import sample_ratio

_EVEN = {"a": 50.0, "b": 50.0}


def test_a_fair_split_raises_no_alarm():
    found = sample_ratio([Split(_EVEN, {"a": 5_030, "b": 4_970})])
    assert not found.alarm
    assert found.p_value == 1.0
    assert found.expected == {"a": 5_000, "b": 5_000}
    assert found.observed == {"a": 5_030, "b": 4_970}


def test_a_variant_that_loses_a_tenth_of_its_traffic_is_found():
    found = sample_ratio([Split(_EVEN, {"a": 10_000, "b": 9_000})])
    assert found.alarm
    assert found.words.startswith("a got 10,000 of 19,000 where its weight makes 9,500 (p ")


def test_weights_may_change_in_between():
    fair = [Split({"a": 95, "b": 5}, {"a": 9_500, "b": 500}), Split({"a": 1, "b": 1}, {"a": 4_950, "b": 5_050})]
    assert not sample_ratio(fair).alarm
    assert sample_ratio([Split({"a": 1, "b": 1}, {"a": 14_450, "b": 5_550})]).alarm


def test_a_small_mismatch_adds_up_over_many_changes():
    split = [Split({"a": 60, "b": 40}, {"a": 540, "b": 400}), Split({"a": 40, "b": 60}, {"a": 360, "b": 600})]
    assert not sample_ratio(split).alarm
    assert sample_ratio(split * 10).alarm


def test_splits_of_the_same_weights_are_worth_what_one_is():
    one = sample_ratio([Split(_EVEN, {"a": 3_000, "b": 2_700})])
    parts = [
        Split(_EVEN, {"a": 1_000, "b": 900}),
        Split(_EVEN, {"a": 500, "b": 600}),
        Split(_EVEN, {"a": 1_500, "b": 1_200}),
    ]
    assert sample_ratio(parts).p_value == pytest.approx(one.p_value)
    assert one.p_value < 1


def test_what_has_no_weight_takes_no_part():
    found = sample_ratio([Split({"a": 100, "b": 0}, {"a": 1_000, "b": 3})])
    assert found.observed == {"a": 1_000}
    assert not found.alarm


def test_nothing_seen_is_no_alarm():
    assert sample_ratio([]).p_value == 1.0
    assert sample_ratio([Split(_EVEN, {})]).p_value == 1.0


def test_the_evidence_is_a_martingale():
    """On average over all next assignments, what is known now is what will be known."""
    before = {"a": 310, "b": 250}
    now = 1 / sample_ratio([Split(_EVEN, before)]).p_value
    after = [1 / sample_ratio([Split(_EVEN, {**before, name: before[name] + 1})]).p_value for name in before]
    assert sum(after) / 2 == pytest.approx(now, rel=1e-9)
    assert not math.isclose(after[0], after[1])


def test_fair_splits_hardly_ever_raise_an_alarm():
    generator = np.random.default_rng(7)
    alarms = 0
    for _ in range(300):
        chosen = np.cumsum(generator.random(4_000) < 0.3)[199::200]
        looks = [{"a": 200 * (at + 1) - int(b), "b": int(b)} for at, b in enumerate(chosen)]
        alarms += any(sample_ratio([Split({"a": 70, "b": 30}, each)]).alarm for each in looks)
    assert alarms <= 2
