"""How fast a deployment answers while it is busy, and whether one more request would be in time; no clock here."""

from __future__ import annotations

from math import sqrt

_WINDOW_NS = 50_000_000
_WEIGHT = 0.3
_TRUSTED_AFTER = 10
_FRESH_NS = 1_000_000_000
_SAFETY = 1.05
_DEVIATIONS = 2.0
_HOPELESS_AFTER = 8
_LATER_NS = 1_000_000_000.0


class Pace:
    """Learns from answers; all times are nanoseconds of one monotonic clock.

    Answers of a batch come together, so what is learned is a rate, and the silence between two bursts. Both are
    measured over windows of busy time, and the newer count more. What batches could do beyond twice the requests that
    ran meanwhile is not known, and nothing is foretold for it.
    """

    __slots__ = (
        "_answered_ns", "_answers", "_base_ns", "_began_ns", "_burst_ns", "_count", "_each_ns", "_last_ns",
        "_longest_ns", "_lost", "_ran", "_rate", "_running", "_silence_ns", "_silence_squared",
    )  # fmt: skip

    def __init__(self) -> None:
        self._answers = self._lost = 0
        self._answered_ns = self._last_ns = self._burst_ns = 0
        self._began_ns = self._longest_ns = self._count = self._ran = 0  # the window's
        self._rate = self._running = self._silence_ns = self._silence_squared = 0.0
        self._base_ns = self._each_ns = 0.0

    @property
    def request_s(self) -> float | None:
        """Seconds from one answer to the next, on average; None where too few have come to tell."""
        return None if self._answers < _TRUSTED_AFTER or not self._rate else 1e-9 / self._rate

    def began(self, now_ns: int) -> None:
        """A request has begun to run, and none ran before: time without work is not counted."""
        self._began_ns += now_ns - self._last_ns
        self._last_ns = self._burst_ns = now_ns

    def answered(self, now_ns: int, running: int) -> None:
        """One of `running` requests was answered."""
        silence_ns = now_ns - self._last_ns
        self._last_ns = self._answered_ns = now_ns
        self._answers += 1
        self._lost = 0
        self._count += 1
        self._ran += running
        if silence_ns > self._longest_ns:  # noqa: PLR1730  # this is in the path of every request
            self._longest_ns = silence_ns
        bursts = silence_ns * 4 >= self._longest_ns
        if bursts:
            self._burst_ns = now_ns
        busy_ns = now_ns - self._began_ns
        if busy_ns >= _WINDOW_NS and (bursts or busy_ns >= 2 * _WINDOW_NS):
            self._learn(busy_ns)
            self._began_ns = now_ns
            self._longest_ns = self._count = self._ran = 0

    def expired(self) -> None:
        """A request's time was up while it ran."""
        self._lost += 1

    def late_ns(self, now_ns: int, running: int, ahead: int, deadline_ns: int) -> float:
        """By how much a request would miss its deadline; 0 where it would not, and where that cannot be told.

        `ahead` requests go before it, `running` of which have begun.
        """
        if not running or not deadline_ns:
            return 0.0
        if self._answers < _TRUSTED_AFTER or now_ns - self._answered_ns > max(_FRESH_NS, 4 * self._silence_ns):
            # Too many may have begun for any to be answered in time, and then none ever will be: one at a time, then.
            return _LATER_NS if self._lost >= _HOPELESS_AFTER else 0.0
        if not self._rate or running > 2 * self._running + 1:
            return 0.0
        burst_ns = self._burst_ns + self._silence_ns
        late_ns = (burst_ns if burst_ns > now_ns else now_ns) + self._base_ns + ahead * self._each_ns - deadline_ns
        return late_ns if late_ns > 0 else 0.0

    def _learn(self, busy_ns: int) -> None:
        weight = _WEIGHT if self._rate else 1.0
        longest_ns = self._longest_ns or 1
        self._rate += weight * (self._count / busy_ns - self._rate)
        self._running += weight * (self._ran / self._count - self._running)
        self._silence_ns += weight * (longest_ns - self._silence_ns)
        self._silence_squared += weight * (longest_ns**2 - self._silence_squared)
        # Bursts that vary add up to more than their mean says. Their root is taken for a straight line above it: that
        # shortens long queues alone, which keep the model busy all the same.
        deviation_ns = _DEVIATIONS * sqrt(max(0.0, self._silence_squared - self._silence_ns**2)) / 2
        self._base_ns = _SAFETY * deviation_ns
        self._each_ns = _SAFETY / self._rate * (1 + deviation_ns / self._silence_ns)
