"""Distributions: nothing is lost, quantiles are near, and what is merged is as if it had been counted together."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from adapters.histograms import Distribution, Histogram, merged

VALUES = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 10**4))


def counted(values: list[int]) -> Distribution:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram.distribution(sum(values))


@given(VALUES)
def test_every_value_is_counted_once(values: list[int]) -> None:
    told = counted(values)
    assert (told.count, told.total) == (len(values), sum(values))
    assert not told.counts or told.counts[-1]


@given(VALUES, st.integers(3, 64))
def test_below_a_power_of_two_the_count_is_exact(values: list[int], bits: int) -> None:
    assert counted(values).below(bits) == sum(value < 2**bits for value in values)


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 10**4), min_size=1), st.floats(0, 1))
def test_a_quantile_is_off_by_a_sixteenth_at_most(values: list[int], part: float) -> None:
    exact = sorted(values)[max(0, math.ceil(part * len(values)) - 1)]
    assert abs(counted(values).quantile(part) - exact) <= exact / 16


def test_without_values_every_quantile_is_0() -> None:
    assert Distribution().quantile(0.5) == 0


@given(VALUES, VALUES)
def test_merged_distributions_are_as_if_counted_together(one: list[int], other: list[int]) -> None:
    assert merged([counted(one), counted(other)]) == counted(one + other)
