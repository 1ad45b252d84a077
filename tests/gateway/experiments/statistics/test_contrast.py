import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.experiments.statistics.contrast import Contrast
from gateway.experiments.statistics.strata import Strata
from tests.gateway.experiments.statistics.evidence import ERRORS, LATENCY, REVENUE, cell, ones

_METRICS = st.sampled_from([ERRORS, REVENUE, LATENCY])


def _contrast(metric, seed, counts, effect) -> Contrast:
    generator = np.random.default_rng(seed)

    def values(count, factor):
        if metric is ERRORS:
            return (generator.random(count) < 0.1 * factor).astype(float)
        return generator.lognormal(2, 0.5, count) * factor

    variant, control = (
        Strata.of(metric, [cell(metric, values(count, factor), generator.integers(0, 256, count))])
        for count, factor in zip(counts, (1 + effect, 1.0), strict=True)
    )
    found = Contrast.of(variant, control)
    assert found is not None
    return found


_CONTRASTS = st.builds(
    _contrast,
    _METRICS,
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(20, 5_000), st.integers(20, 5_000)),
    st.floats(-0.5, 1.0),
)


@settings(max_examples=100, deadline=None)
@given(_CONTRASTS, st.floats(0.001, 0.3))
def test_intervals_hold_their_estimates(contrast, alpha):
    reach = contrast.reach(alpha)
    low, high = contrast.difference_interval(reach)
    assert low <= contrast.difference <= high
    low, high = contrast.ratio_interval(reach)
    assert contrast.ratio is None or low <= contrast.ratio <= high
    for arm in (contrast.variant, contrast.control):
        low, high = arm.interval(alpha)
        assert low <= arm.value <= high


@settings(max_examples=200, deadline=None)
@given(_CONTRASTS, st.floats(0.001, 0.3))
def test_the_p_value_is_small_exactly_where_the_intervals_hold_no_equality(contrast, alpha):
    p_value, reach = contrast.p_value, contrast.reach(alpha)
    if abs(p_value - alpha) < 1e-5:
        return
    low, high = contrast.difference_interval(reach)
    assert (p_value <= alpha) == (low > 0 or high < 0)
    low, high = contrast.ratio_interval(reach)
    if np.isfinite(low):
        assert (p_value <= alpha) == (low > 1 or high < 1)


@settings(max_examples=50, deadline=None)
@given(_CONTRASTS)
def test_the_other_way_round_it_is_the_other_way_round(contrast):
    mirrored = Contrast(contrast.control, contrast.variant)
    low, high = contrast.difference_interval(3.0)
    assert mirrored.difference_interval(3.0) == pytest.approx((-high, -low))
    assert mirrored.p_value == pytest.approx(contrast.p_value)


@settings(max_examples=50, deadline=None)
@given(_CONTRASTS)
def test_more_values_of_the_same_kind_narrow_the_interval(contrast):
    grown = contrast.grown(4.0)
    one, other = contrast.difference_interval(contrast.reach(0.05)), grown.difference_interval(grown.reach(0.05))
    assert one[0] <= other[0] <= other[1] <= one[1]


@given(st.integers(0, 1_000))
@settings(max_examples=20, deadline=None)
def test_a_ratio_is_as_sure_in_any_unit(seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(10, 2, 300), generator.normal(11, 2, 300)

    def ratios(unit):
        sides = [Strata.of(REVENUE, [cell(REVENUE, each * unit)]) for each in values]
        found = Contrast.of(sides[0], sides[1])
        assert found is not None
        return found.ratio_interval(found.reach(0.05))

    assert ratios(1.0) == pytest.approx(ratios(1_000.0))
    assert ratios(1.0) == pytest.approx(ratios(-1.0))


def test_ratios_to_a_control_that_may_be_zero_are_unbounded():
    found = Contrast.of(
        Strata.of(ERRORS, [cell(ERRORS, ones(5, 100))]), Strata.of(ERRORS, [cell(ERRORS, ones(0, 100))])
    )
    assert found is not None
    assert found.ratio is None
    assert found.ratio_interval(3.0) == (-np.inf, np.inf)


@pytest.mark.parametrize("bought_by_one", [0.0, 0.5], ids=["nobody", "one, and hardly anything"])
def test_one_side_that_hardly_varies_yet_does_not_make_it_sure(bought_by_one):
    """Of 50, where one in fifty usually buys for 30."""
    usual = Strata.of(REVENUE, [cell(REVENUE, ones(100, 5_000) * 30)])
    few = Strata.of(REVENUE, [cell(REVENUE, np.append(np.zeros(49), bought_by_one))])
    found = Contrast.of(few, usual)
    assert found is not None
    assert found.p_value > 0.5
