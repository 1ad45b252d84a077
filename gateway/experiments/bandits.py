"""Bandits: from rewards to weights. Pure; who keeps the state and applies the weights is elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from gateway.experiments.definition import Better, Kind, Metric
from gateway.experiments.evidence import Cell, Floats

_DRAWS: Final = 10_000
_HUNDREDTHS: Final = 10_000


class Reward(msgspec.Struct, frozen=True):
    """What one variant earned since the last change: `count` rewards, each in 0..1, and their sum."""

    count: int
    total: float


class Exp3(msgspec.Struct, frozen=True):
    """What Exp3 knows: each variant's estimated loss so far, as if every request had been its own, and the requests."""

    losses: Mapping[str, float]
    count: int = 0


def thompson(
    metric: Metric, cells: Mapping[str, Cell], floor: float, generator: np.random.Generator
) -> dict[str, float]:
    """Weights in percent: how likely each variant is the best, and at least `floor` each.

    BINARY and CONVERSION metrics: a Beta posterior after a uniform prior; others: a normal one of the mean (of a
    QUANTILE metric, too), as wide as clusters differ. What has no values yet is as likely the best as any other.
    """
    binary = metric.kind in (Kind.BINARY, Kind.CONVERSION)
    sign = 1 if metric.better is Better.HIGHER else -1
    pooled = Cell.empty()
    for cell in cells.values():
        pooled.merge(cell)
    draws = np.array([sign * _posterior(cell, pooled, binary, generator) for cell in cells.values()])
    first = draws == draws.max(axis=0)
    wins = (first / first.sum(axis=0)).mean(axis=1)
    return shares(dict(zip(cells, wins.tolist(), strict=True)), floor)


def learn(state: Exp3, weights: Mapping[str, float], rewards: Mapping[str, Reward]) -> Exp3:
    """What Exp3 knows after a batch of rewards under `weights` in percent, importance-weighted (Exp3-IX).

    Raises ValueError where rewards are outside of 0..1.
    """
    count = state.count + sum(reward.count for reward in rewards.values())
    bias = _rate(len(state.losses), count) / 2
    losses = dict(state.losses)
    for variant, reward in rewards.items():
        if not 0 <= reward.total <= reward.count:
            raise ValueError(f"rewards of {variant}: each is in 0..1, and {reward.count} sum up to {reward.total}")
        losses[variant] += (reward.count - reward.total) / (weights[variant] / 100 + bias)
    return Exp3(losses, count)


def exp3(state: Exp3, floor: float) -> dict[str, float]:
    """Weights in percent by what Exp3 knows, at least `floor` each."""
    rate, least = _rate(len(state.losses), state.count), min(state.losses.values())
    powers = {variant: math.exp(-rate * (loss - least)) for variant, loss in state.losses.items()}
    total = sum(powers.values())
    return shares({variant: power / total for variant, power in powers.items()}, floor)


def shares(probabilities: Mapping[str, float], floor: float) -> dict[str, float]:
    """Percent in hundredths, 100 in all: `floor` for each, or an equal part if that is less, and the rest by chance."""
    least = min(math.ceil(floor * 100), _HUNDREDTHS // len(probabilities))
    rest = _HUNDREDTHS - least * len(probabilities)
    exact = {variant: rest * probability for variant, probability in probabilities.items()}
    whole = {variant: math.floor(value) for variant, value in exact.items()}
    left = rest - sum(whole.values())
    for variant in sorted(exact, key=lambda name: whole[name] - exact[name])[:left]:
        whole[variant] += 1
    return {variant: (least + value) / 100 for variant, value in whole.items()}


def _posterior(cell: Cell, pooled: Cell, binary: bool, generator: np.random.Generator) -> Floats:
    """Draws of a variant's mean, [_DRAWS]."""
    count, total = float(cell.count.sum()), float(cell.total.sum())
    if binary:
        return generator.beta(1 + total, 1 + max(count - total, 0.0), _DRAWS)
    everything = float(pooled.count.sum())
    if everything < 2:
        return generator.normal(0.0, 1.0, _DRAWS)
    middle = float(pooled.total.sum()) / everything
    spread = max(pooled.squares / everything - middle**2, 0.0)
    mean = (total + middle) / (count + 1)
    residuals = cell.total - mean * cell.count
    variance = (float(residuals @ residuals) + spread) / (count + 1) ** 2
    return generator.normal(mean, math.sqrt(variance), _DRAWS)


def _rate(variants: int, count: int) -> float:
    return math.sqrt(2 * math.log(max(variants, 2)) / (variants * max(count, 1)))
