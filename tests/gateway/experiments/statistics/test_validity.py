"""A small version of `make proof-statistics`."""

import numpy as np
import pytest

from tests.proofs.simulated import EFFECTS, NULLS, follow

_EXPERIMENTS = 40


@pytest.mark.parametrize("name", ["errors 2 %", "latency p95", "latency p95, 300 units", "errors 5 %, 300 units"])
def test_looking_often_hardly_ever_finds_a_difference_that_is_not_there(name):
    courses = [follow(NULLS[name], seed, range(500, 5_001, 500)) for seed in range(_EXPERIMENTS)]
    assert sum(course.called is not None for course in courses) <= 0.05 * _EXPERIMENTS
    assert np.mean([course.estimated for course in courses]) >= 0.95


@pytest.mark.parametrize("name", list(EFFECTS))
def test_a_difference_of_the_planned_size_is_mostly_found(name):
    size = EFFECTS[name].size
    assert size is not None
    looks = [size.total // 2, size.total]
    courses = [follow(EFFECTS[name], seed, looks) for seed in range(_EXPERIMENTS)]
    assert np.mean([course.called is not None for course in courses]) >= 0.7
    assert np.mean([course.contained for course in courses]) >= 0.95
