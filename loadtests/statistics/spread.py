"""How much a number would differ if it were measured again: between rounds, and within them by bootstrap.

Neighbouring slices are alike, so a round is resampled in blocks of a quarter of it. A machine drifts between
rounds, so whole rounds are one observation each, and few of them ask for Student's quantiles. Neither is enough
alone: rounds are few and can agree by luck; slices know nothing of drift. So an interval is the wider one of the two,
which is wrong at most as often as the rounds alone, and those are wrong in 5 % of cases however slices depend on each
other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtr, stdtrit

from loadtests.results.histograms import Floats
from loadtests.statistics.figures import Statistic
from loadtests.statistics.samples import Samples

RESAMPLES: Final = 500
_FEWEST_SLICES: Final = 4
_BLOCKS: Final = 4
"""Of 5 and more, intervals of a single round were too narrow where slices are strongly correlated."""

_SEED: Final = 20_261_123


@dataclass(frozen=True, slots=True)
class Spread:
    """A standard error and how many degrees of freedom it was estimated with."""

    error: float
    freedom: float

    def reach(self, confidence: float) -> float:
        """How far an interval of this confidence reaches to either side."""
        if self.error == 0:
            return 0.0
        return float(stdtrit(self.freedom, (1 + confidence) / 2)) * self.error if self.freedom > 0 else math.inf

    def p(self, distance: float) -> float:
        """How probable at least this distance is where there is none, two-sided."""
        if self.freedom <= 0 or not math.isfinite(self.error):
            return 1.0
        if self.error == 0:
            return 0.0 if distance else 1.0
        return float(2 * stdtr(self.freedom, -abs(distance) / self.error))


UNKNOWN: Final = Spread(math.inf, 0.0)
MANY: Final = 1e6
"""Degrees of freedom of what is not estimated: Student's quantiles are the normal ones."""


def between(values: Floats) -> Spread | None:
    """The spread of the mean of rounds' values, [rounds]; None with a single one, which cannot tell."""
    if len(values) < 2:
        return None
    return Spread(float(np.std(values, ddof=1)) / math.sqrt(len(values)), len(values) - 1)


def within(samples: Sequence[Samples], statistic: Statistic, logarithm: bool) -> Spread:
    """The spread of the mean of the rounds' numbers, from the slices within each."""
    parts = [_within(each, statistic, logarithm) for each in samples]
    variances = [part.error**2 for part in parts]
    return combined(variances, [part.freedom for part in parts], 1 / len(parts))


def combined(variances: Sequence[float], freedoms: Sequence[float], scale: float = 1.0) -> Spread:
    """The spread of a sum of independent numbers times `scale` (Welch and Satterthwaite)."""
    total = sum(variances)
    if not math.isfinite(total):
        return UNKNOWN
    if total == 0:
        return Spread(0.0, min(freedoms))
    freedom = total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True) if v)
    return Spread(math.sqrt(total) * scale, freedom)


def resamples(slices: int, count: int = RESAMPLES) -> tuple[Floats, float]:
    """Weights of a circular block bootstrap, [count, slices], and how many blocks a resample has."""
    length = max(1, slices // _BLOCKS)
    blocks = math.ceil(slices / length)
    starts = np.random.default_rng(_SEED).integers(0, slices, (count, blocks, 1))
    chosen = ((starts + np.arange(length)) % slices).reshape(count, -1)[:, :slices]
    places = chosen + slices * np.arange(count)[:, None]
    weights = np.bincount(places.ravel(), minlength=count * slices).reshape(count, slices)
    return weights.astype(np.float64), slices / length


def _within(samples: Samples, statistic: Statistic, logarithm: bool) -> Spread:
    if samples.slices < _FEWEST_SLICES:
        return UNKNOWN
    weights, blocks = resamples(samples.slices)
    values = statistic(samples, weights)
    if logarithm:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.log(values)
    known = values[np.isfinite(values)]
    if len(known) < 0.9 * len(values):
        return UNKNOWN
    # As in a sample's variance: blocks spread about their own mean a little less than about the true one.
    return Spread(float(np.std(known)) * math.sqrt(blocks / (blocks - 1)), blocks - 1)
