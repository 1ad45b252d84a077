"""A generator's slices in Locust's own statistics: response times in milliseconds, failures as errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from locust.stats import RequestStats, StatsEntry, StatsError

from loadtests.engine import histograms
from loadtests.engine.plan import Answers, Slice


class Statistics:
    """Adds slices to the statistics of a Locust environment."""

    def __init__(self, stats: RequestStats, method: str, name: str) -> None:
        """Answers are counted under `name`, and under `name → digits/1@tflite` where several deployments answer."""
        self._stats = stats
        self._method = method
        self._name = name
        self._first: str | None = None

    def add(self, told: Slice, now_s: float) -> None:
        """A slice that ended at a moment of time.time()."""
        for served_by, answers in told.answers.items():
            self._add(self._entry_name(served_by), self._entry(answers, now_s))
        failed = sum(told.failures.values())
        if failed:
            entry = self._none(now_s)
            entry.num_requests = entry.num_none_requests = entry.num_failures = failed
            entry.num_reqs_per_sec[int(now_s)] = entry.num_fail_per_sec[int(now_s)] = failed
            self._add(self._name, entry)
        for kind, count in told.failures.items():
            self._error(kind, count, now_s)

    def _entry_name(self, served_by: str) -> str:
        if self._first is None:
            self._first = served_by
        return self._name if served_by == self._first else f"{self._name} → {served_by or 'nobody said'}"

    def _none(self, now_s: float) -> StatsEntry:
        entry = StatsEntry(self._stats, self._name, self._method)
        entry.start_time = entry.last_request_timestamp = now_s
        return entry

    def _entry(self, answers: Answers, now_s: float) -> StatsEntry:
        entry: Any = self._none(now_s)  # Locust's types say whole milliseconds, and it takes others
        values, counts = histograms.decode(answers.latency)
        entry.num_requests = answers.succeeded
        entry.num_reqs_per_sec[int(now_s)] = answers.succeeded
        if answers.succeeded:
            entry.total_response_time = float(np.dot(values, counts)) / 1000
            entry.min_response_time, entry.max_response_time = float(values[0]) / 1000, float(values[-1]) / 1000
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            entry.response_times[rounded(value / 1000)] += count
        told: StatsEntry = entry
        return told

    def _add(self, name: str, entry: StatsEntry) -> None:
        self._stats.get(name, self._method).extend(entry)
        self._stats.total.extend(entry)

    def _error(self, kind: str, count: int, now_s: float) -> None:
        key = StatsError.create_key(self._method, self._name, kind)
        error = self._stats.errors.setdefault(key, StatsError(self._method, self._name, kind))
        error.first_seen = error.first_seen or now_s
        error.last_seen = now_s
        error.occurrences += count


def rounded(milliseconds: float) -> float:
    """Two significant digits, as Locust rounds; below 10 ms fractions are kept, since that is where answers are."""
    if milliseconds <= 0:
        return 0
    digits = 1 - math.floor(math.log10(milliseconds))
    return round(milliseconds, min(digits, 2)) if digits > 0 else int(round(milliseconds, digits))
