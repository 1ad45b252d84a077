"""One number of a row, with its interval at 95 %."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from loadtests.results.histograms import Floats
from loadtests.results.schema import Run
from loadtests.statistics import spread
from loadtests.statistics.figures import ErrorRate, Percentile, Statistic, Throughput
from loadtests.statistics.samples import Samples, pooled, rounds

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval at 95 %; NaN: nothing was measured; 0 and infinity as bounds: it could be anything."""

    value: float
    low: float
    high: float


def percentile(runs: Sequence[Run], q: float, served_by: str | None = None, service: bool = False) -> Estimate:
    """The latency in ms that a share `q` (0…1) of all answers of all rounds stays below.

    Raises:
        ValueError: A histogram is damaged, or there are more than 64 runs.
    """
    return estimate(rounds(runs, served_by, service), Percentile(q, service))


def throughput(runs: Sequence[Run], served_by: str | None = None) -> Estimate:
    """Right answers a second.

    Raises:
        ValueError: A histogram is damaged, or there are more than 64 runs.
    """
    return estimate(rounds(runs, served_by), Throughput())


def error_rate(runs: Sequence[Run]) -> Estimate:
    """The share of requests that failed, 0…1.

    Raises:
        ValueError: A histogram is damaged, or there are more than 64 runs.
    """
    return estimate(rounds(runs), ErrorRate())


def estimate(samples: Sequence[Samples], statistic: Statistic) -> Estimate:
    """The statistic of all rounds together, one `Samples` each."""
    if not any(each.slices for each in samples):
        return Estimate(math.nan, 0.0, math.inf)
    together = pooled(samples)
    value = float(statistic(together, np.ones((1, together.slices)))[0])
    if math.isnan(value):
        return Estimate(value, 0.0, math.inf)
    if isinstance(statistic, ErrorRate):
        return _share(value, samples, statistic, together)
    if value <= 0:
        return Estimate(value, 0.0, math.inf)
    reach = max(each.reach(CONFIDENCE) for each in _spreads(samples, statistic, True))
    with np.errstate(over="ignore"):
        return Estimate(value, value * math.exp(-reach), float(value * np.exp(reach)))


def _share(value: float, samples: Sequence[Samples], statistic: Statistic, together: Samples) -> Estimate:
    """Of none in n, or of all, the rule of three still tells how many there can be."""
    requests = float(together.failed.sum() + together.succeeded.sum())
    least = (1 - CONFIDENCE) ** (1 / requests)
    if value in {0.0, 1.0}:
        return Estimate(value, least if value else 0.0, 1.0 if value else 1 - least)
    reach = max(each.reach(CONFIDENCE) for each in _spreads(samples, statistic, False))
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def _spreads(samples: Sequence[Samples], statistic: Statistic, logarithm: bool) -> list[spread.Spread]:
    inside = spread.within(samples, statistic, logarithm)
    values = by_round(samples, statistic, logarithm)
    if not np.all(np.isfinite(values)):
        return [spread.UNKNOWN]
    outside = spread.between(values)
    # Rounds too short to be resampled count as a whole.
    return [each for each in (outside, inside) if each not in (None, spread.UNKNOWN)] or [spread.UNKNOWN]


def by_round(samples: Sequence[Samples], statistic: Statistic, logarithm: bool) -> Floats:
    """The statistic, or its logarithm, of each round, [rounds]; not finite where a round does not say."""
    values = np.array([statistic(each, np.ones((1, each.slices)))[0] if each.slices else np.nan for each in samples])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values) if logarithm else values
