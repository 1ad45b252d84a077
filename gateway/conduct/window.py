"""What a variant did lately: what guardrails look at."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from gateway.experiments.evidence import BINS, Counts
from gateway.experiments.recording import ArmIncrement

_LENGTH_S: Final = 10.0
_LONGEST_S: Final = 600.0
_LEAST: Final = 50


class Window:
    """The sums of the increments of the last ten seconds; where those were few, of the latest 50 requests."""

    def __init__(self) -> None:
        self._parts: deque[tuple[float, ArmIncrement]] = deque()
        self.answered = 0
        self.failed = 0
        self.examined = 0
        self.not_finite = 0
        self.latencies: Counts = np.zeros(BINS, np.int64)

    @property
    def requests(self) -> int:
        """Those that were answered or failed."""
        return self.answered + self.failed

    def add(self, increment: ArmIncrement, now_s: float) -> None:
        """What came just now."""
        self._parts.append((now_s, increment))
        self._count(increment, 1)
        self.pass_on(now_s)

    def pass_on(self, now_s: float) -> None:
        """Have what is too old go."""
        while self._parts:
            at_s, oldest = self._parts[0]
            age_s, size = now_s - at_s, _answered(oldest) + _failed(oldest)
            if age_s <= _LENGTH_S or (age_s <= _LONGEST_S and self.requests - size < _LEAST):
                return
            self._parts.popleft()
            self._count(oldest, -1)

    def _count(self, part: ArmIncrement, sign: int) -> None:
        counts = np.frombuffer(part.counts, np.uint32).astype(np.int64)
        self.answered += sign * _answered(part)
        self.failed += sign * _failed(part)
        self.examined += sign * part.examined
        self.not_finite += sign * part.not_finite
        bins = np.frombuffer(part.keys, np.uint32) % BINS
        np.add.at(self.latencies, bins, sign * counts)


def _answered(part: ArmIncrement) -> int:
    return int(np.frombuffer(part.counts, np.uint32).sum())


def _failed(part: ArmIncrement) -> int:
    return int(np.frombuffer(part.failed, np.int64).sum())
