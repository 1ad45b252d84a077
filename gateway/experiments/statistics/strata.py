"""From cells to arms: strata are weighed, clusters make the variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.experiments.definition import Kind, Metric
from gateway.experiments.evidence import BINS, Cell, Counts, Floats
from gateway.experiments.statistics.arms import Arm, QuantileArm, ShareArm, quantile

FEW: Final = 5
"""A stratum with fewer values of either side does not count in their comparison."""

_LARGE: Final = 1e100
"""No estimate is made of such values: their squares could not be reckoned with."""


@dataclass(frozen=True, slots=True)
class Strata:
    """What one variant has of one metric, made ready.

    `counts`, `totals` [strata, CLUSTERS], `squares` [strata]; of QUANTILE: `histograms`, each [HISTOGRAM_CLUSTERS,
    BINS], and `distributions` [strata, BINS + 1], the share of values below each edge.
    """

    metric: Metric
    counts: Floats
    totals: Floats
    squares: Floats
    histograms: Sequence[Counts]
    distributions: Floats

    @property
    def values(self) -> Floats:
        """How many values each stratum has, [strata]; of a QUANTILE metric those without a histogram do not count."""
        values: Floats = self.counts.sum(axis=1)
        return values * (self.distributions[:, -1] > 0) if len(self.distributions) else values

    @classmethod
    def of(cls, metric: Metric, cells: Sequence[Cell | None]) -> Strata:
        """Of the variant's cells, one per stratum; None: it has none there."""
        empty = Cell.empty(histogram=metric.kind is Kind.QUANTILE)
        known = [cell or empty for cell in cells] or [empty]
        histograms = [
            each
            for cell in known
            if (each := empty.histogram if cell.histogram is None else cell.histogram) is not None
        ]
        return cls(
            metric,
            np.array([cell.count for cell in known]),
            np.array([cell.total for cell in known]),
            np.array([cell.squares for cell in known]),
            histograms,
            np.array([_distribution(each) for each in histograms]).reshape(-1, BINS + 1),
        )

    def distribution(self) -> Floats | None:
        """The share of all values below each edge, [BINS + 1]; None: there is no histogram, or nothing in it."""
        values = self.values
        if not len(self.distributions) or not values.sum():
            return None
        pooled: Floats = values / values.sum() @ self.distributions
        return pooled

    def arm(self, weights: Floats | None = None) -> Arm | None:
        """The estimate, strata weighed by `weights` [strata], by default their values; None: none can be made."""
        values = self.values
        weights = values if weights is None else np.where(values > 0, weights, 0.0)
        used = np.flatnonzero(weights > 0)
        if not len(used):
            return None
        shares = weights[used] / weights[used].sum()
        with np.errstate(over="ignore", invalid="ignore"):
            arm = (self._quantile if self.metric.kind is Kind.QUANTILE else self._mean)(used, shares)
        return arm if arm and abs(arm.value) < _LARGE and arm.variance < _LARGE**2 else None

    def _mean(self, used: Counts, shares: Floats) -> Arm | None:
        values = self.values[used]
        sums = self.totals[used].sum(axis=1)
        means = sums / values
        binary = self.metric.kind is not Kind.MEAN
        if binary:
            spreads = (sums + 1) / (values + 2) * (1 - (sums + 1) / (values + 2))
        else:
            spreads = np.maximum(self.squares[used] - sums * means, 0.0) / np.maximum(values - 1, 1)
        independent = float(shares**2 @ (spreads / values))
        clustered, freedom = _clustered(self.counts[used], self.totals[used], shares, tails=not binary)
        if freedom <= 0:
            return None
        kind = ShareArm if binary else Arm
        variance = max(independent, clustered)
        return kind(int(values.sum()), float(shares @ means), float(shares @ spreads), variance, freedom)

    def _quantile(self, used: Counts, shares: Floats) -> Arm | None:
        distribution = shares @ self.distributions[used]
        level = self.metric.quantile
        edge = int(np.abs(distribution - level).argmin())
        counts = np.array([self.histograms[index].sum(axis=1) for index in used], np.float64)
        below = np.array([self.histograms[index][:, :edge].sum(axis=1) for index in used], np.float64)
        values = counts.sum(axis=1)
        at_edge = self.distributions[used, edge]
        clustered, freedom = _clustered(counts, below, shares)
        if freedom <= 0:
            return None
        independent = float(shares**2 @ (at_edge * (1 - at_edge) / values))
        dependence = max(1.0, clustered / independent) if independent > 0 else 1.0
        spread = level * (1 - level)
        variance = spread * float(shares**2 @ (1 / values)) * dependence
        middle = quantile(distribution, level)
        return QuantileArm(int(values.sum()), middle, spread, variance, freedom, level, distribution)


def pair_weights(one: Strata, other: Strata) -> Floats:
    """How much each stratum tells of the difference of the two: half the harmonic mean of their values, [strata]."""
    mine, theirs = one.values, other.values
    enough = np.minimum(mine, theirs) >= FEW
    return np.where(enough, mine * theirs / np.maximum(mine + theirs, 1), 0.0)


def _distribution(histogram: Counts) -> Floats:
    below: Floats = np.concatenate([[0.0], np.cumsum(histogram.sum(axis=0), dtype=np.float64)])
    shares: Floats = below / np.maximum(below[-1], 1.0)
    return shares


def _clustered(counts: Floats, totals: Floats, shares: Floats, tails: bool = False) -> tuple[float, float]:
    """The jackknife variance, over clusters, of the mean of means weighed by `shares`, and its degrees of freedom.

    `counts`, `totals` [strata, clusters]. The freedom is that of as many clusters of equal size as would tell as much
    (Kish), and with `tails` also what the spread of the clusters' squares leaves (Satterthwaite): little, where few
    values make most of the variance. 0 or less: there are too few.
    """
    values = counts.sum(axis=1)
    parts = shares / values
    residuals = parts @ (totals - (totals.sum(axis=1) / values)[:, None] * counts)
    sizes = parts @ counts
    clusters = int(np.count_nonzero(sizes))
    without = residuals[sizes > 0] / np.maximum(1 - sizes[sizes > 0], 1e-9)
    total, freedom = float(without @ without), float(1 / (sizes @ sizes) - 1)
    if tails and total > 0:
        fractions = without**2 / total
        excess = float(fractions @ fractions) - 1 / clusters
        freedom = min(freedom, 2 / excess) if excess > 0 else freedom
    return (clusters - 1) / clusters * total, freedom
