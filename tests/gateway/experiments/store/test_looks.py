"""Which moments are dropped."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.store.looks import surplus

TIMES = st.lists(st.integers(0, 10**6), min_size=12, unique=True).map(sorted)


@given(TIMES, st.integers(2, 10))
def test_so_many_are_left_at_most_and_the_first_and_the_newest_stay(times: list[float], limit: int) -> None:
    dropped = set(surplus(times, limit))
    left = [time for time in times if time not in dropped]
    assert len(left) <= limit
    assert (left[0], left[-1]) == (times[0], times[-1])


def test_what_is_left_is_evenly_spread_although_the_newer_were_closer() -> None:
    times = [*map(float, range(0, 1000, 10)), *(1000 + each / 10 for each in range(1001))]
    left = sorted(set(times) - set(surplus(times, 101)))
    gaps = [after - before for before, after in pairwise(left)]
    assert max(gaps) < 25
