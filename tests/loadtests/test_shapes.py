from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import shapes
from loadtests.shapes import Bounds, Constant, Ramp, Soak, Spike, Steps, schedule, tick


def levels(plan: shapes.Schedule, *at_s: float) -> list[float | None]:
    return [plan.level(each) for each in at_s]


def test_a_constant_load_is_so_much_until_it_is_over() -> None:
    assert levels(Constant(7, 10), 0, 9.9, 10) == [7, 7, None]
    assert Constant(7).level(1e9) == 7


def test_steps_are_equal_and_the_last_one_is_the_peak() -> None:
    assert levels(Steps(100, 4, 5), 0, 4.9, 5, 10, 19.9, 20) == [25, 25, 50, 75, 100, None]


def test_a_ramp_rises_evenly() -> None:
    assert levels(Ramp(100, 10, first=20), 0, 5, 9.99, 10)[:2] == [20, 60]
    assert Ramp(100, 10).level(10) is None


def test_a_spike_comes_suddenly_and_goes_again() -> None:
    assert levels(Spike(10, 100, 5, 2, 20), 0, 4.9, 5, 6.9, 7, 19, 20) == [10, 10, 100, 100, 10, 10, None]


def test_a_soak_is_eased_in() -> None:
    assert levels(Soak(50, 1000, 100), 0, 50, 100, 999, 1000) == [0, 25, 50, 50, None]
    assert Soak(50, 1000, 0).level(0) == 50


@given(st.sampled_from(shapes.NAMES), st.floats(1, 1e4), st.floats(1, 1e5), st.floats(0, 1))
def test_no_shape_exceeds_its_peak_and_each_ends(name: str, peak: float, for_s: float, part: float) -> None:
    plan = schedule(name, peak, for_s)
    level = plan.level(part * for_s * 0.99)

    assert level is not None
    assert 0 <= level <= peak * 1.0000001
    assert plan.level(for_s * 1.01) is None


def test_a_shape_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of constant, steps"):
        schedule("zigzag", 1)


def test_bounds_say_what_is_broken() -> None:
    bounds = Bounds(p99_ms=10, failures=0.05)

    assert bounds.broken(9, 0.05) == ""
    assert "p99 is 11 ms" in bounds.broken(11, 0)
    assert "6.0% of the requests fail" in bounds.broken(1, 0.06)


def test_users_are_as_many_as_carry_the_level() -> None:
    assert tick(Constant(95), 0, 10, Bounds(), None) == (10, 10)
    assert tick(Ramp(100, 10), 0, 1, Bounds(), None) == (0, 1)
    assert tick(Constant(1, 5), math.nextafter(5, 6), 1, Bounds(), None) is None
