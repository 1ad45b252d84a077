"""What can be said of slices in one number, for many ways to weigh them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from loadtests.results.histograms import Floats
from loadtests.statistics.samples import Samples

_TOGETHER: Final = 4_000_000


class Statistic(Protocol):
    """One number of slices. NaN: they do not say."""

    @property
    def name(self) -> str:
        """As in a `Figure`."""

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller one is the better one."""

    @property
    def relative(self) -> bool:
        """Whether two of them are compared by their ratio; else by their difference, since they may be 0."""

    def __call__(self, samples: Samples, weights: Floats) -> Floats:
        """One number for each row of weights, [resamples]; these are how often slices count, [resamples, slices]."""

    def resolution(self, samples: Samples) -> float:
        """How far off a number may be by how it was written down: a standard deviation, in parts of the number."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """The latency that this share of answers stays below, in ms. Within a histogram's bucket, answers lie evenly."""

    share: float
    service: bool = False
    lower_is_better: bool = True
    relative: bool = True

    @property
    def name(self) -> str:
        """`p99.9`."""
        return f"p{100 * self.share:.6g}"

    def __call__(self, samples: Samples, weights: Floats) -> Floats:
        """One percentile for each row of weights, [resamples]."""
        if not samples.counts.size:
            return np.full(len(weights), np.nan)
        rows = max(1, _TOGETHER // samples.counts.shape[1])
        parts = [self._some(samples, weights[begin : begin + rows]) for begin in range(0, len(weights), rows)]
        return np.concatenate(parts)

    def _some(self, samples: Samples, weights: Floats) -> Floats:
        sums = weights.astype(np.float32) @ np.cumsum(samples.counts, axis=1)
        wanted = (self.share * sums[:, -1]).astype(np.float32)
        buckets = np.argmax(sums >= wanted[:, None], axis=1)
        rows = np.arange(len(sums))
        below = np.where(buckets > 0, sums[rows, buckets - 1], 0.0)
        inside = sums[rows, buckets] - below
        with np.errstate(invalid="ignore", divide="ignore"):
            values = samples.lower[buckets] + samples.widths[buckets] * np.clip((wanted - below) / inside, 0, 1)
        milliseconds: Floats = np.where(sums[:, -1] > 0, values / 1e3, np.nan)
        return milliseconds

    def resolution(self, samples: Samples) -> float:
        """A bucket's width, evenly filled."""
        value = float(self(samples, np.ones((1, samples.slices)))[0]) * 1e3
        if not value > 0:
            return 0.0
        bucket = min(int(np.searchsorted(samples.lower, value, side="right")) - 1, len(samples.lower) - 1)
        return float(samples.widths[max(bucket, 0)] / value / np.sqrt(12))


@dataclass(frozen=True, slots=True)
class Throughput:
    """Right answers a second, while load was put on."""

    name: str = "throughput"
    lower_is_better: bool = False
    relative: bool = True

    def __call__(self, samples: Samples, weights: Floats) -> Floats:
        """One rate for each row of weights, [resamples]."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((weights @ samples.loaded) / (weights @ samples.loaded_s), np.float64)

    def resolution(self, samples: Samples) -> float:
        """One answer more or less."""
        answered = float(samples.loaded.sum())
        return 1 / answered if answered else 0.0


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """The share of requests that failed, 0…1."""

    name: str = "errors"
    lower_is_better: bool = True
    relative: bool = False

    def __call__(self, samples: Samples, weights: Floats) -> Floats:
        """One share for each row of weights, [resamples]."""
        failed = weights @ samples.failed
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(failed / (failed + weights @ samples.succeeded), np.float64)

    def resolution(self, samples: Samples) -> float:
        """Requests are counted, so there is none."""
        return 0.0
