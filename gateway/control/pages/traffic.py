"""How much each deployment is asked, and how fast it answers: differences of what the frontends have counted."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from adapters.histograms import Distribution
from gateway.front import Front
from gateway.statistics import StatisticsSnapshot
from gateway.types import Deployment

_FRESH_S: Final = 1.0
_WINDOW_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """One deployment: requests per second (None: not known yet), and latencies in ns.

    `recent` is whether the latencies are of the same time as the rate; else they are of all since its start.
    """

    per_s: float | None
    p50_ns: float | None
    p99_ns: float | None
    recent: bool


@dataclass(frozen=True, slots=True)
class Traffic:
    """All deployments, over the last `window_s` seconds (None: this is the first look)."""

    window_s: float | None
    paces: Mapping[Deployment, Pace]


class TrafficWatch:
    """Keeps what it saw last, for all who look: they ask the frontends once a second together."""

    def __init__(self, front: Front, clock: Callable[[], float] = time.monotonic) -> None:
        self._front = front
        self._clock = clock
        self._seen: deque[tuple[float, Mapping[Deployment, StatisticsSnapshot]]] = deque()
        self._asking = asyncio.Lock()
        self._traffic = Traffic(None, {})

    async def look(self) -> Traffic:
        """How it is now, at most a second ago."""
        async with self._asking:
            if not self._seen or self._clock() - self._seen[-1][0] >= _FRESH_S:
                statistics = await self._front.statistics()
                self._seen.append((self._clock(), statistics))
                # Of those that are old enough, the newest: what counts is the last time, however long nobody looked.
                while len(self._seen) > 2 and self._seen[-1][0] - self._seen[1][0] >= _WINDOW_S:
                    self._seen.popleft()
                self._traffic = _between(self._seen[0], self._seen[-1])
            return self._traffic


def _between(
    first: tuple[float, Mapping[Deployment, StatisticsSnapshot]],
    last: tuple[float, Mapping[Deployment, StatisticsSnapshot]],
) -> Traffic:
    window_s = last[0] - first[0]
    nothing = StatisticsSnapshot()
    paces = {deployment: _pace(first[1].get(deployment, nothing), now, window_s) for deployment, now in last[1].items()}
    return Traffic(window_s or None, paces)


def _pace(before: StatisticsSnapshot, now: StatisticsSnapshot, window_s: float) -> Pace:
    asked, asked_before = _asked(now), _asked(before)
    if asked < asked_before:  # it was counted anew meanwhile
        before, asked_before = StatisticsSnapshot(), 0
    answered = _less(now.stages.request, before.stages.request)
    recent = bool(window_s) and answered.count > 0
    shown = answered if recent else now.stages.request
    known = shown.count > 0
    return Pace(
        (asked - asked_before) / window_s if window_s else None,
        shown.quantile(0.5) if known else None,
        shown.quantile(0.99) if known else None,
        recent,
    )


def _asked(statistics: StatisticsSnapshot) -> int:
    return statistics.inference_stats.success.count + statistics.inference_stats.fail.count


def _less(now: Distribution, before: Distribution) -> Distribution:
    pairs = zip_longest(now.counts, before.counts, fillvalue=0)
    return Distribution(now.total - before.total, tuple(max(0, more - less) for more, less in pairs))
