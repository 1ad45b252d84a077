from __future__ import annotations

import itertools
import math

import numpy as np
from scipy import stats

from loadtests.engine.arrivals import Arrivals, gaps


def due(arrivals: Arrivals, count: int) -> np.ndarray:
    return np.array([arrivals.take() for _ in range(count)])


def test_gaps_of_a_poisson_process_are_exponential() -> None:
    drawn = list(itertools.islice(gaps("poisson", seed=3), 20_000))

    assert stats.kstest(drawn, "expon").pvalue > 0.01
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.03


def test_equal_seeds_give_equal_moments_and_others_do_not() -> None:
    first, again, other = (list(itertools.islice(gaps("poisson", seed), 10)) for seed in (1, 1, 2))

    assert first == again != other


def test_requests_come_at_the_rate_that_is_asked_for() -> None:
    arrivals = Arrivals(gaps("poisson", 1))
    arrivals.change(500, now_s=10)

    assert abs(due(arrivals, 50_000)[-1] - 10 - 100) < 2


def test_a_changed_rate_counts_from_the_moment_of_the_change() -> None:
    arrivals = Arrivals(gaps("uniform", 1))
    arrivals.change(0.001, now_s=0)
    arrivals.change(10, now_s=5)

    assert np.allclose(due(arrivals, 3), [5.1, 5.2, 5.3])


def test_at_a_rate_of_zero_nothing_is_ever_due() -> None:
    arrivals = Arrivals(gaps("poisson", 1))
    arrivals.change(100, now_s=0)
    arrivals.change(0, now_s=1)

    assert math.isinf(arrivals.next_s)
