"""Distributions of whole numbers in logarithmic steps: eight between one power of two and the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, zip_longest

_STEP_BITS = 3
_STEPS = 1 << _STEP_BITS
_VALUE_BITS = 64


class Histogram:
    """Counts values from 0 to 2**64 - 1."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0] * ((_VALUE_BITS - _STEP_BITS + 1) * _STEPS)

    def add(self, value: int) -> None:
        """Count one more."""
        above = value.bit_length() - 4
        if above > 0:  # eight steps for each power of two, told apart by the three bits after the first
            self.counts[(above << 3) + (value >> above)] += 1
        else:
            self.counts[value] += 1

    def distribution(self, total: int) -> Distribution:
        """As plain data; `total` is the sum of what was counted."""
        counts = self.counts
        used = next((index for index in range(len(counts), 0, -1) if counts[index - 1]), 0)
        return Distribution(total, tuple(counts[:used]))


@dataclass(frozen=True, slots=True)
class Distribution:
    """What a Histogram has counted: `counts` by steps, without the empty ones at the end; `total` is their sum."""

    total: int = 0
    counts: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def quantile(self, part: float) -> float:
        """The value that `part` (0 to 1) of all stay below, to a sixteenth of it; 0 where there is none."""
        wanted = part * self.count
        for step, below in enumerate(accumulate(self.counts)):
            if below >= wanted and self.counts[step]:
                return (_lowest(step) + _lowest(step + 1) - 1) / 2
        return 0.0

    def below(self, bits: int) -> int:
        """How many values were smaller than 2**bits; bits is at least 3."""
        return sum(self.counts[: (bits - _STEP_BITS + 1) * _STEPS])


def merged(distributions: Iterable[Distribution]) -> Distribution:
    """All of them in one."""
    found = list(distributions)
    counts = (sum(each) for each in zip_longest(*(each.counts for each in found), fillvalue=0))
    return Distribution(sum(each.total for each in found), tuple(counts))


def step_of(value: int) -> int:
    """In which of its steps a Histogram counts a value."""
    above = value.bit_length() - 4
    return (above << 3) + (value >> above) if above > 0 else value


def _lowest(step: int) -> int:
    """The smallest value that is counted in a step."""
    power, rest = divmod(step, _STEPS)
    return rest if power == 0 else (_STEPS + rest) << (power - 1)
