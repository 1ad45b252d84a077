"""Guardrails: what breaks a limit is seen soon, and chance does not seem to."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from gateway.experiments.definition import Guardrails
from gateway.experiments.evidence import BINS, Counts, bins
from gateway.experiments.guardrails import breach, disagrees, exceeds, quantile, slower

OFF = Guardrails(error_rate=None, nan_rate=None)


@dataclass
class Did:
    """A Lately."""

    answered: int = 0
    failed: int = 0
    examined: int = 0
    not_finite: int = 0
    latencies: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))

    @property
    def requests(self) -> int:
        """See Lately."""
        return self.answered + self.failed


def took(*values_ms: float) -> Counts:
    return np.bincount(bins(np.array(values_ms, np.float64)), minlength=BINS).astype(np.int64)


def answered(latencies: Counts) -> Did:
    return Did(answered=int(latencies.sum()), latencies=latencies)


# Rates.


@given(st.integers(1, 500), st.data(), st.floats(0.0005, 0.9995))
def test_a_rate_exceeds_a_limit_where_the_exact_test_says_so(trials: int, data: st.DataObject, limit: float) -> None:
    hits = data.draw(st.integers(0, trials))
    p = float(binomtest(hits, trials, limit, alternative="greater").pvalue)
    if abs(p - 1e-5) > 1e-9:
        assert exceeds(hits, trials, limit) is (p < 1e-5)


@pytest.mark.parametrize(
    ("hits", "trials", "limit", "does"),
    [(0, 0, 0.05, False), (0, 100, 0.0, False), (1, 1, 0.0, True), (1, 10**9, 0.0, True), (10, 10, 1.0, False),
     (4, 4, 0.05, True), (3, 3, 0.05, False)],
)  # fmt: skip
def test_at_the_ends_of_the_scale(hits: int, trials: int, limit: float, does: bool) -> None:
    assert exceeds(hits, trials, limit) is does


def test_a_variant_that_fails_always_breaks_its_limit_after_a_handful_of_requests() -> None:
    rules = Guardrails()
    assert breach(rules, Did(failed=3), Did()) is None
    reason = breach(rules, Did(failed=4), Did())
    assert reason == "error_rate: 4 of 4 requests failed (100.0%), and the limit is 0.05"


def test_one_whose_answers_are_no_numbers_likewise() -> None:
    reason = breach(Guardrails(), Did(answered=3, examined=3, not_finite=3), Did())
    assert reason == "nan_rate: 3 of 3 examined answers held NaN or infinity (100.0%), and the limit is 0.01"


def test_chance_at_the_limit_does_not_seem_to_break_it() -> None:
    chance = np.random.default_rng(20261123)
    looks = 0
    for limit, trials in ((0.05, 40), (0.05, 1000), (0.01, 500), (0.2, 100)):
        for failed in chance.binomial(trials, limit, 5000).tolist():
            looks += exceeds(failed, trials, limit)
    assert looks <= 2  # of 20,000, each of which may with a probability of 1e-5


def test_over_a_whole_run_at_the_limit_it_stays_quiet() -> None:
    chance = np.random.default_rng(7)
    failed = chance.binomial(10, 0.05, 40 * 600)  # ten minutes of four looks a second, ten requests each
    windows = np.convolve(failed, np.ones(40, int), "valid")
    assert not any(exceeds(hits, 400, 0.05) for hits in set(windows.tolist()))


@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_well_above_the_limit_it_is_broken_within_a_window(rate: float) -> None:
    chance = np.random.default_rng(3)
    found = [exceeds(each, 300, 0.05) for each in chance.binomial(300, rate, 200).tolist()]
    assert np.mean(found) > 0.9


def test_a_limit_that_is_off_is_never_broken() -> None:
    bad = Did(failed=100, examined=100, not_finite=100, latencies=took(*[1e6] * 100))
    assert breach(OFF, bad, answered(took(*[1.0] * 1000))) is None


# Latency.


@given(
    st.lists(st.floats(0.002, 1e6), min_size=1, max_size=300),
    st.sampled_from([0.01, 0.5, 0.9, 0.95, 0.99, 1.0]),
)
def test_a_quantile_is_numpy_s_to_a_bin(values: list[float], share: float) -> None:
    found = quantile(took(*values), share)
    exact = np.quantile(values, share, method="inverted_cdf")
    assert found == pytest.approx(exact, rel=0.0101)


def test_many_values_have_numpy_s_quantile_within_a_percent() -> None:
    values = np.random.default_rng(1).lognormal(3, 1, 20_000)
    for share in (0.01, 0.5, 0.95, 0.99):
        assert quantile(took(*values), share) == pytest.approx(np.quantile(values, share), rel=0.01)


@pytest.mark.parametrize(("values", "low"), [([0.0], 0.0), ([1e300], 1e6)])
def test_at_the_open_ends_a_quantile_is_finite(values: list[float], low: float) -> None:
    assert low <= quantile(took(*values), 0.99) < float("inf")


def test_what_takes_longer_than_the_limit_too_often_breaks_it() -> None:
    rules = Guardrails(error_rate=None, nan_rate=None, p99_ms=100.0)
    slow = answered(took(*[10.0] * 90, *[200.0] * 10))
    reason = breach(rules, slow, Did())
    assert reason == "p99_ms: more than 1 % of 100 answers took longer than the limit of 100 ms"
    assert breach(rules, answered(took(*[10.0] * 99, 200.0)), Did()) is None


def test_what_takes_just_as_long_as_the_limit_does_not() -> None:
    assert not slower(took(*[100.0] * 1000), 100.0)
    assert slower(took(*[102.0] * 1000), 100.0)


def test_a_limit_beyond_the_last_bin_is_never_broken() -> None:
    assert not slower(took(*[1e300] * 1000), 1e300)


def test_latency_is_compared_with_control_s_once_that_has_enough() -> None:
    rules = Guardrails(error_rate=None, nan_rate=None, p99_ratio=2.0)
    slow = answered(took(*[50.0] * 200))
    assert breach(rules, slow, answered(took(*[10.0] * 99))) is None
    reason = breach(rules, slow, answered(took(*[10.0] * 100)))
    assert reason is not None
    assert reason.startswith("p99_ratio: more than 1 % of 200 answers took longer than ")
    assert reason.endswith("which is 2 times control's p99")
    assert breach(rules, answered(took(*[15.0] * 200)), answered(took(*[10.0] * 100))) is None


# The shadow.


def test_a_shadow_that_disagrees_too_often_is_seen() -> None:
    rules = Guardrails(disagreement=0.01)
    assert disagrees(rules, 0, 1000) is None
    assert disagrees(rules, 10, 1000) is None
    assert disagrees(rules, 100, 1000) == (
        "disagreement: 100 of 1000 compared answers differed (10.0%), and the limit is 0.01"
    )
    assert disagrees(Guardrails(), 1000, 1000) is None
