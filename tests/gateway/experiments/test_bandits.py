import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.bandits import Exp3, Reward, exp3, learn, shares, thompson
from gateway.experiments.definition import Better, Kind, Metric
from gateway.experiments.evidence import Cell

_CORRECT = Metric("correct", Kind.BINARY, Better.HIGHER, 0.01)
_ERRORS = Metric("errors", Kind.BINARY, Better.LOWER, 0.01)
_SCORE = Metric("score", Kind.MEAN, Better.HIGHER, 0.05)


def _cell(values) -> Cell:
    cell = Cell.empty()
    cell.add(np.arange(len(values)) % 256, np.asarray(values, np.float64))
    return cell


def _binary(count: int, of: int) -> Cell:
    return _cell(np.repeat([1.0, 0.0], [count, of - count]))


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_thompson_gives_the_better_variant_all_but_the_floor():
    weights = thompson(_CORRECT, {"a": _binary(500, 1_000), "b": _binary(700, 1_000)}, 5, _generator())
    assert weights == {"a": 5, "b": 95}


def test_thompson_knows_which_way_is_better():
    weights = thompson(_ERRORS, {"a": _binary(500, 1_000), "b": _binary(700, 1_000)}, 5, _generator())
    assert weights == {"a": 95, "b": 5}


def test_thompson_shares_evenly_what_it_does_not_know():
    for metric in (_CORRECT, _SCORE):
        weights = thompson(metric, {"a": Cell.empty(), "b": Cell.empty()}, 5, _generator())
        assert weights["a"] == pytest.approx(50, abs=2)


def test_thompson_shares_evenly_what_is_always_the_same():
    weights = thompson(_SCORE, {"a": _cell(np.ones(100)), "b": _cell(np.ones(100))}, 5, _generator())
    assert weights == {"a": 50, "b": 50}


def test_thompson_keeps_trying_what_it_has_hardly_seen():
    weights = thompson(_SCORE, {"a": _cell([1.0, 2.0] * 100), "b": _cell([1.4])}, 5, _generator())
    assert weights["b"] > 20


def test_thompson_is_less_sure_where_values_come_from_few_units():
    values = np.repeat(np.random.default_rng(2).normal(size=20), 50)
    units, alone = Cell.empty(), Cell.empty()
    units.add(np.repeat(np.arange(20), 50), values)
    alone.add(np.arange(1_000) % 256, np.random.default_rng(2).permutation(values))
    other = _cell(np.random.default_rng(3).normal(values.mean() + 0.15, 1, 100_000))
    by_units = thompson(_SCORE, {"a": units, "b": other}, 0, _generator())["a"]
    assert by_units > thompson(_SCORE, {"a": alone, "b": other}, 0, _generator())["a"] + 10


def test_thompson_is_the_same_with_the_same_generator():
    cells = {"a": _binary(5, 10), "b": _binary(6, 10)}
    assert thompson(_CORRECT, cells, 5, _generator()) == thompson(_CORRECT, cells, 5, _generator())


def test_exp3_begins_evenly_and_moves_to_what_earns_more():
    state = Exp3({"a": 0.0, "b": 0.0})
    assert exp3(state, 5) == {"a": 50, "b": 50}
    generator = _generator()
    for _ in range(100):
        weights = exp3(state, 5)
        played = generator.multinomial(20, [weights["a"] / 100, weights["b"] / 100])
        earned = {
            name: Reward(int(n), float(generator.binomial(n, p)))
            for name, n, p in zip("ab", played, (0.3, 0.6), strict=True)
        }
        state = learn(state, weights, earned)
    assert state.count == 2_000
    assert exp3(state, 5)["b"] > 90


def test_exp3_is_not_led_by_what_was_merely_played_more():
    state = learn(
        Exp3({"a": 0.0, "b": 0.0}), {"a": 90, "b": 10}, {"a": Reward(90_000, 45_000), "b": Reward(10_000, 5_000)}
    )
    assert state.losses["a"] == pytest.approx(state.losses["b"], rel=0.05)


def test_exp3_takes_rewards_between_0_and_1_only():
    with pytest.raises(ValueError, match=r"each is in 0\.\.1"):
        learn(Exp3({"a": 0.0}), {"a": 100}, {"a": Reward(2, 2.5)})


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda given: sum(given) > 0.1),
    st.floats(0, 50),
)
def test_weights_are_100_in_all_and_none_is_below_the_floor(parts, floor):
    weights = shares({str(at): part / sum(parts) for at, part in enumerate(parts)}, floor)
    assert sum(round(weight * 100) for weight in weights.values()) == 10_000
    assert all(weight >= min(floor, int(10_000 / len(parts)) / 100) for weight in weights.values())
