"""The Bayesian view: how likely each variant is the best, and what choosing it would lose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from gateway.experiments.definition import Better, Metric
from gateway.experiments.report import Bayes
from gateway.experiments.statistics.contrast import Contrast

_DRAWS: Final = 4_000
_SEED: Final = 1763


def posterior(metric: Metric, control: str, contrasts: Mapping[str, Contrast]) -> dict[str, Bayes]:
    """Of every variant that is compared, and of control; empty where none is.

    Variants are compared by what they are above control, so that each is judged over the strata that it shares with it.
    """
    if not contrasts:
        return {}
    gains = {control: np.zeros(_DRAWS)}
    for index, (variant, contrast) in enumerate(contrasts.items(), start=1):
        drawn = contrast.variant.draws(np.random.default_rng([_SEED, index]), _DRAWS)
        gains[variant] = drawn - contrast.control.draws(np.random.default_rng([_SEED, 0]), _DRAWS)
    names = list(gains)
    values = np.array([gains[name] for name in names]) * (1 if metric.better is Better.HIGHER else -1)
    best = values.max(axis=0)
    first = values == best
    wins = (first / first.sum(axis=0)).mean(axis=1)
    losses = (best - values).mean(axis=1)
    return {name: Bayes(float(wins[at]), float(losses[at])) for at, name in enumerate(names)}
