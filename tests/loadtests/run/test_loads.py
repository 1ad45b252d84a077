from __future__ import annotations

from loadtests.run.loads import highest_kept, phase, shaped
from loadtests.scenario import ShapeTable
from tests.loadtests.run.made import part, run


def levels(table: ShapeTable, seconds: float, warm_up_s: float) -> list[float | None]:
    shape = shaped(table, seconds, warm_up_s)
    return [shape(each) for each in range(int(seconds + warm_up_s) + 1)]


def test_steps_go_from_the_first_level_to_the_last_and_the_warm_up_is_at_the_first() -> None:
    assert levels(ShapeTable(kind="steps", low=10, high=30, steps=3), 6, 2) == [10, 10, 10, 10, 20, 20, 30, 30, None]


def test_a_spike_comes_and_goes() -> None:
    assert levels(ShapeTable(kind="spike", low=1, high=9), 10, 0) == [1, 1, 1, 1, 9, 9, 1, 1, 1, 1, None]


def test_a_ramp_has_broken_at_the_first_level_that_is_slow_or_fails() -> None:
    good, slow = {"d": [5.0] * 100}, {"d": [5.0] * 90 + [500.0] * 10}
    slices = [part(1, good, level=10), part(2, good, level=20), part(3, slow, level=30), part(4, good, level=40)]
    assert highest_kept(run(*slices), breaking_ms=100) == 20
    assert highest_kept(run(*slices), breaking_ms=1000) == 40
    assert highest_kept(run(part(1, good, {"status 429": 5}, level=10)), breaking_ms=100) is None


def test_phases_that_are_compared_are_named_by_their_level() -> None:
    assert phase("closed", 1) == "measure 1 connection"
    assert phase("closed", 8) == "measure 8 connections"
    assert phase("poisson", 200) == "measure 200/s"
    assert phase("poisson", None) == "measure"
