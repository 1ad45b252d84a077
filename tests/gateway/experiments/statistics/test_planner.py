import numpy as np
import pytest

from gateway.experiments.statistics import Latencies, Mean, Rate, plan


def test_smaller_effects_take_more_values():
    sizes = [plan(Rate(0.02), effect).total for effect in (0.02, 0.01, 0.005)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 10 * sizes[0]


def test_looking_all_the_time_takes_more_than_looking_once_but_not_many_times_as_much():
    once = 2 * 2 * 0.95 * 0.05 * (1.96 + 0.84) ** 2 / 0.02**2
    assert 1.2 * once < plan(Rate(0.05), 0.02).total < 4 * once


@pytest.mark.parametrize(
    "more",
    [{"confidence": 0.99}, {"power": 0.95}, {"share": 0.1}, {"comparisons": 6}, {"design_effect": 4.0}],
    ids=lambda more: next(iter(more)),
)
def test_what_makes_it_harder_takes_more_values(more):
    for baseline, effect in ((Rate(0.05), 0.02), (Mean(10, 5), 0.05), (Latencies.lognormal(7, 16), 0.1)):
        assert plan(baseline, effect, **more).total > plan(baseline, effect).total


def test_shares_are_kept():
    size = plan(Mean(10, 5), 0.05, share=0.2)
    assert size.control == pytest.approx(4 * size.variant, rel=0.01)
    assert size.total == size.variant + size.control


def test_a_sample_of_latencies_is_as_good_as_their_distribution():
    sample = np.random.default_rng(1).lognormal(2, 0.5, 200_000)
    of_sample = plan(Latencies(sample), 0.05)
    p95 = float(np.exp(2 + 1.6449 * 0.5))
    assert of_sample.total == pytest.approx(plan(Latencies.lognormal(float(np.exp(2)), p95), 0.05).total, rel=0.15)


@pytest.mark.parametrize(
    "refused",
    [
        lambda: plan(Rate(0.02), 0.0),
        lambda: plan(Rate(0.02), -0.03),
        lambda: plan(Rate(0.02), float("nan")),
        lambda: plan(Rate(0.02), 0.01, power=1.0),
        lambda: plan(Rate(0.02), 0.01, share=0.0),
        lambda: plan(Rate(0.02), 0.01, confidence=1.0),
        lambda: plan(Latencies(np.array([5.0, 6.0])), -1.0),
        lambda: Rate(1.2),
        lambda: Mean(0.0, 1.0),
        lambda: Mean(1.0, 0.0),
        lambda: Latencies(np.array([])),
        lambda: Latencies(np.array([1.0, np.nan])),
        lambda: Latencies(np.array([5.0, 6.0]), level=1.0),
        lambda: Latencies.lognormal(16, 7),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(refused):
    with pytest.raises(ValueError, match=r"\w+ .*\w+"):
        refused()
