"""What a variant did lately: what guardrails look at."""

from __future__ import annotations

from collections import deque
from typing import Final

import numpy as np

from gateway.experiments.evidence import BINS, Counts
from gateway.experiments.recording import ArmIncrement

_LENGTH_S: Final = 10.0


class Window:
    """The sums of the increments of the last ten seconds."""

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
        """What came just now; what is too old goes."""
        self._parts.append((now_s, increment))
        self._count(increment, 1)
        while now_s - self._parts[0][0] > _LENGTH_S:
            self._count(self._parts.popleft()[1], -1)

    def _count(self, part: ArmIncrement, sign: int) -> None:
        counts = np.frombuffer(part.counts, np.uint32).astype(np.int64)
        self.answered += sign * int(counts.sum())
        self.failed += sign * int(np.frombuffer(part.failed, np.int64).sum())
        self.examined += sign * part.examined
        self.not_finite += sign * part.not_finite
        bins = np.frombuffer(part.keys, np.uint32) % BINS
        np.add.at(self.latencies, bins, sign * counts)
