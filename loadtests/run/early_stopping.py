"""MLPerf's early stopping: how far a percentile can be told from so many queries, with 99 % confidence.

The queries that were slower than a bound are binomial. With t of them, h faster ones are enough where t or fewer slow
ones among h + t would have a chance of 1 % at most if the percentile were just missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scipy.special import bdtr

CONFIDENCE: Final = 0.99


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether enough queries were under the bound; `more` that would be needed if all of them were."""

    passed: bool
    more: int


def least_fast(slow: int, percentile: float, confidence: float = CONFIDENCE) -> int:
    """So many queries under the bound are needed beside `slow` ones above it; percentile in percent."""
    chance = 1 - percentile / 100

    def enough(fast: int) -> bool:
        return bool(bdtr(slow, fast + slow, chance) < 1 - confidence)

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def least_queries(percentile: float, confidence: float = CONFIDENCE) -> int:
    """So many queries it takes before anything can be said of a percentile (90: 64, 99: 662)."""
    return least_fast(1, percentile, confidence) + 1


def bound_kept(queries: int, slow: int, percentile: float, confidence: float = CONFIDENCE) -> Verdict:
    """Whether a percentile surely lies under a bound that `slow` of `queries` were above."""
    more = least_fast(slow, percentile, confidence) + slow - queries
    return Verdict(more <= 0, max(0, more))


def discarded(queries: int, percentile: float, confidence: float = CONFIDENCE) -> int | None:
    """The percentile surely lies under the n-th slowest query: that n; None where there are too few queries."""

    def enough(slow: int) -> bool:
        return queries >= least_fast(slow, percentile, confidence) + slow

    if not enough(1):
        return None
    low, high = 1, queries
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if enough(middle) else (low, middle)
    return low
