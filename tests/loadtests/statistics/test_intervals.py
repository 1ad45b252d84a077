from __future__ import annotations

import math

import numpy as np
import pytest

from loadtests.statistics.contrasts import Contrast, between_samples
from loadtests.statistics.estimates import estimate
from loadtests.statistics.figures import ErrorRate, Percentile, Statistic, Throughput
from loadtests.statistics.samples import Samples, rounds
from tests.loadtests.invented import made_run
from tests.loadtests.statistics.simulated import counted, samples

P50 = Percentile(0.5)


def contrast(rng: np.random.Generator, number: int, slower: float, statistic: Statistic, drift: float) -> Contrast:
    """Rounds of two rows in turns on a machine whose speed differs from round to round."""
    drifts = np.exp(drift * rng.normal(size=number))
    ours = [samples(rng, slower=slower * each) for each in drifts]
    return between_samples(ours, [samples(rng, slower=each) for each in drifts], statistic, in_turns=True)


@pytest.mark.parametrize(
    ("number", "statistic"), [(1, P50), (1, Throughput()), (2, P50), (5, P50), (5, Throughput()), (5, Percentile(0.99))]
)
def test_of_equal_rows_with_correlated_slices_at_most_one_in_twenty_is_called(
    number: int, statistic: Statistic
) -> None:
    rng = np.random.default_rng(7)

    pairs = [contrast(rng, number, 1.0, statistic, drift=0.1).estimate() for _ in range(100)]

    assert np.mean([not each.low <= 1 <= each.high for each in pairs]) <= 0.05


@pytest.mark.parametrize(("number", "slower"), [(1, 3.0), (5, 1.2)])
def test_intervals_hold_the_true_ratio_and_find_that_there_is_one(number: int, slower: float) -> None:
    rng = np.random.default_rng(8)

    found = [contrast(rng, number, slower, P50, drift=0.1).estimate() for _ in range(80)]

    assert np.mean([each.low <= slower <= each.high for each in found]) >= 0.92
    assert np.mean([each.low > 1 for each in found]) >= 0.8


def test_slices_alone_would_call_what_the_rounds_do_not() -> None:
    """Rows not in turns, on a machine that drifts: why rounds are one observation each."""
    rng = np.random.default_rng(9)
    wrong, naive = 0, 0
    for _ in range(60):
        sides = [[samples(rng, slower=float(np.exp(0.1 * rng.normal()))) for _ in range(5)] for _ in range(2)]
        found = between_samples(*sides, P50, in_turns=False)
        wrong += found.p() < 0.05
        naive += found.spreads[1].p(found.position) < 0.05

    assert wrong <= 3
    assert naive >= 10


def test_a_single_round_is_not_taken_for_all_that_the_machine_does() -> None:
    rng = np.random.default_rng(11)
    rows = [[samples(rng, slower=float(np.exp(0.14 * rng.normal())), wander=0.003)] for _ in range(120)]

    pairs = [
        between_samples(ours, theirs, P50, in_turns=False) for ours, theirs in zip(rows[::2], rows[1::2], strict=True)
    ]

    assert np.mean([each.p() < 0.05 for each in pairs]) <= 0.05


def test_results_of_two_moments_may_differ_by_as_much_as_rounds_of_one_do() -> None:
    rng = np.random.default_rng(12)
    drift = 0.1
    wrong, found = 0, 0
    for _ in range(100):
        moments = drift * rng.normal(size=2)
        sides = [
            [samples(rng, slower=float(np.exp(each + drift * rng.normal()))) for _ in range(5)] for each in moments
        ]
        wrong += between_samples(*sides, P50, in_turns=False).p() < 0.05
        slow = [samples(rng, slower=float(2 * np.exp(drift * rng.normal()))) for _ in range(5)]
        found += between_samples(slow, sides[1], P50, in_turns=False).estimate().low > 1

    assert wrong <= 5
    assert found >= 90


def test_rounds_in_turns_are_compared_one_by_one() -> None:
    drifts = (1.0, 1.5, 0.7, 2.0, 1.2)
    sides = [[samples(np.random.default_rng(seed), slower=each) for each in drifts] for seed in (1, 2)]

    paired, apart = (between_samples(*sides, P50, in_turns=turns).estimate() for turns in (True, False))

    assert paired.high / paired.low < 1.2 < apart.high / apart.low


def test_an_estimate_holds_the_truth() -> None:
    rng = np.random.default_rng(10)

    found = [estimate([samples(rng) for _ in range(3)], P50) for _ in range(60)]

    assert np.mean([each.low <= 0.808 <= each.high for each in found]) >= 0.92
    assert np.median([each.high / each.low for each in found]) < 1.25


@pytest.mark.parametrize("statistic", [P50, Throughput(), ErrorRate()])
def test_of_nothing_nothing_is_known(statistic: Statistic) -> None:
    nothing: list[Samples] = rounds([made_run(np.random.default_rng(1), slices=0)])

    alone, compared = estimate(nothing, statistic), between_samples(nothing, nothing, statistic, in_turns=False)

    assert math.isnan(alone.value)
    assert (alone.low, alone.high) == (0.0, math.inf)
    assert compared.p() == 1.0
    assert math.isnan(compared.estimate().value)


def test_where_nothing_succeeded_only_the_errors_are_known() -> None:
    failing, well = [counted([5.0] * 8, [0.0] * 8)], [counted([0.0] * 8, [5.0] * 8)]

    errors = estimate(failing, ErrorRate())
    assert errors.value == errors.high == 1.0
    assert errors.low == pytest.approx(0.05 ** (1 / 40))
    assert math.isnan(estimate(failing, P50).value)
    assert between_samples(failing, well, P50, in_turns=False).p() == 1.0
    assert between_samples(failing, well, ErrorRate(), in_turns=False).estimate().low > 0.5


def test_without_a_failure_some_are_still_possible() -> None:
    well = [counted([0.0] * 8, [100.0] * 8)]

    assert estimate(well, ErrorRate()).high == pytest.approx(3 / 800, rel=0.01)
    compared = between_samples(well, well, ErrorRate(), in_turns=False).estimate()
    assert compared.low < 0 < compared.high < 0.01


def test_one_failure_more_is_no_difference_and_many_are() -> None:
    well = [counted([0.0] * 8, [100.0] * 8) for _ in range(5)]
    one = [counted([float(index == 0)] + [0.0] * 7, [100.0] * 8) for index in range(5)]
    many = [counted([3.0, 4.0, 2.0, 3.0, 3.0, 4.0, 2.0, 3.0], [100.0] * 8) for _ in range(5)]

    assert between_samples(one, well, ErrorRate(), in_turns=True).p() > 0.05
    assert between_samples(many, well, ErrorRate(), in_turns=True).p() < 0.001
