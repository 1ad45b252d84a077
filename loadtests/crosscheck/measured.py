"""What a tool says of one turn, in the same words whoever says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Statistic = Literal["throughput", "p50", "p90", "p99"]


class ToolFailed(Exception):
    """A tool did not measure; the text has its last words."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Throughput in samples/s, latencies of requests in ms; None: it does not say."""

    throughput: float
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    failures: int = 0

    def value(self, statistic: Statistic) -> float | None:
        """One of the figures."""
        found: float | None = getattr(self, statistic)
        return found
