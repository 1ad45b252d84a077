from __future__ import annotations

import base64

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from loadtests.engine import histograms

HOUR_US = 3_600_000_000


@given(st.lists(st.integers(1, HOUR_US), max_size=300))
def test_what_is_encoded_at_once_equals_what_the_library_records_one_by_one(values_us: list[int]) -> None:
    recorded = HdrHistogram(1, HOUR_US, 3)
    for value in values_us:
        recorded.record_value(value)

    encoded = histograms.encode(np.array(values_us, float) / 1e6)

    decoded = HdrHistogram.decode(base64.b64encode(encoded))
    assert decoded.equals(recorded)
    assert decoded.get_max_value() == recorded.get_max_value()
    assert decoded.get_total_count() == len(values_us)


def test_many_equal_values_are_one_count() -> None:
    decoded = HdrHistogram.decode(base64.b64encode(histograms.encode(np.full(1_000_000, 0.0003))))

    assert decoded.get_count_at_value(300) == 1_000_000


@pytest.mark.parametrize(("seconds", "microseconds"), [(0.0, 1), (1e-9, 1), (5000.0, HOUR_US)])
def test_what_is_out_of_bounds_is_at_the_bound(seconds: float, microseconds: int) -> None:
    decoded = HdrHistogram.decode(base64.b64encode(histograms.encode(np.array([seconds]))))

    assert decoded.get_count_at_value(microseconds) == 1


@given(st.lists(st.integers(1, HOUR_US), min_size=1, max_size=100))
def test_decoded_values_are_those_that_were_encoded_to_three_digits(values_us: list[int]) -> None:
    values, counts = histograms.decode(histograms.encode(np.array(values_us, float) / 1e6))

    assert np.all(np.diff(values) > 0)
    assert counts.sum() == len(values_us)
    assert np.repeat(values, counts) == pytest.approx(sorted(values_us), rel=1e-3)
