from __future__ import annotations

import math

import pytest

from loadtests.run.latencies import failures, latencies, measured, succeeded
from tests.loadtests.run.made import part, run


def test_what_is_slower_than_a_bound_is_counted() -> None:
    found = latencies([part(1, {"a": [1, 2, 3], "b": [50.1]}), part(2, {"a": [4, 100]})])
    assert found.queries == 6
    assert (found.above(3.5), found.above(50), found.above(1000)) == (3, 2, 0)
    assert latencies([part(1, {"a": [1], "b": [9, 9]})], served_by="b").queries == 2


def test_the_slowest_are_told_within_a_thousandth_and_never_too_low() -> None:
    found = latencies([part(1, {"a": [1, 2, 3, 40, 500]})])
    for nth, exact in ((1, 500), (2, 40), (5, 1)):
        assert exact <= found.slowest(nth) <= exact * 1.002
    assert found.percentile(50) == pytest.approx(3, rel=0.002)
    assert math.isnan(latencies([]).percentile(50))


def test_what_ends_before_the_warm_up_counts_nowhere() -> None:
    whole = run(part(0.5, {"a": [1]}), part(1.0, {"a": [1]}), part(1.5, {"a": [1]}, {"timeout": 2}), warm_up_s=1.0)
    assert [each.end_s for each in measured(whole)] == [1.5]
    assert succeeded(measured(whole)) == 1
    assert failures(measured(whole)) == {"timeout": 2}
