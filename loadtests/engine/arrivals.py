"""When requests are due in an open loop: moments that no answer moves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Final, Literal

import numpy as np

_AT_ONCE: Final = 4096
_NEVER: Final = float("inf")


def gaps(arrival: Literal["poisson", "uniform"], seed: int) -> Iterator[float]:
    """Gaps between requests in units of their mean, without end: exponential ones make a Poisson process."""
    return _exponential(seed) if arrival == "poisson" else repeat(1.0)


def _exponential(seed: int) -> Iterator[float]:
    dice = np.random.default_rng(seed)
    while True:
        yield from dice.standard_exponential(_AT_ONCE).tolist()


class Arrivals:
    """The moment at which the next request is due, for a rate that may change."""

    def __init__(self, gaps: Iterator[float]) -> None:
        self._gaps = gaps
        self._mean_s = _NEVER
        self.next_s = _NEVER
        """Infinite where the rate is 0."""

    def change(self, per_s: float, now_s: float) -> None:
        """From now on so many a second; what was next is drawn anew, since the process has no memory."""
        self._mean_s = 1 / per_s if per_s > 0 else _NEVER
        self.next_s = now_s + next(self._gaps) * self._mean_s if per_s > 0 else _NEVER

    def take(self) -> float:
        """The moment that was next; the one after it is next now."""
        due_s = self.next_s
        self.next_s = due_s + next(self._gaps) * self._mean_s
        return due_s
