import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gateway.experiments.statistics.boundary import HORIZON, critical, from_student, p_value, to_student

_INFORMATION = st.floats(1, 1e8)


@given(st.floats(1e-9, 0.5), _INFORMATION)
def test_the_p_value_at_the_boundary_is_its_alpha(alpha, information):
    assert p_value(critical(alpha, information), information) == pytest.approx(alpha, rel=1e-6)


def test_the_boundary_is_tightest_at_its_horizon():
    at_horizon = critical(0.05, HORIZON)
    assert at_horizon < critical(0.05, HORIZON / 2)
    assert at_horizon < critical(0.05, HORIZON * 2)
    assert 3 < at_horizon < 3.1


def test_without_information_nothing_is_told():
    assert critical(0.05, 0.0) == math.inf
    assert p_value(5.0, 0.0) == 1.0


@given(st.floats(0, 12), st.floats(1, 1e6))
def test_students_t_and_back_is_where_it_was(z, freedom):
    assert from_student(to_student(z, freedom), freedom) == pytest.approx(z, abs=1e-6)


@pytest.mark.parametrize("freedom", [20, 63, 255])
@pytest.mark.parametrize("z", [1.0, 2.0, 3.0, 5.0])
def test_students_t_is_as_rare_as_the_normal(z, freedom):
    assert to_student(z, freedom) == pytest.approx(stats.t.isf(stats.norm.sf(z), freedom), rel=0.02)


def test_a_random_walk_hardly_ever_leaves_the_boundary():
    steps = np.random.default_rng(5).standard_normal((1_000, 4_000))
    walks = steps.cumsum(axis=1)[:, 9::10]
    times = np.arange(10, 4_001, 10)
    limits = np.array([critical(0.05, float(time)) for time in times])
    left = (np.abs(walks) / np.sqrt(times) > limits).any(axis=1).mean()
    assert 0 < left <= 0.05
