import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.statistics.multiplicity import holm, levels

_P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_holms_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(_P_VALUES)
def test_correction_only_makes_larger_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    assert all(one >= p and one <= 1 for one, p in zip(adjusted, p_values, strict=True))
    by_p = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert sorted(adjusted) == [adjusted[index] for index in by_p]


@given(_P_VALUES, st.floats(0.001, 0.2))
def test_the_level_of_each_says_what_holms_procedure_says(p_values, alpha):
    for p, adjusted, level in zip(p_values, holm(p_values), levels(p_values, alpha), strict=True):
        assert level <= alpha
        if abs(p - level) > 1e-12:
            assert (adjusted <= alpha) == (p <= level)
