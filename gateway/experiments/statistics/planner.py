"""How many values a difference takes to be found, by the very method that will look for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, Self

import numpy as np

from gateway.experiments.evidence import BINS, CLUSTERS, HISTOGRAM_CLUSTERS, Floats, bins
from gateway.experiments.statistics.arms import Arm, QuantileArm, ShareArm, quantile
from gateway.experiments.statistics.contrast import Contrast

_MOST: Final = 10**12


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of ones under control, in 0..1; effects on it are absolute (0.01 is one point)."""

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"a rate is in 0..1: got {self.share:g}")

    def arm(self, effect: float, values: float) -> Arm:
        """What so many independent values are expected to show."""
        share = self.share + effect
        if not 0 <= share <= 1:
            raise ValueError(f"effect: a rate is in 0..1, and {self.share:g} would become {share:g}")
        likely = (share * values + 1) / (values + 2)
        spread = likely * (1 - likely)
        return ShareArm(round(values), share, spread, spread / values * _floored(CLUSTERS), _freedom(values, CLUSTERS))


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean and the standard deviation of single values under control; effects are parts that both grow by."""

    mean: float
    deviation: float

    def __post_init__(self) -> None:
        if not 0 < abs(self.mean) < math.inf or not 0 < self.deviation < math.inf:
            raise ValueError(f"a mean other than 0 and a deviation above 0: got {self.mean:g} and {self.deviation:g}")

    def arm(self, effect: float, values: float) -> Arm:
        """What so many independent values are expected to show."""
        spread = (self.deviation * max(1.0, 1 + effect)) ** 2
        variance = spread / values * _floored(CLUSTERS)
        return Arm(round(values), self.mean * (1 + effect), spread, variance, _freedom(values, CLUSTERS))


@dataclass(frozen=True, slots=True)
class Latencies:
    """A quantile of values under control, which are distributed like `sample` [n]; effects stretch all values."""

    sample: Floats
    level: float = 0.95

    def __post_init__(self) -> None:
        sample = np.asarray(self.sample, np.float64)
        if not sample.size or not np.isfinite(sample).all() or sample.min() < 0:
            raise ValueError("a sample of latencies has numbers of at least 0, and at least one")
        if not 0 < self.level < 1:
            raise ValueError(f"a quantile is in 0..1, without both: got {self.level:g}")

    @classmethod
    def lognormal(cls, median: float, p95: float, level: float = 0.95) -> Self:
        """Of a lognormal distribution with these quantiles."""
        if not 0 < median < p95 < math.inf:
            raise ValueError(f"0 < median < p95 is needed: got {median:g} and {p95:g}")
        normal = NormalDist()
        deviation = math.log(p95 / median) / normal.inv_cdf(0.95)
        at = [normal.inv_cdf((index + 0.5) / 20_000) for index in range(20_000)]
        return cls(median * np.exp(deviation * np.array(at)), level)

    def arm(self, effect: float, values: float) -> Arm:
        """What so many independent values are expected to show."""
        if not effect > -1:
            raise ValueError(f"effect: latencies can become less by a part of themselves, above -1: got {effect:g}")
        counts = np.bincount(bins(np.asarray(self.sample) * (1 + effect)), minlength=BINS)
        distribution = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
        spread = self.level * (1 - self.level)
        variance = spread / values * _floored(HISTOGRAM_CLUSTERS)
        middle = quantile(distribution, self.level)
        freedom = _freedom(values, HISTOGRAM_CLUSTERS)
        return QuantileArm(round(values), middle, spread, variance, freedom, self.level, distribution)


@dataclass(frozen=True, slots=True)
class Plan:
    """How many values each side needs, and both together."""

    variant: int
    control: int

    @property
    def total(self) -> int:
        """Of variant and control together."""
        return self.variant + self.control


def plan(
    baseline: Rate | Mean | Latencies,
    effect: float,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
    share: float = 0.5,
    comparisons: int = 1,
    design_effect: float = 1.0,
) -> Plan:
    """How many values find an effect, by then or before, with the probability `power`.

    Args:
        baseline: what control does.
        effect: of the variant, absolute for Rate, a part of control's value for Mean and Latencies; its sign counts.
        confidence: as the experiment's.
        power: in 0.5..1, without 1.
        share: the variant's part of the traffic of variant and control, in 0..1.
        comparisons: metrics times variants other than control: how many Holm's correction is over.
        design_effect: by how much dependence within units multiplies the variance; 1 is none.

    Raises:
        ValueError: what is given is out of its range, or no number of values would do.
    """
    if not (0 < confidence < 1 and 0.5 <= power < 1 and 0 < share < 1 and comparisons >= 1 and design_effect >= 1):
        raise ValueError("confidence and share are in 0..1, power in 0.5..1, comparisons and design_effect at least 1")
    if not 0 < abs(effect) < math.inf:
        raise ValueError(f"effect: {effect:g} is never found; give the smallest one that matters")
    alpha, luck = (1 - confidence) / comparisons, NormalDist().inv_cdf(power)
    few, many = 10.0, 10.0
    while not _found(_expected(baseline, effect, share, many / design_effect), alpha, luck):
        few, many = many, many * 2
        if many > _MOST:
            raise ValueError("no number of values finds that effect: at this level, it changes nothing")
    while many - few > 1:
        middle = (few + many) / 2
        found = _found(_expected(baseline, effect, share, middle / design_effect), alpha, luck)
        few, many = (few, middle) if found else (middle, many)
    return Plan(math.ceil(many * share), math.ceil(many * (1 - share)))


def _expected(baseline: Rate | Mean | Latencies, effect: float, share: float, total: float) -> Contrast:
    return Contrast(baseline.arm(effect, total * share), baseline.arm(0.0, total * (1 - share)))


def _found(contrast: Contrast, alpha: float, luck: float) -> bool:
    """Whether the boundary is passed even where `luck` standard errors are missing."""
    low, high = contrast.difference_interval(contrast.reach(alpha) + luck)
    return not low <= 0 <= high


def _freedom(values: float, clusters: int) -> float:
    return max(0.5, 1 / (1 / values + 1 / clusters) - 1)


def _floored(clusters: int) -> float:
    """By how much variances are too great on average, as they are never below those of independent values."""
    return 1 + math.sqrt(2 / (clusters - 1)) / math.sqrt(2 * math.pi)
