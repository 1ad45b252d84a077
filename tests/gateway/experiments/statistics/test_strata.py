import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.experiments.evidence import CLUSTERS, Cell
from gateway.experiments.statistics.contrast import Contrast
from gateway.experiments.statistics.strata import FEW, Strata, pair_weights
from tests.gateway.experiments.statistics.evidence import ERRORS, LATENCY, REVENUE, cell, ones

_GENERATOR = np.random.default_rng(3)


@pytest.mark.parametrize("metric", [ERRORS, REVENUE, LATENCY], ids=lambda metric: metric.name)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(20, 400), at=st.floats(0.1, 0.9))
def test_an_estimate_is_the_same_however_its_cells_were_merged(metric, seed, count, at):
    generator = np.random.default_rng(seed)
    values = generator.integers(0, 2, count).astype(float) if metric is ERRORS else generator.lognormal(2, 0.5, count)
    clusters = generator.integers(0, CLUSTERS, count)
    cut = int(count * at)
    merged = cell(metric, values[:cut], clusters[:cut])
    merged.merge(cell(metric, values[cut:], clusters[cut:]))
    one, other = (Strata.of(metric, [each]).arm() for each in (merged, cell(metric, values, clusters)))
    assert one is not None
    assert other is not None
    assert one.value == pytest.approx(other.value)
    assert one.interval(0.05) == pytest.approx(other.interval(0.05))


def test_a_mean_is_the_mean():
    values = _GENERATOR.normal(10, 2, 1_000)
    arm = Strata.of(REVENUE, [cell(REVENUE, values)]).arm()
    assert arm is not None
    assert arm.value == pytest.approx(values.mean())
    assert arm.variance == pytest.approx(values.var(ddof=1) / 1_000, rel=0.3)


def test_a_quantile_is_the_quantile_but_for_the_width_of_a_bin():
    values = _GENERATOR.lognormal(2, 0.5, 10_000)
    arm = Strata.of(LATENCY, [cell(LATENCY, values)]).arm()
    assert arm is not None
    assert arm.value == pytest.approx(np.quantile(values, 0.95), rel=0.01)
    low, high = arm.interval(0.05)
    assert low < np.quantile(values, 0.95) < high


@pytest.mark.parametrize("metric", [REVENUE, LATENCY], ids=lambda metric: metric.name)
def test_values_of_few_units_tell_less_than_as_many_of_many(metric):
    of_units = _GENERATOR.lognormal(2, 0.5, 100)
    values, units = np.repeat(of_units, 20), np.repeat(np.arange(100), 20)
    one = Strata.of(metric, [cell(metric, values, units)]).arm()
    other = Strata.of(metric, [cell(metric, values, _GENERATOR.integers(0, CLUSTERS, 2_000))]).arm()
    assert one is not None
    assert other is not None
    assert one.information < 200
    assert other.information > 1_000


def test_one_unit_that_makes_half_of_the_values_leaves_little_freedom():
    clusters = np.concatenate([np.zeros(1_000, np.int64), _GENERATOR.integers(0, CLUSTERS, 1_000)])
    arm = Strata.of(REVENUE, [cell(REVENUE, _GENERATOR.normal(10, 2, 2_000), clusters)]).arm()
    assert arm is not None
    assert arm.freedom < 4


def test_no_errors_seen_is_not_no_errors_ever():
    arm = Strata.of(ERRORS, [cell(ERRORS, ones(0, 1_000))]).arm()
    assert arm is not None
    low, high = arm.interval(0.05)
    assert low == 0.0
    assert 0.003 < high < 0.05


def test_strata_are_compared_within_themselves():
    """The variant is as good as control in both strata, and has most of its values in the worse one."""
    good, bad = ones(10, 1_000), ones(300, 1_000)
    control = Strata.of(ERRORS, [cell(ERRORS, np.tile(good, 9)), cell(ERRORS, bad)])
    variant = Strata.of(ERRORS, [cell(ERRORS, good), cell(ERRORS, np.tile(bad, 9))])
    pooled = variant.arm(), control.arm()
    assert pooled[0] is not None
    assert pooled[1] is not None
    assert pooled[0].value - pooled[1].value > 0.2
    contrast = Contrast.of(variant, control)
    assert contrast is not None
    assert contrast.difference == pytest.approx(0, abs=1e-9)


def test_a_stratum_with_few_values_of_one_side_does_not_count():
    one = Strata.of(ERRORS, [cell(ERRORS, np.ones(FEW - 1)), cell(ERRORS, ones(5, 100))])
    other = Strata.of(ERRORS, [cell(ERRORS, ones(5, 100)), cell(ERRORS, ones(5, 100))])
    assert pair_weights(one, other).tolist() == [0, 50]


def test_without_values_there_is_nothing_to_compare():
    some = Strata.of(LATENCY, [cell(LATENCY, _GENERATOR.lognormal(2, 0.5, 100))])
    none = Strata.of(LATENCY, [Cell.empty(histogram=True)])
    assert none.arm() is None
    assert Strata.of(LATENCY, []).arm() is None
    assert Strata.of(LATENCY, [None]).arm() is None
    assert Contrast.of(none, some) is None


def test_quantiles_are_not_told_of_values_without_a_histogram():
    counted_only = cell(REVENUE, _GENERATOR.lognormal(2, 0.5, 100))
    assert Strata.of(LATENCY, [counted_only]).arm() is None
    both = Strata.of(LATENCY, [counted_only, cell(LATENCY, _GENERATOR.lognormal(2, 0.5, 50))]).arm()
    assert both is not None
    assert both.count == 50


def test_values_too_large_to_be_squared_give_no_estimate():
    with np.errstate(over="ignore", invalid="ignore"):
        assert Strata.of(REVENUE, [cell(REVENUE, np.full(10, 1e200))]).arm() is None
