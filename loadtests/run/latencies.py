"""What a run's histograms say where no interval is asked for: how many were slow, and how slow the slowest were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadtests.results.histograms import BUCKETS, Integers, lower_edges, read_histograms, widths
from loadtests.results.schema import Run, Slice


@dataclass(frozen=True, slots=True)
class Latencies:
    """Counts of succeeded queries by bucket, [buckets]."""

    counts: Integers

    @property
    def queries(self) -> int:
        """How many succeeded."""
        return int(self.counts.sum())

    def above(self, bound_ms: float) -> int:
        """How many took longer; those of the bucket that holds the bound count as within it."""
        return int(self.counts[lower_edges(np.arange(BUCKETS)) > bound_ms * 1000].sum())

    def slowest(self, nth: int) -> float:
        """The n-th slowest, from 1, in ms, by its bucket's upper edge: never told too low."""
        from_the_top = np.cumsum(self.counts[::-1])
        bucket = np.array([BUCKETS - 1 - int(np.searchsorted(from_the_top, nth))])
        return float((lower_edges(bucket) + widths(bucket))[0]) / 1000

    def percentile(self, percent: float) -> float:
        """In ms; NaN where nothing succeeded."""
        if not self.queries:
            return float("nan")
        return self.slowest(self.queries - min(self.queries - 1, int(self.queries * percent / 100)))


def measured(run: Run) -> tuple[Slice, ...]:
    """The slices that count: those after the warm-up."""
    return run.measured


def latencies(slices: Iterable[Slice], served_by: str | None = None) -> Latencies:
    """Those of all answers in some slices, or of one deployment's."""
    texts = [
        each.latency for part in slices for name, each in part.answers.items() if served_by is None or name == served_by
    ]
    counts = np.zeros(BUCKETS, np.int64)
    for entries in read_histograms(texts):
        np.add.at(counts, entries.buckets, entries.counts)
    return Latencies(counts)


def succeeded(slices: Iterable[Slice], served_by: str | None = None) -> int:
    """How many were answered well."""
    return sum(
        each.succeeded
        for part in slices
        for name, each in part.answers.items()
        if served_by is None or name == served_by
    )


def failures(slices: Iterable[Slice]) -> dict[str, int]:
    """Kinds of failures and how often."""
    found: dict[str, int] = {}
    for part in slices:
        for kind, count in part.failures.items():
            found[kind] = found.get(kind, 0) + count
    return found


def lasted(slices: Sequence[Slice]) -> float:
    """Seconds from the first slice's begin to the last one's end."""
    return slices[-1].end_s - slices[0].begin_s if slices else 0.0
