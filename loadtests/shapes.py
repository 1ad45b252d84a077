"""Shapes of load over time: pure schedules, and what each is for Locust's shapes, which ask once a second."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # importing Locust patches the standard library
    from locust.stats import RequestStats

_log = logging.getLogger(__name__)


class Schedule(Protocol):
    """A level for every moment."""

    def level(self, at_s: float) -> float | None:
        """The level at so many seconds from the beginning; None once it is over."""


@dataclass(frozen=True, slots=True)
class Constant:
    """One level from beginning to end."""

    height: float
    for_s: float = math.inf

    def level(self, at_s: float) -> float | None:
        """See Schedule."""
        return self.height if at_s < self.for_s else None


@dataclass(frozen=True, slots=True)
class Steps:
    """As many steps as `count` up to `peak`, each of the same height and length."""

    peak: float
    count: int
    each_s: float

    def level(self, at_s: float) -> float | None:
        """See Schedule."""
        step = int(at_s // self.each_s) + 1
        return self.peak * step / self.count if step <= self.count else None


@dataclass(frozen=True, slots=True)
class Ramp:
    """Evenly from `first` to `peak`, where it ends; whoever runs it ends it before that where something breaks."""

    peak: float
    for_s: float
    first: float = 0.0

    def level(self, at_s: float) -> float | None:
        """See Schedule."""
        return self.first + (self.peak - self.first) * at_s / self.for_s if at_s < self.for_s else None


@dataclass(frozen=True, slots=True)
class Spike:
    """A low level, suddenly a high one, and the low one again: whether and when all is as it was before."""

    base: float
    peak: float
    begin_s: float
    spike_s: float
    for_s: float

    def level(self, at_s: float) -> float | None:
        """See Schedule."""
        if at_s >= self.for_s:
            return None
        return self.peak if self.begin_s <= at_s < self.begin_s + self.spike_s else self.base


@dataclass(frozen=True, slots=True)
class Soak:
    """One level for hours, eased in, so that nothing but time can be the cause of what changes."""

    height: float
    for_s: float = 8 * 3600.0
    ease_s: float = 60.0

    def level(self, at_s: float) -> float | None:
        """See Schedule."""
        return self.height * min(1.0, at_s / self.ease_s if self.ease_s else 1.0) if at_s < self.for_s else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What must not be exceeded: else the load has broken what it is put on."""

    p99_ms: float = math.inf
    failures: float = 1.0
    """The share of requests that may fail, 0…1."""

    def broken(self, p99_ms: float, failures: float) -> str:
        """Which bound is exceeded, in words; empty where none is."""
        if p99_ms > self.p99_ms:
            return f"p99 is {p99_ms:.4g} ms, and may be {self.p99_ms:g} ms"
        if failures > self.failures:
            return f"{failures:.1%} of the requests fail, and {self.failures:.1%} may"
        return ""


NAMES = ("constant", "steps", "ramp", "spike", "soak")
_DEFAULT_S = 300.0
_STEPS = 5


def schedule(name: str, peak: float, for_s: float | None = None) -> Schedule:
    """A shape by its name, its highest level and its length, with what is usual for the rest.

    Raises:
        ValueError: there is none of that name.
    """
    length_s = for_s or _DEFAULT_S
    if name == "constant":
        return Constant(peak, for_s or math.inf)
    if name == "steps":
        return Steps(peak, _STEPS, length_s / _STEPS)
    if name == "ramp":
        return Ramp(peak, length_s)
    if name == "spike":
        return Spike(peak / 10, peak, 0.4 * length_s, 0.2 * length_s, length_s)
    if name == "soak":
        return Soak(peak, for_s) if for_s else Soak(peak)
    raise ValueError(f"shape: expected one of {', '.join(NAMES)}, got {name!r:.80}")


def tick(
    plan: Schedule, at_s: float, level_per_user: float, bounds: Bounds, stats: RequestStats | None
) -> tuple[int, float] | None:
    """What a LoadTestShape's tick gives: users and how many may come or go in a second; None at the end."""
    level = plan.level(at_s)
    if level is None:
        return None
    if stats is not None and (reason := bounds.broken(*lately(stats))):
        _log.warning("broken at a level of %.4g after %.0f s: %s", level, at_s, reason)
        return None
    users = math.ceil(level / level_per_user)
    return users, max(1.0, users)


def lately(stats: RequestStats) -> tuple[float, float]:
    """p99 in milliseconds and the share of failures over about the last ten seconds, of all that Locust counts."""
    total = stats.total
    p99_ms = total.get_current_response_time_percentile(0.99) or 0.0
    rate = total.current_rps
    return p99_ms, total.current_fail_per_sec / rate if rate else 0.0
