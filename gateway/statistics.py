"""What one deployment has done since it was found: requests, rows, executions, and where their time went."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TypeAlias

from adapters.base import Servable
from adapters.executions import Costs, Execution, Executions, TellsExecutions

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Duration:
    """How often, and for how long in all."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class InferenceStatistics:
    """By request: each has all the time that its batch took. `queue` and `compute_*` are of those that succeeded."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


@dataclass(frozen=True, slots=True)
class BatchStatistics:
    """By execution, of all batches of one size in rows; sizes above 1024 count as the next power of two."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True)
class StatisticsSnapshot:
    """A deployment's statistics at one moment, under the names of the protocol V2's statistics extension.

    `inference_count` are rows that were answered, `execution_count` batches that ran, `last_inference` is when the
    last answer came, in milliseconds since 1970 (0: never).
    """

    inference_count: int
    execution_count: int
    last_inference: int
    inference_stats: InferenceStatistics
    batch_stats: tuple[BatchStatistics, ...]


class Statistics:
    """Counts for one deployment, over all the connections that it has in its life."""

    __slots__ = (
        "_executions",
        "_fail_count",
        "_fail_ns",
        "_last_ns",
        "_rows",
        "_success_count",
        "_success_ns",
        "_told",
    )

    def __init__(self) -> None:
        self._executions = Executions()
        self._told = False
        self._rows = self._last_ns = 0
        self._success_count = self._success_ns = 0
        self._fail_count = self._fail_ns = 0

    def follow(self, servable: Servable) -> None:
        """Count another connection's executions; where it does not tell them, each request counts as one of its own."""
        self._told = isinstance(servable, TellsExecutions)
        if isinstance(servable, TellsExecutions):
            servable.executions = self._executions

    def succeeded(self, rows: int, ns: int) -> None:
        """Count a request that was answered, and for how long it ran."""
        self._success_count += 1
        self._success_ns += ns
        self._rows += rows
        self._last_ns = time.time_ns()
        if not self._told:
            self._executions.add(Execution(run_ns=ns, batch_rows=rows, first=True))

    def failed(self, ns: int) -> None:
        """Count a request that was not answered, and for how long it ran."""
        self._fail_count += 1
        self._fail_ns += ns

    def snapshot(self) -> StatisticsSnapshot:
        """All of it as plain data."""
        calls, batches = self._executions.calls, self._executions.batches
        return StatisticsSnapshot(
            self._rows,
            sum(each.count for each in batches.values()),
            self._last_ns // _NS_PER_MS,
            InferenceStatistics(
                Duration(self._success_count, self._success_ns),
                Duration(self._fail_count, self._fail_ns),
                Duration(calls.count, calls.queue_ns),
                *_compute(calls),
            ),
            tuple(BatchStatistics(rows, *_compute(batches[rows])) for rows in sorted(batches)),
        )


_Compute: TypeAlias = tuple[Duration, Duration, Duration]


def _compute(costs: Costs) -> _Compute:
    return (
        Duration(costs.count, costs.input_ns),
        Duration(costs.count, costs.run_ns),
        Duration(costs.count, costs.output_ns),
    )
