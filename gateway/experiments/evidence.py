"""What was seen: sums and counts that can be added up, and whose size does not grow with the traffic.

Requests of one unit are not independent, and so neither sums of squares nor counts of all requests tell how sure a mean
is. Units are therefore hashed into clusters, and sums are kept by cluster: clusters are independent of each other
(cluster-robust variance, as "bucketing" in online experiments; a request without unit is a unit of its own).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

CLUSTERS: Final = 256
"""Into which units are hashed, for sums."""

HISTOGRAM_CLUSTERS: Final = 64
"""For histograms: a unit's is its cluster modulo this."""

_FIRST: Final = 1e-3
_GROWTH: Final = 1.01
BINS: Final = 2800
"""Of a histogram: bin 0 holds everything below `edges()[1]`, each further one is 1 % wider, the last is open."""

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]


def bins(values: Floats) -> Counts:
    """The bins of values, of any shape; what is below the first edge, negative values too, is in bin 0."""
    scaled = (np.log(np.maximum(values, _FIRST)) - np.log(_FIRST)) / np.log(_GROWTH)
    found: Counts = np.clip(scaled.astype(np.int64), 0, BINS - 1)
    return found


def edges() -> Floats:
    """The BINS + 1 edges of the bins, ascending: the first is 0, the last infinite."""
    inner = _FIRST * _GROWTH ** np.arange(1, BINS, dtype=np.float64)
    return np.concatenate([[0.0], inner, [np.inf]])


@dataclass(slots=True)
class Cell:
    """What is known of one metric for one variant in one stratum (a time of constant weights).

    `count` and `total` [CLUSTERS]: how many values (of CONVERSION: exposed units), and their sum, by cluster;
    `squares`: the sum of squares of the values; `histogram` [HISTOGRAM_CLUSTERS, BINS]: of QUANTILE metrics only.
    """

    count: Floats = field(default_factory=lambda: np.zeros(CLUSTERS))
    total: Floats = field(default_factory=lambda: np.zeros(CLUSTERS))
    squares: float = 0.0
    histogram: Counts | None = None

    def add(self, clusters: Counts, values: Floats) -> None:
        """Add single values; `clusters` [n] are in 0..CLUSTERS-1, `values` [n] finite."""
        self.count += np.bincount(clusters, minlength=CLUSTERS)
        self.total += np.bincount(clusters, values, CLUSTERS)
        self.squares += float(values @ values)
        if self.histogram is not None:
            flat = (clusters % HISTOGRAM_CLUSTERS) * BINS + bins(values)
            np.add.at(self.histogram.reshape(-1), flat, 1)

    def merge(self, other: Cell) -> None:
        """Add what another has seen."""
        self.count += other.count
        self.total += other.total
        self.squares += other.squares
        if other.histogram is not None:
            self.histogram = other.histogram.copy() if self.histogram is None else self.histogram + other.histogram

    @property
    def values(self) -> int:
        """How many there are."""
        return int(self.count.sum())

    @classmethod
    def empty(cls, histogram: bool = False) -> Cell:
        """Nothing seen yet; with `histogram` for a QUANTILE metric."""
        counts = np.zeros((HISTOGRAM_CLUSTERS, BINS), np.int64) if histogram else None
        return cls(histogram=counts)


Stratum: TypeAlias = Mapping[str, Cell]
"""The cells of one metric by variant, of a time of constant weights: only within one are variants comparable."""


@dataclass(slots=True)
class Split:
    """How many were assigned to each variant in a time of constant weights, beside its weights (any scale).

    Units are counted where there are units (a sample of them, chosen by hash), else requests: what is counted is
    assigned independently.
    """

    weights: Mapping[str, float]
    assigned: Mapping[str, int]


@dataclass(slots=True)
class Observations:
    """All that is known of a run. `metrics`: strata by metric, in order of time; `splits`: the same times."""

    metrics: Mapping[str, list[Stratum]]
    splits: list[Split]
    elapsed_s: float = 0.0
