"""The slices of a run as arrays: what statistics work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from loadtests.results.histograms import Floats, Integers, lower_edges, read_histograms, widths
from loadtests.results.schema import Run, Slice

_MOST_SLICES: Final = 160
_MOST_RUNS: Final = 64
_MOST_TOGETHER: Final = 2560
"""Slices of all runs: beside every bucket that there is, these take a quarter of a gigabyte."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Slices of one round, warm-up left out; long rounds have several of the generator's slices in each of these.

    `counts`: answers by latency, [slices, buckets]; `lower`, `widths`: the buckets in µs, [buckets]; `succeeded`,
    `failed`: requests, [slices]; `loaded_s`: how long load was put on, [slices]; `loaded`: what was answered
    meanwhile, [slices].
    """

    counts: npt.NDArray[np.float32]
    lower: Floats
    widths: Floats
    succeeded: Floats
    failed: Floats
    loaded_s: Floats
    loaded: Floats

    @property
    def slices(self) -> int:
        """How many there are."""
        return len(self.succeeded)


def rounds(runs: Sequence[Run], served_by: str | None = None, service: bool = False) -> list[Samples]:
    """One `Samples` a run, in order.

    Args:
        runs: At most 64.
        served_by: Only answers of this deployment; failures count in any case, since nobody answered.
        service: Latencies from sending on, not from when a request was due.

    Raises:
        ValueError: There are more runs; or a histogram is damaged (`BadHistogram`).
    """
    if len(runs) > _MOST_RUNS:
        raise ValueError(f"{len(runs)} rounds of one row; statistics take {_MOST_RUNS} at most")
    most = min(_MOST_SLICES, _MOST_TOGETHER // max(len(runs), 1))
    return [_samples(run, served_by, service, most) for run in runs]


def pooled(samples: Sequence[Samples]) -> Samples:
    """All rounds as one, of which each is a slice."""
    lower = np.unique(np.concatenate([each.lower for each in samples]))
    counts = np.zeros((len(samples), len(lower)), np.float32)
    spans = np.zeros(len(lower))
    for number, each in enumerate(samples):
        columns = np.searchsorted(lower, each.lower)
        counts[number, columns] = each.counts.sum(axis=0, dtype=np.float64)
        spans[columns] = each.widths
    parts = [
        np.array([getattr(each, name).sum() for each in samples])
        for name in ("succeeded", "failed", "loaded_s", "loaded")
    ]
    return Samples(counts, lower, spans, *parts)


def _samples(run: Run, served_by: str | None, service: bool, most: int) -> Samples:
    slices = run.measured
    groups = np.arange(len(slices)) * min(len(slices), most) // max(len(slices), 1)
    counts, buckets = _counts(slices, groups, served_by, service)
    succeeded = _sums(groups, [_succeeded(each, served_by) for each in slices])
    failed = _sums(groups, [sum(each.failures.values()) for each in slices])
    seconds = _sums(groups, [(each.end_s - each.begin_s) * (each.level > 0) for each in slices])
    loaded = _sums(groups, [_succeeded(each, served_by) * (each.level > 0) for each in slices])
    return Samples(counts, lower_edges(buckets), widths(buckets), succeeded, failed, seconds, loaded)


def _counts(
    slices: Sequence[Slice], groups: Integers, served_by: str | None, service: bool
) -> tuple[npt.NDArray[np.float32], Integers]:
    """Answers by group and bucket, [groups, buckets], and which buckets these are, [buckets]."""
    texts, owners = [], []
    for group, each in zip(groups.tolist(), slices, strict=True):
        for name, answers in each.answers.items():
            if served_by in (None, name):
                texts.append(answers.service if service else answers.latency)
                owners.append(group)
    found = list(read_histograms(texts))
    buckets = np.unique(np.concatenate([np.unique(entries.buckets) for entries in found] or [np.zeros(0, np.int64)]))
    counts = np.zeros((int(groups[-1]) + 1 if len(groups) else 0, len(buckets)), np.float32)
    group_of = np.array(owners, np.int64)
    for entries in found:
        np.add.at(counts, (group_of[entries.owners], np.searchsorted(buckets, entries.buckets)), entries.counts)
    return counts, buckets


def _succeeded(each: Slice, served_by: str | None) -> int:
    return sum(answers.succeeded for name, answers in each.answers.items() if served_by in (None, name))


def _sums(groups: Integers, values: Sequence[float]) -> Floats:
    return np.bincount(groups, weights=np.array(values, np.float64)).astype(np.float64)
