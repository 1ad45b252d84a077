"""Whether variants got the traffic that their weights say: Lindon and Malek's multinomial martingale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.experiments.evidence import Split
from gateway.experiments.report import SampleRatio

ALARM: Final = 0.001
_CONCENTRATION: Final = 1_000.0
"""How close to the weights a mismatch is expected: as after that many assignments."""


def sample_ratio(splits: Sequence[Split]) -> SampleRatio:
    """Test all splits of a run, in order of time.

    What earlier splits showed of the mismatch is what is expected of later ones, at their own weights. A variant whose
    weight is 0 takes no part in a split.
    """
    expected: dict[str, float] = {}
    observed: dict[str, int] = {}
    evidence = 0.0
    for split in splits:
        shares = _shares(split.weights)
        counts = {variant: int(split.assigned.get(variant, 0)) for variant in shares}
        evidence += _log_bayes_factor(shares, counts, _tilted(shares, expected, observed), sum(observed.values()))
        total = sum(counts.values())
        for variant, share in shares.items():
            expected[variant] = expected.get(variant, 0.0) + share * total
            observed[variant] = observed.get(variant, 0) + counts[variant]
    p_value = math.exp(-evidence) if evidence > 0 else 1.0
    return SampleRatio(p_value, p_value < ALARM, expected, observed, _words(p_value, expected, observed))


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {variant: weight / total for variant, weight in weights.items() if weight > 0}


def _tilted(
    shares: Mapping[str, float], expected: Mapping[str, float], observed: Mapping[str, int]
) -> dict[str, float]:
    """The shares that are likely after what was seen: at constant weights, the posterior mean."""
    seen = max(sum(observed.values()), 1)
    tilted = {}
    for variant, share in shares.items():
        prior = _CONCENTRATION * (expected.get(variant, 0.0) / seen or share)
        tilted[variant] = share * (observed.get(variant, 0) + prior) / (expected.get(variant, 0.0) + prior)
    total = sum(tilted.values())
    return {variant: value / total for variant, value in tilted.items()}


def _log_bayes_factor(
    shares: Mapping[str, float], counts: Mapping[str, int], tilted: Mapping[str, float], seen: int
) -> float:
    """Log of the probability of `counts` under a Dirichlet mixture about `tilted`, by that under `shares`."""
    concentration = _CONCENTRATION + seen
    found = math.lgamma(concentration) - math.lgamma(concentration + sum(counts.values()))
    for variant, share in shares.items():
        prior = concentration * tilted[variant]
        found += math.lgamma(prior + counts[variant]) - math.lgamma(prior) - counts[variant] * math.log(share)
    return found


def _words(p_value: float, expected: Mapping[str, float], observed: Mapping[str, int]) -> str:
    if p_value >= ALARM:
        return ""
    worst = max(expected, key=lambda variant: abs(observed[variant] - expected[variant]) / math.sqrt(expected[variant]))
    return (
        f"{worst} got {observed[worst]:,} of {sum(observed.values()):,} where its weight makes {expected[worst]:,.0f} "
        f"(p {p_value:.2g}): something assigns or counts wrongly, and no result of this run is to be trusted."
    )
