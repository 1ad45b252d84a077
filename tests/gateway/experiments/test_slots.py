"""Slots: as many as the weights say, and no more of them change hands than must."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.slots import Allocation, allocate, ranges, reallocate, sizes
from gateway.types import SLOTS

NAMES = st.sampled_from("abcdefgh")
WEIGHTS = st.dictionaries(
    NAMES,
    st.one_of(st.just(0.0), st.integers(0, 100).map(float), st.floats(1e-6, 1e6)),
    min_size=1,
    max_size=8,
).filter(lambda weights: sum(weights.values()) > 0)


def owned(allocation: Allocation) -> dict[str, int]:
    """How many slots each has."""
    found: Counter[str] = Counter()
    for length, name in ranges(allocation):
        found[name] += length
    return dict(found)


def moved(before: Allocation, after: Allocation) -> int:
    """How many slots change hands."""
    ends = sorted({end for end, _ in (*before, *after)})
    return sum(high - low for low, high in pairwise([0, *ends]) if owner(before, low) != owner(after, low))


def owner(allocation: Allocation, slot: int) -> str:
    return next(name for end, name in allocation if slot < end)


def positive(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


@given(WEIGHTS)
def test_sizes_sum_to_all_slots_and_are_right_to_one_slot(weights: dict[str, float]) -> None:
    found, total = sizes(weights), sum(weights.values())
    assert sum(found.values()) == SLOTS
    assert found.keys() == weights.keys()
    for name, weight in weights.items():
        assert abs(found[name] - weight / total * SLOTS) <= 1
        assert weight > 0 or found[name] == 0


def test_what_rounding_leaves_over_goes_to_the_first_of_equals() -> None:
    assert sizes({"a": 1, "b": 1, "c": 1}) == {"a": 333_334, "b": 333_333, "c": 333_333}


@given(WEIGHTS)
def test_a_first_allocation_is_one_range_for_each_variant(weights: dict[str, float]) -> None:
    allocation = allocate(weights)
    assert owned(allocation) == positive(sizes(weights))
    assert len(allocation) == len(positive(sizes(weights)))
    assert allocation[-1][0] == SLOTS


@given(st.lists(WEIGHTS, min_size=2, max_size=12))
def test_no_slot_more_changes_hands_than_the_weights_differ(steps: list[dict[str, float]]) -> None:
    allocation = allocate(steps[0])
    for weights in steps[1:]:
        before, wanted = owned(allocation), sizes(weights)
        after = reallocate(allocation, weights)
        names = before.keys() | wanted.keys()
        distance = sum(abs(before.get(name, 0) - wanted.get(name, 0)) for name in names) // 2
        assert owned(after) == positive(wanted)
        assert moved(allocation, after) == distance
        assert [end for end, _ in after] == sorted({end for end, _ in after})
        assert after[-1][0] == SLOTS
        assert all(one != other for (_, one), (_, other) in pairwise(after))
        allocation = after


@given(st.lists(WEIGHTS, min_size=2, max_size=6))
def test_the_same_steps_give_the_same_slots(steps: list[dict[str, float]]) -> None:
    def walk() -> list[Allocation]:
        found = [allocate(steps[0])]
        for weights in steps[1:]:
            found.append(reallocate(found[-1], weights))
        return found

    assert walk() == walk()


@given(WEIGHTS)
def test_the_same_weights_again_change_nothing(weights: dict[str, float]) -> None:
    allocation = allocate(weights)
    assert reallocate(allocation, {name: weight * 2 for name, weight in weights.items()}) == allocation


def test_a_variant_that_grows_keeps_all_that_it_has() -> None:
    small = allocate({"control": 99, "new": 1})
    large = reallocate(small, {"control": 75, "new": 25})
    kept = [slot for slot in range(990_000, SLOTS, 997) if owner(large, slot) == "new"]
    assert kept == list(range(990_000, SLOTS, 997))


def test_ranges_stay_few_over_many_small_steps() -> None:
    chance, weights = random.Random(1), dict.fromkeys("abcde", 1.0)
    allocation = allocate(weights)
    for _ in range(1000):
        weights = {name: min(max(weight * chance.uniform(0.9, 1.1), 0.05), 5) for name, weight in weights.items()}
        allocation = reallocate(allocation, weights)
    assert len(allocation) <= 60


def test_a_free_range_goes_to_a_neighbour_that_grows() -> None:
    before = ((200_000, "a"), (600_000, "b"), (700_000, "c"), (900_000, "e"), (SLOTS, "d"))
    after = reallocate(before, {"d": 20, "a": 20, "b": 20, "c": 30, "e": 10})
    assert after == ((200_000, "a"), (400_000, "b"), (700_000, "c"), (800_000, "e"), (SLOTS, "d"))


def test_an_allocation_that_is_empty_begins_anew() -> None:
    assert reallocate((), {"a": 1, "b": 3}) == allocate({"a": 1, "b": 3})


@pytest.mark.parametrize("weights", [{"a": 100.0, "b": 0.0}, {"a": 0.0, "b": 1e-300}, {"a": 5e-324, "b": 5e-324}])
def test_weights_of_any_scale_are_taken(weights: dict[str, float]) -> None:
    assert sum(sizes(weights).values()) == SLOTS
