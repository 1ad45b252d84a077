from __future__ import annotations

import pytest

from loadtests.run.search import Found, Phase, highest_rate


class Gateway:
    """Serves so much and no more; may be worse where it has to keep the rate for longer."""

    def __init__(self, capacity: float, for_long: float | None = None) -> None:
        self.capacities = {"search": capacity, "confirm": capacity if for_long is None else for_long}
        self.tried: list[tuple[float, Phase]] = []

    def __call__(self, rate: float, phase: Phase) -> bool:
        self.tried.append((rate, phase))
        return rate <= self.capacities[phase]


@pytest.mark.parametrize("capacity", [0.5, 40, 777, 12_345])
@pytest.mark.parametrize("first", [1, 100, 5000])
def test_the_highest_rate_is_found_from_anywhere(capacity: float, first: float) -> None:
    gateway = Gateway(capacity)
    found = highest_rate(gateway, first, 0.05)
    assert found.rate is not None
    assert found.above is not None
    assert found.rate <= capacity < found.above <= found.rate * 1.05
    assert gateway.tried[-1] == (found.rate, "confirm")


def test_what_a_longer_stretch_does_not_confirm_is_lowered() -> None:
    found = highest_rate(Gateway(1000, for_long=930), 100, 0.05)
    assert found.rate is not None
    assert 930 / 1.05 <= found.rate <= 930


def test_a_bound_that_no_rate_keeps_has_none() -> None:
    assert highest_rate(Gateway(0), 100, 0.05).rate is None
    assert highest_rate(Gateway(1000, for_long=10), 100, 0.05).rate is None


def test_one_bad_moment_does_not_mislead_it() -> None:
    moments = iter([False])

    def attempt(rate: float, phase: Phase) -> bool:
        return next(moments, True) and rate <= 1000

    assert highest_rate(attempt, 100, 0.05).rate == pytest.approx(1000, rel=0.06)


def test_the_next_round_begins_where_the_last_one_ended() -> None:
    first, second = Gateway(5000), Gateway(5000)
    found = highest_rate(first, 10, 0.05)
    again = highest_rate(second, 10, 0.05, found)
    assert again.rate == pytest.approx(5000, rel=0.06)
    assert len(second.tried) < len(first.tried)


def test_a_search_that_found_nothing_is_no_place_to_begin() -> None:
    gateway = Gateway(500)
    highest_rate(gateway, 100, 0.5, Found(None, 3.0))
    assert gateway.tried[0] == (100, "search")
