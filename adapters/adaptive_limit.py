"""How many rows a batch may have so that callers are answered in time: found out while serving, pure."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.base import Batching

_BACK_OFF = 0.9
_FIRST_STEP, _STEP = 1.0, 0.25
_NS_PER_MS = 1_000_000


class AdaptiveLimit:
    """The largest number of rows whose batches keep a target of latency: additive increase, multiplicative decrease.

    As in Clipper (Crankshaw et al., NSDI 2017, section 4.3), but what is held is that one batch runs for half of the
    target at most: a call waits for the batch before its own, and then for its own.
    """

    def __init__(self, latency_target_ms: float, max_rows: int, allowed_rows: Sequence[int] = ()) -> None:
        """`max_rows` is never exceeded; `allowed_rows`, ascending, are the only limits that are given, if any are."""
        self._longest_ns = latency_target_ms * _NS_PER_MS / 2
        self._max_rows = max_rows
        self._allowed_rows = allowed_rows
        self._rows, self._step = 1.0, _FIRST_STEP
        self.rows = self._rounded()

    def learn(self, rows: int, run_ns: int) -> None:
        """Take into account that a batch of so many rows has run for so long."""
        if run_ns > self._longest_ns:
            if rows <= self.rows:  # else it was one call that is larger than the limit: no limit makes it faster
                self._rows, self._step = max(1.0, min(self._rows * _BACK_OFF, self.rows - 1)), _STEP
        elif 2 * rows > self.rows:
            # Batches that are half full are enough to go on: where load is light the limit runs ahead of them, but
            # what it allows untried takes hardly more than the target itself.
            self._rows = min(self._rows + self._step, self._max_rows)
        self.rows = self._rounded()

    def _rounded(self) -> int:
        rows = int(self._rows)
        if not self._allowed_rows:
            return rows
        return max((size for size in self._allowed_rows if size <= rows), default=self._allowed_rows[0])


def limit_for(batching: Batching, max_rows: int) -> AdaptiveLimit | None:
    """The limit that a deployment's batches adapt to; None where it wants none, or has no batches."""
    if batching.latency_target_ms is None or max_rows <= 1:
        return None
    return AdaptiveLimit(batching.latency_target_ms, max_rows, batching.allowed_rows)
