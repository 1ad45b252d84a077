"""From values to places, and the round values in between."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """A line from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """A value's place; what lies beyond is put on the edge."""
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values on the scale, ascending: three at least, in steps of 1, 2 or 5 times a power of ten."""
        power = 10.0 ** math.floor(math.log10(self.high - self.low))
        for part in (1, 0.5, 0.2, 0.1):
            step = power * part
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            if last - first >= 2:
                break
        return [float(f"{index * step:.10g}") for index in range(first, last + 1)]


def around(values: Iterable[float], start: float, end: float) -> Scale:
    """A scale with room for all finite values, and a little more."""
    found = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(found), max(found)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return Scale(low - room, high + room, start, end)
