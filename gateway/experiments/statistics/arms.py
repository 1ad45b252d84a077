"""One side of a comparison: an estimate, how sure it is, and its bounds at any distance."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from gateway.experiments.evidence import Floats, edges
from gateway.experiments.statistics.boundary import critical, to_student

_EDGES: Final = edges()
_FARTHEST: Final = 1e6


@dataclass(frozen=True, slots=True)
class Arm:
    """A mean.

    `count` values with the variance `spread` gave it; `variance` is its own, clusters and strata taken into account,
    estimated with `freedom` degrees of freedom.
    """

    count: int
    value: float
    spread: float
    variance: float
    freedom: float

    @property
    def information(self) -> float:
        """How many independent values would tell as much."""
        return self.spread / self.variance if self.variance > 0 else 0.0

    def bounds(self, distance: float) -> tuple[float, float]:
        """What is not farther from the estimate than `distance` standard errors; infinite where nothing bounds it."""
        half = distance * math.sqrt(self.variance) if self.variance > 0 else math.inf
        return self.value - half, self.value + half

    def interval(self, alpha: float) -> tuple[float, float]:
        """The confidence sequence at this moment: with 1 - `alpha` the truth never leaves it."""
        return self.bounds(to_student(critical(alpha, self.information), self.freedom))

    def grown(self, factor: float) -> Self:
        """What it would be with `factor` times as many values of the same kind."""
        return replace(self, count=round(self.count * factor), variance=self.variance / factor)

    def draws(self, generator: np.random.Generator, size: int) -> Floats:
        """Draws from the posterior distribution of the truth under a flat prior, [size]."""
        return generator.normal(self.value, math.sqrt(self.variance), size)


@dataclass(frozen=True, slots=True)
class ShareArm(Arm):
    """A share of ones: its variance is that at the truth in question (Wilson's score interval), never 0."""

    def bounds(self, distance: float) -> tuple[float, float]:
        """Wilson's, of as many independent values as would tell as much; in 0..1."""
        if distance > _FARTHEST:
            return 0.0, 1.0
        odds = distance * distance / self.information
        middle = (self.value + odds / 2) / (1 + odds)
        half = math.sqrt(odds * (self.value * (1 - self.value) + odds / 4)) / (1 + odds)
        return max(0.0, min(self.value, middle - half)), min(1.0, max(self.value, middle + half))

    def draws(self, generator: np.random.Generator, size: int) -> Floats:
        """From the Beta distribution, after a uniform prior, [size]."""
        ones = self.value * self.information
        return generator.beta(1 + ones, 1 + self.information - ones, size)


@dataclass(frozen=True, slots=True)
class QuantileArm(Arm):
    """A quantile, by its level: `spread` and `variance` are those of the share of values below the true quantile.

    `distribution` [BINS + 1] is the share of values below each edge of the histogram.
    """

    level: float
    distribution: Floats

    def bounds(self, distance: float) -> tuple[float, float]:
        """The quantiles whose levels are not farther than `distance` standard errors; 0 and infinity beyond all."""
        half = distance * math.sqrt(self.variance)
        return quantile(self.distribution, self.level - half), quantile(self.distribution, self.level + half)

    def draws(self, generator: np.random.Generator, size: int) -> Floats:
        """The quantiles at levels that are drawn around this one's, [size]."""
        levels = generator.normal(self.level, math.sqrt(self.variance), size)
        return np.interp(levels, self.distribution[:-1], _EDGES[:-1])


def quantile(distribution: Floats, level: float) -> float:
    """The value below which the share `level` lies, within a bin in proportion; 0 for none, infinity for all."""
    if level <= 0:
        return 0.0
    if level >= 1:
        return math.inf
    last = len(distribution) - 1
    end = min(int(distribution.searchsorted(level)), last)
    if end == last:
        return float(_EDGES[-2])
    low, high = float(distribution[end - 1]), float(distribution[end])
    start = float(_EDGES[end - 1])
    return start + (float(_EDGES[end]) - start) * (level - low) / (high - low)
