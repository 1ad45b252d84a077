from __future__ import annotations

import pytest
from scipy.stats import binom

from loadtests.run.early_stopping import Verdict, bound_kept, discarded, least_fast, least_queries


def test_the_least_numbers_of_queries_are_those_of_mlperf() -> None:
    assert least_fast(0, 99) == 459
    assert (least_queries(90), least_queries(99)) == (64, 662)


@pytest.mark.parametrize(("slow", "percentile"), [(0, 90), (3, 90), (7, 99), (120, 99)])
def test_so_few_slow_ones_would_be_a_rare_chance_if_the_percentile_were_missed(slow: int, percentile: float) -> None:
    fast = least_fast(slow, percentile)
    assert binom.cdf(slow, fast + slow, 1 - percentile / 100) < 0.01
    assert binom.cdf(slow, fast - 1 + slow, 1 - percentile / 100) >= 0.01


def test_a_bound_is_kept_once_enough_queries_were_under_it() -> None:
    assert bound_kept(459, 0, 99).passed
    assert bound_kept(458, 0, 99) == Verdict(passed=False, more=1)
    assert bound_kept(661, 1, 99).more == 1
    assert not bound_kept(10_000, 200, 99).passed


def test_the_more_queries_the_more_of_the_slowest_are_left_out() -> None:
    assert discarded(63, 90) is None
    assert discarded(64, 90) == 1
    assert discarded(1000, 90) == 78
    assert 9_700 < (discarded(100_000, 90) or 0) < 10_000


@pytest.mark.parametrize(("queries", "told"), [(2048, 172), (2116, 178), (2145, 181), (7469, 685)])
def test_as_many_are_left_out_as_loadgen_has_told_of_published_runs(queries: int, told: int) -> None:
    nth = discarded(queries, 90)
    assert nth is not None
    assert nth - 1 == told
